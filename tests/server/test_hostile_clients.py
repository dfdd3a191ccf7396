"""Slow, silent, stuck and lying clients: what they hear, what is written down, and that nothing is kept of them."""

import contextlib
import os
import socket
import ssl
from pathlib import Path
from typing import Final

import pytest
from rig.kinds import Caller, Closing, ProxyMaker
from rig.peers import Peer, ScriptedBackend, dial
from rig.pki import Pki

GREETING: Final = b"* OK old\r\n"
MIB: Final = 1024 * 1024


def log_in(client: Peer, old: Peer) -> None:
    client.line()
    client.send(b"a LOGIN joe word\r\n")
    old.line()
    old.send(b"a OK in\r\n")
    client.line()


def test_silent_handshake(make_proxy: ProxyMaker, backend: ScriptedBackend, closing: Closing) -> None:
    proxy = make_proxy(timeouts={"tls_handshake": 0.3})
    client = closing(dial(proxy.ports["imaps"]))
    assert client.rest() == b""
    closed = proxy.log.closed()
    assert (closed["phase"], closed["reason"]) == ("handshake", "handshake_timeout")
    proxy.idle()
    assert not backend.has_visitor()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: mail\r\n\r\n", "http_on_tls_port"),
        (b"a LOGIN joe word\r\n", "plaintext_on_tls_port"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07", "handshake_failed"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "handshake_failed"),
        (b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000, "handshake_failed"),
    ],
)
def test_no_tls_on_a_tls_port(make_proxy: ProxyMaker, closing: Closing, said: bytes, reason: str) -> None:
    proxy = make_proxy()
    client = closing(dial(proxy.ports["imaps"]))
    with contextlib.suppress(OSError):
        client.send(said)
        client.rest()
    closed = proxy.log.closed()
    assert (closed["phase"], closed["reason"]) == ("handshake", reason)
    assert closed["tls_error"]
    proxy.idle()


def test_client_gone_in_the_handshake(make_proxy: ProxyMaker, closing: Closing) -> None:
    proxy = make_proxy()
    for bytes_sent, is_reset in ((b"", False), (b"\x16\x03\x01\x02", False), (b"\x16\x03\x01\x02", True)):
        client = closing(dial(proxy.ports["imaps"]))
        client.send(bytes_sent)
        client.reset() if is_reset else client.close()
    closed = proxy.log.wait("session.closed", 3)
    assert {line["reason"] for line in closed} <= {"client_closed", "client_reset"}
    assert {line["phase"] for line in closed} == {"handshake"}
    proxy.idle()


def test_old_tls_version(make_proxy: ProxyMaker, closing: Closing) -> None:
    proxy = make_proxy()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    client = closing(dial(proxy.ports["imaps"]))
    with pytest.raises(ssl.SSLError):
        client.secure(context)
    closed = proxy.log.closed()
    assert (closed["phase"], closed["reason"]) == ("handshake", "tls_version_too_old")
    proxy.idle()


def test_client_that_distrusts_the_certificate(
    make_proxy: ProxyMaker, closing: Closing, tls_version: ssl.TLSVersion
) -> None:
    proxy = make_proxy()
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = tls_version
    client = closing(dial(proxy.ports["imaps"]))
    with pytest.raises(ssl.SSLCertVerificationError):
        client.secure(context)
    client.close()
    closed = proxy.log.closed()
    assert (closed["phase"], closed["reason"]) == ("handshake", "certificate_rejected")
    assert "unknown_ca" in closed["tls_error"]
    proxy.idle()


def test_hello_in_single_bytes(
    make_proxy: ProxyMaker, backend: ScriptedBackend, rig_pki: Pki, closing: Closing, tls_version: ssl.TLSVersion
) -> None:
    """A handshake that trickles in is no failure as long as it is in time."""
    proxy = make_proxy()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = rig_pki.client_context(tls_version).wrap_bio(incoming, outgoing, server_hostname="localhost")
    client = closing(dial(proxy.ports["imaps"]))
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            for byte in outgoing.read():
                client.send(bytes([byte]))
            incoming.write(client.sock.recv(65536))
    client.send(outgoing.read())
    backend.accept(GREETING)
    assert read_through(tls, client, incoming) == GREETING
    client.close()
    assert proxy.log.closed()["tls_sni"] == "localhost"
    proxy.idle()


def read_through(tls: ssl.SSLObject, client: Peer, incoming: ssl.MemoryBIO) -> bytes:
    while True:
        try:
            return tls.read(65536)
        except ssl.SSLWantReadError:
            incoming.write(client.sock.recv(65536))


