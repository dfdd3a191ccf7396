"""What all measurements share: a folder, certificates, the backend, the cores."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from bench.machine import Cores
from bench.processes import BenchError, pinned

NATIVE: Final = Path(__file__).parent.parent / "build" / "bench"
_OPENSSL_CONFIG: Final = Path(__file__).parent / "configs" / "openssl.cnf"
_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A self-signed certificate and its key, apart and in one file."""

    chain: Path
    key: Path
    both: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """Where measurements take place.

    Attributes:
        folder: For everything that is written; goes away at the end.
        cores: Who works where.
        pairs: Certificates by kind of key: "ecdsa" (P-256) and "rsa" (2048 bits).
        backend: Address of the backend, "ADDRESS:PORT".
        openssl_config: What OPENSSL_CONF is for every proxy.
        more: What configurations of one kind of measurement need besides, by name.
    """

    folder: Path
    cores: Cores
    pairs: dict[str, Pair]
    backend: str
    openssl_config: Path = _OPENSSL_CONFIG
    more: Mapping[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def new_folder(self) -> Path:
        """An empty folder for one program."""
        path = self.folder / str(next(self._numbers))
        path.mkdir()
        path.chmod(0o755)
        return path


@contextmanager
def rig(cores: Cores) -> Iterator[Rig]:
    """Make certificates and start the backend.

    Raises:
        BenchError: The backend is not built or does not start.
    """
    if not (NATIVE / "backend").exists():
        raise BenchError("make native: the load generator and the backend are not built")
    with tempfile.TemporaryDirectory(prefix="tlsproxy-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # for the users that some proxies become
        pairs = {"ecdsa": _pair(folder, "ecdsa"), "rsa": _pair(folder, "rsa")}
        address = f"127.0.0.1:{free_port()}"
        backend = subprocess.Popen(
            pinned([str(NATIVE / "backend"), address], cores.load), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            if backend.stdout is None or backend.stdout.readline() != b"listening\n":
                raise BenchError("the backend does not start")
            yield Rig(folder=folder, cores=cores, pairs=pairs, backend=address)
        finally:
            backend.communicate()


def free_port() -> int:
    """A TCP port that nobody uses on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _pair(folder: Path, kind: str) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else rsa.generate_private_key(65537, _RSA_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=60))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    chain_text = certificate.public_bytes(serialization.Encoding.PEM)
    key_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made = Pair(chain=folder / f"{kind}.pem", key=folder / f"{kind}.key", both=folder / f"{kind}-both.pem")
    made.chain.write_bytes(chain_text)
    for path, text in ((made.key, key_text), (made.both, key_text + chain_text)):
        path.touch(mode=0o600)
        path.write_bytes(text)
    return made
