"""What each profile lets in, and what a backend is asked for: real handshakes in memory."""

import dataclasses
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.pki import Pki

from tlsproxy.config.model import BackendConfig
from tlsproxy.core.errors import CertificateError
from tlsproxy.core.kinds import TlsProfile
from tlsproxy.core.outcome import Reason
from tlsproxy.net.tls.certs import Certificate
from tlsproxy.net.tls.client_hello import ClientHello
from tlsproxy.net.tls.contexts import ServerTls, backend_context
from tlsproxy.net.tls.handshake import HandshakeError

OLD, TLS12, TLS13 = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(autouse=True)
def old_versions_are_asked_for() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def peer_context(purpose: int, version: ssl.TLSVersion, pki: Pki) -> ssl.SSLContext:
    """The other side: speaks one version, trusts everybody."""
    context = ssl.SSLContext(purpose)
    context.minimum_version = context.maximum_version = version
    if version is OLD:
        context.set_ciphers("ALL:@SECLEVEL=0")
    if purpose == ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_cert_chain(pki.chain, pki.key)
    return context


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None) -> ssl.SSLObject:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return theirs


@pytest.mark.parametrize(
    ("profile", "lowest"), [(TlsProfile.MODERN, TLS13), (TlsProfile.INTERMEDIATE, TLS12), (TlsProfile.OLD, OLD)]
)
@pytest.mark.parametrize("version", [OLD, TLS12, TLS13])
def test_lowest_version(
    certificate: Certificate, rig_pki: Pki, profile: TlsProfile, lowest: ssl.TLSVersion, version: ssl.TLSVersion
) -> None:
    context = ServerTls([certificate], profile, "imap").context_for(None)
    client = peer_context(ssl.PROTOCOL_TLS_CLIENT, version, rig_pki)
    if version < lowest:
        with pytest.raises(ssl.SSLError):
            shake(context, client)
    else:
        assert shake(context, client).version() == {OLD: "TLSv1", TLS12: "TLSv1.2", TLS13: "TLSv1.3"}[version]


@pytest.mark.parametrize("cipher", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"])
def test_intermediate_has_no_weak_cipher(certificate: Certificate, rig_pki: Pki, cipher: str) -> None:
    context = ServerTls([certificate], TlsProfile.INTERMEDIATE, "imap").context_for(None)
    client = peer_context(ssl.PROTOCOL_TLS_CLIENT, TLS12, rig_pki)
    client.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError):
        shake(context, client)


def test_alpn(certificate: Certificate, rig_pki: Pki) -> None:
    tls = ServerTls([certificate], TlsProfile.INTERMEDIATE, "pop3")
    client = peer_context(ssl.PROTOCOL_TLS_CLIENT, TLS13, rig_pki)
    client.set_alpn_protocols(["h2", "pop3"])
    assert shake(tls.context_for(None), client).selected_alpn_protocol() == "pop3"
    tls.context_for(ClientHello("a", (b"pop3",), ()))
    tls.context_for(ClientHello("a", (), ()))
    with pytest.raises(HandshakeError) as caught:
        tls.context_for(ClientHello("a", (b"h2\xff", b"x" * 99), ()))
    assert caught.value.reason is Reason.ALPN_MISMATCH
    assert caught.value.detail == "client offers h2\\xff, " + "x" * 20


def test_pair_that_openssl_does_not_take(certificate: Certificate) -> None:
    broken = dataclasses.replace(certificate, key_pem=b"nothing")
    with pytest.raises(CertificateError):
        ServerTls([certificate, broken], TlsProfile.INTERMEDIATE, "imap")


def backend(**keys: Any) -> ssl.SSLContext:
    return backend_context(BackendConfig.model_validate({"address": "127.0.0.1:1", "tls": "implicit", **keys}))


def test_backend_is_verified(rig_pki: Pki, tmp_path: Path) -> None:
    server = peer_context(ssl.PROTOCOL_TLS_SERVER, TLS13, rig_pki)
    trusting = backend(ca=str(rig_pki.ca_file))
    assert shake(server, trusting, "localhost").version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(server, trusting, "other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, backend(), "localhost")
    assert shake(server, backend(verify=False), "other.example").version() == "TLSv1.3"
    with pytest.raises(OSError, match=r"(?i)no certificate"):
        backend(ca=str(rig_pki.key))
    with pytest.raises(FileNotFoundError):
        backend(ca=str(tmp_path / "none"))


def test_legacy_backend(rig_pki: Pki) -> None:
    server = peer_context(ssl.PROTOCOL_TLS_SERVER, OLD, rig_pki)
    with pytest.raises(ssl.SSLError):
        shake(server, backend(verify=False), "localhost")
    legacy = backend(ca=str(rig_pki.ca_file), legacy_tls=True)
    assert shake(server, legacy, "localhost").version() == "TLSv1"
    assert legacy.options & 0x4, "old servers know no secure renegotiation"