@pytest.mark.parametrize("listener", ["imap", "imaps"])
def test_too_slow_to_log_in(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, listener: str) -> None:
    proxy = make_proxy(timeouts={"login": 0.4, "login_stressed": 0.4})
    client = call(proxy, listener)
    if listener == "imaps":
        backend.accept(GREETING)
    client.line()
    client.send(b"a")
    line = client.line()
    assert line.startswith(b"* BYE Disconnected for inactivity."), line
    assert client.rest() == b""
    assert proxy.log.closed()["reason"] == "login_timeout"
    proxy.idle()


def test_two_megabytes_without_a_newline(make_proxy: ProxyMaker, call: Caller) -> None:
    proxy = make_proxy()
    client = call(proxy, "imap")
    client.line()
    with contextlib.suppress(OSError):
        for _ in range(32):
            client.send(b"A" * 65536)
    with contextlib.suppress(OSError):
        assert b"BYE" in client.rest()
    assert proxy.log.closed()["reason"] in {"line_too_long", "not_mail", "too_much_before_login"}
    proxy.idle()


def test_random_bytes(make_proxy: ProxyMaker, call: Caller) -> None:
    proxy = make_proxy()
    for listener in ("imap", "pop3"):
        client = call(proxy, listener)
        client.line()
        with contextlib.suppress(OSError):
            client.send(os.urandom(3000) + b"\r\n")
            client.rest()
        client.close()
    for line in proxy.log.wait("session.closed", 2):
        assert line["reason"] in {"not_mail", "line_too_long", "bad_commands", "too_much_before_login"}
    proxy.idle()


def test_garbage_after_the_handshake(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, tls_version: ssl.TLSVersion
) -> None:
    proxy = make_proxy()
    client = call(proxy, "imaps", tls_version)
    old = backend.accept(GREETING)
    log_in(client, old)
    socket.socket.sendall(client.sock, b"this is no TLS record, not at all\r\n" * 3)
    assert old.rest() == b""
    client.close()
    assert proxy.log.closed()["reason"] == "client_tls_broken"
    proxy.idle()


def test_reset_in_the_relay(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy()
    client = call(proxy, "imaps")
    old = backend.accept(GREETING)
    log_in(client, old)
    reset_under_tls(client)
    assert old.rest() == b""
    assert proxy.log.closed()["reason"] == "client_reset"
    proxy.idle()


def test_reader_that_stops_holds_up_nobody(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    """A client that stops in the middle of 20 MB: memory stays bounded, the backend is slowed, others stay quick."""
    proxy = make_proxy()
    stuck = call(proxy, "imaps")
    old = backend.accept(GREETING)
    log_in(stuck, old)
    old.sock.settimeout(0.5)
    sent = 0
    before = resident_bytes()
    with contextlib.suppress(TimeoutError):
        while sent < 20 * MIB:
            sent += old.sock.send(b"x" * 65536)
    assert sent < 20 * MIB
    assert resident_bytes() - before < 8 * MIB
    other = call(proxy, "imaps")
    other_old = backend.accept(GREETING)
    log_in(other, other_old)
    for number in range(50):
        other.send(b"b NOOP %d\r\n" % number)
        assert other_old.line() == b"b NOOP %d\r\n" % number
        other_old.send(b"b OK\r\n")
        assert other.line() == b"b OK\r\n"
    received = stuck.take(sent)
    assert received == b"x" * sent
    for peer in (stuck, other, old, other_old):
        peer.close()
    proxy.idle()


def test_idle_session_ends(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy(timeouts={"idle_imap": 0.4})
    client = call(proxy, "imaps")
    old = backend.accept(GREETING)
    log_in(client, old)
    assert client.line().startswith(b"* BYE Disconnected for inactivity.")
    assert client.rest() == b""
    assert old.rest() == b""
    assert (proxy.log.closed()["phase"], proxy.log.closed()["reason"]) == ("relay", "idle_timeout")
    proxy.idle()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("is_logged_in", [True, False])
@pytest.mark.parametrize("is_client", [True, False])
def test_reset_behind_data_is_noticed(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, *, is_logged_in: bool, is_client: bool
) -> None:
    """Data and a reset in one go, again and again: no loop may take the data and forget the connection."""
    proxy = make_proxy(limits={"unauthenticated_per_address": None, "connection_rate": None})
    rounds = 25
    for number in range(1, rounds + 1):
        client = call(proxy, "imaps")
        old = backend.accept(GREETING)
        if is_logged_in:
            log_in(client, old)
        else:
            client.line()
        if is_client:
            client.send(b"b NOOP\r\n")
            reset_under_tls(client)
        else:
            old.send(b"* 1 EXISTS\r\n")
            old.reset()
            if is_logged_in:
                client.rest()
            else:
                backend.accept()  # before a login another connection takes its place
            client.close()
        proxy.log.wait("session.closed", number)
        backend.forget()  # not before: a session whose backend leaves before the client looks for another
    proxy.idle()


def reset_under_tls(client: Peer) -> None:
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    os.close(client.sock.detach())
