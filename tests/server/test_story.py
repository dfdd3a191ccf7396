"""One connection from start to end, as client, backend and log see it."""

import socket
import ssl
from pathlib import Path
from typing import Final

import pytest
from rig.kinds import Caller, Closing, ProxyMaker
from rig.peers import Peer, ScriptedBackend, dial
from rig.pki import Pki

from tlsproxy.core.events import Event

PASSWORD: Final = b"s3cret-word"
GREETINGS: Final = {"imap": b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] old\r\n", "pop3": b"+OK old <1@x>\r\n"}


def upgrade(client: Peer, context: ssl.SSLContext, command: bytes, answer: bytes) -> None:
    client.line()
    client.send(command)
    assert client.line().startswith(answer)
    client.secure(context)


def log_in(client: Peer, old: Peer) -> None:
    client.send(b"a1 LOGIN joe " + PASSWORD + b"\r\n")
    assert old.line() == b"a1 LOGIN joe " + PASSWORD + b"\r\n"
    old.send(b"a1 OK [CAPABILITY IMAP4rev1 IDLE] welcome\r\n")
    assert client.line() == b"a1 OK [CAPABILITY IMAP4rev1 IDLE] welcome\r\n"


def test_imaps_login_and_relay(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, tls_version: ssl.TLSVersion
) -> None:
    proxy = make_proxy()
    client = call(proxy, "imaps", tls_version)
    old = backend.accept(GREETINGS["imap"])
    assert client.line() == b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] old\r\n"
    source_port = old.sock.getpeername()[1]
    log_in(client, old)
    client.send(b"a2 SELECT INBOX\r\n")
    assert old.line() == b"a2 SELECT INBOX\r\n"
    old.send(b"* 3 EXISTS\r\na2 OK done\r\n")
    assert client.lines(2) == [b"* 3 EXISTS\r\n", b"a2 OK done\r\n"]
    client.close()
    assert old.rest() == b""
    old.close()
    closed = proxy.log.closed()
    assert closed["phase"] == "relay"
    assert closed["reason"] == "client_closed"
    assert closed["user"] == "joe"
    assert closed["mechanism"] == "LOGIN"
    assert closed["login"] == "ok"
    assert closed["tls_version"] == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[tls_version.name]
    assert closed["tls_sni"] == "localhost"
    assert closed["source_port"] == source_port
    assert closed["bytes_from_client"] == closed["bytes_to_backend"]
    assert set(closed["seconds"]) == {"admit", "handshake", "connect", "login", "relay"}
    proxy.idle()


