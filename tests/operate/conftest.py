"""Fixtures of ``tlsproxy check``: a certificate, an address where nobody listens, and little patience."""

import socket
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from rig.checking import NOW

from tlsproxy.operate import check


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    return _written(
        authority.issue_cert("mail.example.org", "127.0.0.1", not_after=NOW + timedelta(days=90)),
        tmp_path,
    )


def _written(certificate: trustme.LeafCert, folder: Path) -> dict[str, str]:
    chain, key = folder / "mail.pem", folder / "mail.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    key.chmod(0o600)
    return {"chain": str(chain), "key": str(key)}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_GREETING_TIMEOUT_S", 0.3)


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
    return f"{host}:{port}"
