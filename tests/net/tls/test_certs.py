"""Certificates and keys: what is refused and in which words, what is odd, and which serves whom."""

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tlsproxy.config.model import CertificateFiles
from tlsproxy.core.errors import CertificateError
from tlsproxy.net.tls.certs import Certificate, load_certificate, pick, stamp_of

NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)


class Pair:
    """A chain and a key on disk, to be spoilt."""

    def __init__(self, folder: Path, *names: str, ca: trustme.CA | None = None) -> None:
        issued = (ca or trustme.CA()).issue_cert(*(names or ("mail.example",)))
        self.blobs = [blob.bytes() for blob in issued.cert_chain_pems]
        self.chain, self.key = folder / "chain.pem", folder / "key.pem"
        self.key_pem = issued.private_key_pem.bytes()
        self.write()

    def write(self) -> None:
        self.chain.write_bytes(b"".join(self.blobs))
        self.key.write_bytes(self.key_pem)
        self.key.chmod(0o600)

    def load(self) -> Certificate:
        return load_certificate(CertificateFiles(chain=self.chain, key=self.key))

    def refusal(self) -> str:
        with pytest.raises(CertificateError) as caught:
            self.load()
        return str(caught.value)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def serves(certificate: Certificate) -> x509.Certificate:
    """Load it into a context, and look at what a client is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.load_into(context)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    for _ in range(3):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = theirs.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def test_good_pair(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "Mail.Example", "*.b.example", "192.0.2.1", "2001:db8::1")
    certificate = pair.load()
    assert certificate.names == ("mail.example", "*.b.example", "192.0.2.1", "2001:db8::1")
    assert certificate.warnings == ()
    assert certificate.stamps == (stamp_of(pair.chain), stamp_of(pair.key))
    assert serves(certificate) == x509.load_pem_x509_certificate(pair.blobs[0])
    assert "PRIVATE" not in repr(certificate)
    assert pair.load() == certificate


def test_key_in_the_chain_file(pair: Pair) -> None:
    pair.blobs = [pair.key_pem, *pair.blobs]
    pair.write()
    pair.key.unlink()
    pair.key = pair.chain
    pair.chain.chmod(0o600)
    certificate = pair.load()
    assert b"PRIVATE" not in certificate.chain_pem
    assert serves(certificate) == x509.load_pem_x509_certificate(pair.blobs[1])


@pytest.mark.parametrize("which", ["chain", "key"])
def test_missing_file(pair: Pair, which: str) -> None:
    path = getattr(pair, which)
    path.unlink()
    assert pair.refusal() == f"{path}: cannot be read: No such file or directory"
    assert stamp_of(path) is None


@pytest.mark.parametrize("which", ["chain", "key"])
def test_folder_instead_of_a_file(pair: Pair, which: str) -> None:
    path = getattr(pair, which)
    path.unlink()
    path.mkdir()
    assert pair.refusal() == f"{path}: cannot be read: Is a directory"
    left = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.is_dir() and fd.readlink() == path]
    for fd in left:
        os.close(fd)
    assert left == []


def test_fifo_holds_nobody_up(pair: Pair) -> None:
    pair.chain.unlink()
    os.mkfifo(pair.chain)
    assert "holds no PEM certificate" in pair.refusal()


@pytest.mark.parametrize(
    "said", [b"", b"hello", b"\x30\x82\x01\x00" * 50, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_chain_that_is_no_pem(pair: Pair, said: bytes) -> None:
    pair.chain.write_bytes(said)
    assert pair.refusal().startswith(f"{pair.chain}: holds no PEM certificate that can be read (")


@pytest.mark.parametrize(
    "said", [b"", b"topsecret", b"-----BEGIN PRIVATE KEY-----\ntopsecret\n-----END PRIVATE KEY-----\n"]
)
def test_key_that_is_no_pem_is_not_quoted(pair: Pair, said: bytes) -> None:
    pair.key.write_bytes(said)
    assert pair.refusal() == f"{pair.key}: holds no PEM private key that can be read"


def test_encrypted_key(pair: Pair) -> None:
    key = serialization.load_pem_private_key(pair.key_pem, None)
    lock = serialization.BestAvailableEncryption(b"word")
    pair.key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    pair.write()
    assert pair.refusal() == f"{pair.key}: the key is encrypted; a server needs one without a passphrase"


def test_key_of_another_certificate(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pair.key_pem = Pair(tmp_path / "other").key_pem
    pair.write()
    assert pair.refusal() == f"{pair.key}: this key does not belong to the certificate in {pair.chain}"


def test_leaf_that_does_not_come_first(tmp_path: Path) -> None:
    pair = Pair(tmp_path, ca=trustme.CA().create_child_ca())
    pair.blobs.reverse()
    pair.write()
    assert pair.refusal().endswith("(it belongs to another certificate of the chain; the server's own must come first)")


def test_chain_out_of_order_works_but_is_told(tmp_path: Path) -> None:
    pair = Pair(tmp_path, ca=trustme.CA().create_child_ca().create_child_ca())
    assert pair.load().warnings == ()
    leaf, first, second = pair.blobs[:3]
    pair.blobs = [leaf, second, first]
    pair.write()
    warnings = pair.load().warnings
    assert warnings
    assert all(warning.startswith(f"{pair.chain}: the chain is out of order after ") for warning in warnings)


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_key_for_everybody_to_read(pair: Pair, mode: int, is_told: bool) -> None:  # noqa: FBT001 - a parameter of the test
    pair.key.chmod(mode)
    expected = (f"{pair.key}: everybody on this machine can read the key (chmod 0640 it)",)
    assert pair.load().warnings == (expected if is_told else ())


def self_signed(folder: Path, *extensions: x509.ExtensionType, size: int | None = None) -> Pair:
    """A pair such as nobody should have, with a common name."""
    key = rsa.generate_private_key(65537, size) if size else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Old.Example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(1), NOW + timedelta(10))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    pair = Pair(folder)
    pair.blobs = [builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)]
    form = serialization.PrivateFormat.PKCS8
    pair.key_pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    pair.write()
    return pair


def test_common_name_counts_where_there_is_no_other(tmp_path: Path) -> None:
    assert self_signed(tmp_path).load().names == ("old.example",)
    san = x509.SubjectAlternativeName([x509.DNSName("new.example")])
    assert self_signed(tmp_path, san).load().names == ("new.example",)


def test_key_that_openssl_finds_too_small(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, size=1024).load()
    with pytest.raises(CertificateError, match=r"chain\.pem: OpenSSL does not take this pair: EE_KEY_TOO_SMALL"):
        certificate.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_days_left(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path).load()
    for after, days in ((timedelta(0), 10), (timedelta(seconds=1), 9), (timedelta(10), 0), (timedelta(10, 1), -1)):
        assert certificate.days_left(NOW + after) == days
    assert certificate.is_current(NOW)
    assert not certificate.is_current(NOW - timedelta(2))
    assert not certificate.is_current(NOW + timedelta(10))


def test_pick(tmp_path: Path) -> None:
    names = [("a.example",), ("*.b.example", "b.example"), ("x.b.example", "a.example")]
    certificates = []
    for index, each in enumerate(names):
        (tmp_path / str(index)).mkdir()
        certificates.append(Pair(tmp_path / str(index), *each).load())
    expected = {
        None: 0,
        "a.example": 0,
        "b.example": 1,
        "x.b.example": 2,
        "y.b.example": 1,
        "z.y.b.example": 0,
        "*.b.example": 1,
        "nowhere": 0,
        "": 0,
    }
    assert {name: pick(certificates, name) for name in expected} == expected
