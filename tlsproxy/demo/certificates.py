"""A throw-away certification authority and a server certificate for this machine; trusted by nobody else."""

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Longer than anybody leaves a demo running, and long enough that tlsproxy does not warn of the end (21 days).
_LIFETIME: Final = timedelta(days=30)
# A client whose clock is a little behind ours must not find the certificate in its future.
_CLOCK_SKEW: Final = timedelta(hours=1)
_NAME: Final = "localhost"
_ADDRESSES: Final = ("127.0.0.1", "::1")
_PRIVATE_MODE: Final = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCertificates:
    """Where the files lie."""

    ca: Path
    """PEM; what a client is told to trust."""
    chain: Path
    """PEM; the server's certificate."""
    key: Path
    """PEM; the server's key, readable by its owner alone."""


def make_certificates(folder: Path) -> DemoCertificates:
    """Make an authority, have it sign a certificate for ``localhost``, 127.0.0.1 and ::1, and forget its key.

    Args:
        folder: An existing directory to write ``ca.pem``, ``server.pem`` and ``server.key`` into.

    Returns:
        The three paths.

    Raises:
        OSError: A file cannot be written.
    """
    ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _authority(ca_key)
    server = _signed(server_key, ca, ca_key)
    files = DemoCertificates(ca=folder / "ca.pem", chain=folder / "server.pem", key=folder / "server.key")
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files.chain.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    _write_private(
        files.key,
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    return files


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A self-signed certificate that may sign others, and nothing else (RFC 5280 §4.2.1.9, §4.2.1.3)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tlsproxy demo CA")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _signed(
    key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """The server's certificate; its names are in the subject's alternative names, as RFC 9525 §6.3 has it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(name, ca.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME), *addresses]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
    )


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody else can read, not even for the moment before a chmod."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_MODE), "wb") as file:
        file.write(data)
