"""Certificates and their keys: read once, judged, handed to OpenSSL in memory, picked by the name a client asks for.

What is judged is what is loaded: the files' bytes go to OpenSSL through an anonymous memory file, so that a renewal
that replaces the files meanwhile cannot slip a half-written pair in.
"""

import itertools
import os
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

from tlsproxy.config.model import CertificateFiles
from tlsproxy.core.errors import CertificateError
from tlsproxy.net.tls.memory import memory_file

_SECONDS_PER_DAY: Final = 86400
_OTHERS_MAY_READ: Final = 0o004
_FILE_LIMIT_BYTES: Final = 1024 * 1024  # a chain of a hundred certificates has a quarter of it
# What the library raises on certificates and keys that it does not understand.
_UNREADABLE: Final = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)

Stamp = tuple[int, int, int, int]
"""Modification time in ns, size, inode, mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A usable pair."""

    chain_file: Path
    names: tuple[str, ...]
    """DNS names and addresses of the leaf's subjectAltName, lower case; the common name where it has none."""
    not_before: datetime
    not_after: datetime
    warnings: tuple[str, ...]
    """What is odd about the pair though it works, for ``tlsproxy check``."""
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    stamps: tuple[Stamp, Stamp] = field(repr=False, compare=False)
    """Of the chain's and the key's file, as they were read."""

    def days_left(self, now: datetime) -> int:
        """Whole days until the certificate expires; negative when it has."""
        return int((self.not_after - now).total_seconds() // _SECONDS_PER_DAY)

    def is_current(self, now: datetime) -> bool:
        """Whether the certificate is valid at the time."""
        return self.not_before <= now < self.not_after

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make the context serve this pair.

        Raises:
            CertificateError: OpenSSL does not take it, for instance a key too small for the profile.
        """
        try:
            with memory_file("certificate", self.key_pem.rstrip() + b"\n" + self.chain_pem) as path:
                context.load_cert_chain(path)
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise CertificateError(f"{self.chain_file}: OpenSSL does not take this pair: {reason}") from error


def load_certificate(files: CertificateFiles) -> Certificate:
    """Read and judge one pair.

    Args:
        files: Paths of the chain (leaf first) and of its key, both PEM; the key may stand in the chain's file.

    Returns:
        The pair, ready to be loaded into a context.

    Raises:
        CertificateError: A file cannot be read or parsed, the key is encrypted or is not the certificate's.
    """
    chain_pem, chain_stamp = _read(files.chain)
    key_pem, key_stamp = _read(files.key)
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        names = _names(chain[0])
        is_pair, is_misordered = _compare(_load_key(files.key, key_pem), chain)
    except _UNREADABLE as error:
        raise CertificateError(f"{files.chain}: holds no PEM certificate that can be read ({error})") from error
    if not is_pair:
        hint = " (it belongs to another certificate of the chain; the server's own must come first)"
        raise CertificateError(
            f"{files.key}: this key does not belong to the certificate in {files.chain}{hint if is_misordered else ''}"
        )
    return Certificate(
        chain_file=files.chain,
        names=names,
        not_before=chain[0].not_valid_before_utc,
        not_after=chain[0].not_valid_after_utc,
        warnings=tuple(_warnings(files, chain, key_stamp)),
        chain_pem=b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain),
        key_pem=key_pem if files.key != files.chain else _key_alone(key_pem),
        stamps=(chain_stamp, key_stamp),
    )


def stamp_of(path: Path) -> Stamp | None:
    """What tells that a file is another than the one that was read; None while there is none."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def pick(certificates: Sequence[Certificate], server_name: str | None) -> int:
    """Which certificate serves a name.

    Args:
        certificates: At least one; the first is the default.
        server_name: What the client asked for (RFC 6066 §3), lower case; None if it did not say.

    Returns:
        The index of the first that holds the name, exactly or by a wildcard in the leftmost label (RFC 9525 §6.3);
        0 if none does.
    """
    if server_name is not None:
        wildcard = "*." + server_name.partition(".")[2]
        for wanted in (server_name, wildcard):
            for index, certificate in enumerate(certificates):
                if wanted in certificate.names:
                    return index
    return 0


def _read(path: Path) -> tuple[bytes, Stamp]:
    try:
        # A FIFO must not hold anybody up.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return file.read(_FILE_LIMIT_BYTES) or b"", _stamp(os.fstat(file.fileno()))
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from error


def _stamp(stat: os.stat_result) -> Stamp:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_mode


def _load_key(path: Path, pem: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise CertificateError(f"{path}: the key is encrypted; a server needs one without a passphrase") from error
    except _UNREADABLE as error:
        # The library's text may quote the file; a key's file is never quoted.
        raise CertificateError(f"{path}: holds no PEM private key that can be read") from error


def _key_alone(pem: bytes) -> bytes:
    """The key out of a file that holds the chain too, which OpenSSL would otherwise serve twice."""
    key = serialization.load_pem_private_key(pem, password=None)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _compare(key: PrivateKeyTypes, chain: list[x509.Certificate]) -> tuple[bool, bool]:
    """Whether the key is the leaf's, and whether it is that of another certificate of the chain."""
    ours = _public(key)
    return ours == _public(chain[0]), any(ours == _public(other) for other in chain[1:])


def _public(source: PrivateKeyTypes | x509.Certificate) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return source.public_key().public_bytes(encoding, form)


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(name.value).lower() for name in common)
    dns = [name.lower() for name in san.get_values_for_type(x509.DNSName)]
    return tuple(dns + [str(ip) for ip in san.get_values_for_type(x509.IPAddress)])


def _warnings(files: CertificateFiles, chain: list[x509.Certificate], key_stamp: Stamp) -> Iterable[str]:
    for child, issuer in itertools.pairwise(chain):
        if child.issuer != issuer.subject:
            yield f"{files.chain}: the chain is out of order after {child.subject.rfc4514_string()}"
    if key_stamp[-1] & _OTHERS_MAY_READ:
        yield f"{files.key}: everybody on this machine can read the key (chmod 0640 it)"