def test_starttls_login(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki, tls_version: ssl.TLSVersion
) -> None:
    proxy = make_proxy()
    client = call(proxy, "imap")
    upgrade(client, rig_pki.client_context(tls_version), b"a STARTTLS\r\n", b"a OK")
    client.send(b"a0 CAPABILITY\r\n")
    old = backend.accept(GREETINGS["imap"])
    assert old.line() == b"a0 CAPABILITY\r\n"
    old.send(b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED IDLE\r\na0 OK done\r\n")
    assert client.lines(2) == [b"* CAPABILITY IMAP4rev1 IDLE\r\n", b"a0 OK done\r\n"]
    log_in(client, old)
    old.send(b"* BYE see you\r\n")
    old.close()
    assert client.rest() == b"* BYE see you\r\n"
    client.close()
    closed = proxy.log.closed()
    assert (closed["phase"], closed["reason"], closed["side"]) == ("relay", "backend_closed", "backend")
    assert set(closed["seconds"]) == {"admit", "dialogue", "handshake", "connect", "login", "relay"}
    proxy.idle()


@pytest.mark.parametrize("listener", ["pop3s", "pop3"])
def test_pop3_login(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki, listener: str
) -> None:
    proxy = make_proxy()
    client = call(proxy, listener)
    if listener == "pop3":
        upgrade(client, rig_pki.client_context(), b"STLS\r\n", b"+OK")
        old = backend.accept(GREETINGS["pop3"])
    else:
        old = backend.accept(GREETINGS["pop3"])
        assert client.line() == GREETINGS["pop3"]
    client.send(b"USER joe\r\n")
    assert old.line() == b"USER joe\r\n"
    old.send(b"+OK\r\n")
    assert client.line() == b"+OK\r\n"
    client.send(b"PASS " + PASSWORD + b"\r\n")
    assert old.line() == b"PASS " + PASSWORD + b"\r\n"
    old.send(b"+OK 2 messages\r\n")
    assert client.line() == b"+OK 2 messages\r\n"
    client.send(b"QUIT\r\n")
    assert old.line() == b"QUIT\r\n"
    old.send(b"+OK bye\r\n")
    old.close()
    assert client.rest() == b"+OK bye\r\n"
    client.close()
    closed = proxy.log.closed()
    assert (closed["user"], closed["mechanism"], closed["login"]) == ("joe", "PASS", "ok")
    proxy.idle()


def test_login_refused_in_clear_reaches_nobody(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy()
    client = call(proxy, "imap")
    client.line()
    client.send(b"a LOGIN {3}\r\n")
    assert client.line().startswith(b"a NO [PRIVACYREQUIRED]")
    client.send(b'b LOGIN joe "' + PASSWORD + b'"\r\n')
    assert client.line().startswith(b"* BAD [ALERT]")
    assert client.line().startswith(b"b NO [PRIVACYREQUIRED]")
    (exposed,) = proxy.log.wait(Event.PASSWORD_EXPOSED)
    assert (exposed["user"], exposed["mechanism"]) == ("joe", "LOGIN")
    client.close()
    proxy.idle()
    assert not backend.has_visitor()
    assert PASSWORD.decode() not in str(proxy.log.__dict__)


def test_failed_login_is_logged_when_it_happens(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy()
    client = call(proxy, "imaps")
    old = backend.accept(GREETINGS["imap"])
    client.line()
    client.send(b'a LOGIN joe "' + PASSWORD + b'"\r\n')
    old.line()
    old.send(b"a NO wrong\r\n")
    assert client.line() == b"a NO [AUTHENTICATIONFAILED] wrong\r\n"
    (failed,) = proxy.log.wait(Event.LOGIN_FAILED)
    assert (failed["user"], failed["credential"], failed["attempt"]) == ("joe", True, 1)
    assert not proxy.log.lines(Event.SESSION_CLOSED)
    log_in(client, old)
    client.close()
    old.close()
    closed = proxy.log.closed()
    assert (closed["login"], closed["login_attempts"]) == ("ok", 2)
    assert PASSWORD.decode() not in str(proxy.log.__dict__)
    proxy.idle()


def test_starttls_injection(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy()
    client = call(proxy, "imap")
    client.line()
    client.send(b"a STARTTLS\r\nb LOGIN joe " + PASSWORD + b"\r\n")
    assert client.line().startswith(b"a BAD [CLIENTBUG]")
    assert client.line().startswith(b"* BYE")
    assert client.rest() == b""
    client.close()
    assert proxy.log.wait(Event.STARTTLS_INJECTION)
    assert proxy.log.closed()["reason"] == "starttls_injection"
    proxy.idle()
    assert not backend.has_visitor()


def test_half_closed_client_gets_the_rest(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, tls_version: ssl.TLSVersion
) -> None:
    """A client that says QUIT and shuts its side down still hears the answer."""
    proxy = make_proxy()
    client = call(proxy, "imaps", tls_version)
    old = backend.accept(GREETINGS["imap"])
    client.line()
    log_in(client, old)
    client.send(b"a2 LOGOUT\r\n")
    socket.socket.shutdown(client.sock, socket.SHUT_WR)
    assert old.rest() == b"a2 LOGOUT\r\n"
    old.send(b"* BYE\r\na2 OK\r\n")
    old.close()
    assert client.rest() == b"* BYE\r\na2 OK\r\n"
    client.close()
    closed = proxy.log.closed()
    assert (closed["reason"], closed["side"]) == ("client_closed", "client")
    proxy.idle()


def test_alpn(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki, closing: Closing) -> None:
    proxy = make_proxy()
    context = rig_pki.client_context()
    context.set_alpn_protocols(["http/1.1", "imap"])
    client = closing(dial_tls(proxy.ports["imaps"], context))
    assert client.sock.selected_alpn_protocol() == "imap"
    backend.accept(GREETINGS["imap"]).close()
    client.close()
    proxy.log.wait(Event.SESSION_CLOSED)
    context = rig_pki.client_context()
    context.set_alpn_protocols(["http/1.1", "h2"])
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        dial_tls(proxy.ports["imaps"], context)
    closed = proxy.log.wait(Event.SESSION_CLOSED, 2)[-1]
    assert (closed["phase"], closed["reason"]) == ("handshake", "alpn_mismatch")
    assert closed["tls_error"] == "client offers http/1.1, h2"
    proxy.idle()


def dial_tls(port: int, context: ssl.SSLContext) -> Peer:
    peer = dial(port)
    try:
        peer.secure(context)
    except BaseException:
        peer.close()
        raise
    return peer


def test_certificate_is_picked_by_name(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki, tmp_path: Path, closing: Closing
) -> None:
    chain, key = rig_pki.pair(tmp_path, "mail.example", "*.wild.example")
    first = {"chain": str(rig_pki.chain), "key": str(rig_pki.key)}
    proxy = make_proxy(tls={"certificates": [first, {"chain": str(chain), "key": str(key)}]})
    for asked, shown in (
        ("mail.example", "mail.example"),
        ("a.wild.example", "mail.example"),
        ("localhost", "localhost"),
        ("other.example", "localhost"),
    ):
        context = rig_pki.client_context()
        context.check_hostname = False
        client = call(proxy, "imap")
        client.line()
        client.send(b"a STARTTLS\r\n")
        client.line()
        client.secure(context, asked)
        names = [value for _, value in client.sock.getpeercert()["subjectAltName"]]
        assert names[0] == shown
        client.close()
    proxy.log.wait(Event.SESSION_CLOSED, 4)
    proxy.idle()


def test_session_is_resumed(
    make_proxy: ProxyMaker,
    backend: ScriptedBackend,
    call: Caller,
    rig_pki: Pki,
    closing: Closing,
    tls_version: ssl.TLSVersion,
) -> None:
    proxy = make_proxy()
    context = rig_pki.client_context(tls_version)
    client = closing(dial_tls(proxy.ports["imaps"], context))
    backend.accept(GREETINGS["imap"]).close()
    client.line()  # TLS 1.3 sends its ticket behind the handshake
    session = client.sock.session
    client.close()
    proxy.log.wait(Event.SESSION_CLOSED)
    raw = closing(dial(proxy.ports["imaps"]))
    raw.sock = context.wrap_socket(raw.sock, server_hostname="localhost", session=session)
    assert raw.sock.session_reused
    raw.close()
    assert proxy.log.wait(Event.SESSION_CLOSED, 2)[-1]["tls_resumed"] is True
    proxy.idle()


@pytest.mark.parametrize("is_pipelined", [True, False])
@pytest.mark.parametrize("listener", ["imaps", "pop3s"])
def test_logout_is_told_from_a_backend_that_leaves(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, listener: str, *, is_pipelined: bool
) -> None:
    login, answer, logout = {
        "imaps": (b"a LOGIN joe word\r\n", b"a OK in\r\n", b"b logout\r\n"),
        "pop3s": (b"APOP joe c4c9334bac560ecc979e58001b3e22fb\r\n", b"+OK in\r\n", b"DELE 1\r\nQUIT\r\n"),
    }[listener]
    proxy = make_proxy()
    client = call(proxy, listener)
    old = backend.accept(GREETINGS[listener[:4]])
    client.line()
    client.send(login + logout if is_pipelined else login)
    assert old.line() == login
    old.send(answer)
    assert client.line() == answer
    if not is_pipelined:
        client.send(logout)
    assert old.take(len(logout)) == logout
    old.close()
    client.rest()
    client.close()
    closed = proxy.log.closed()
    assert (closed["phase"], closed["reason"], closed["side"]) == ("relay", "logged_out", "client")
    proxy.idle()
