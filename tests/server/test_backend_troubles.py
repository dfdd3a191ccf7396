"""What the client sees, the log says and is released when the old server is down, slow, rude or gone."""

import contextlib
import select
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from rig.kinds import Caller, Closing, ProxyMaker
from rig.peers import ScriptedBackend, dial
from rig.pki import Pki

from tlsproxy.core.events import Event

GREETING: Final = b"* OK old\r\n"
QUICK: Final = {"backend_hold": 0.4, "backend_retry": 0.1, "backend_connect": 0.3, "backend_login": 0.5}


def test_down_at_connect(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy(timeouts=QUICK)
    backend.close()
    client = call(proxy, "imaps")
    assert client.line().startswith(b"* BYE [UNAVAILABLE] The mail server cannot be reached")
    assert client.rest() == b""
    client.close()
    closed = proxy.log.closed()
    assert (closed["phase"], closed["reason"], closed["level"]) == ("connect", "backend_down", "warning")
    assert "Connection refused" in closed["backend_error"]
    proxy.idle()


def test_refusal_names_the_session(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy(timeouts=QUICK)
    backend.close()
    client = call(proxy, "pop3s")
    line = client.line()
    assert line.startswith(b"-ERR [SYS/TEMP] The mail server cannot be reached")
    client.close()
    assert proxy.log.closed()["session"] == line.rstrip().rpartition(b"ref=")[2].decode()
    proxy.idle()


def test_login_is_held_while_the_backend_restarts(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki, closing: Closing
) -> None:
    """Nobody is asked for a password because of a restart: the login waits, and is then answered by the backend."""
    proxy = make_proxy(timeouts={"backend_retry": 0.05})
    backend.close()
    client = call(proxy, "imap")
    client.line()
    client.send(b"s STARTTLS\r\n")
    client.line()
    client.secure(rig_pki.client_context())
    client.send(b"a LOGIN joe word\r\n")
    again = closing(ScriptedBackend(backend.port))
    old = again.accept(GREETING)
    assert old.line() == b"a LOGIN joe word\r\n"
    old.send(b"a OK in\r\n")
    assert client.line() == b"a OK in\r\n"
    client.close()
    old.close()
    assert proxy.log.closed()["login"] == "ok"
    proxy.idle()


def test_held_login_is_answered_in_the_end(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki
) -> None:
    proxy = make_proxy(timeouts=QUICK)
    backend.close()
    client = call(proxy, "imap")
    client.line()
    client.send(b"s STARTTLS\r\n")
    client.line()
    client.secure(rig_pki.client_context())
    client.send(b"a7 LOGIN joe word\r\n")
    assert client.line().startswith(b"a7 NO [UNAVAILABLE] The mail server cannot be reached")
    assert client.line().startswith(b"* BYE [UNAVAILABLE]")
    client.close()
    assert proxy.log.closed()["reason"] == "backend_down"
    assert not proxy.log.lines(Event.LOGIN_FAILED)
    proxy.idle()


def test_backend_lost_before_a_login_is_found_again(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller
) -> None:
    proxy = make_proxy(timeouts={"backend_retry": 0.05})
    client = call(proxy, "imaps")
    backend.accept(GREETING).close()
    assert client.line() == GREETING
    old = backend.accept(b"* OK again\r\n")
    client.send(b"a LOGIN joe word\r\n")
    assert old.line() == b"a LOGIN joe word\r\n"
    old.send(b"a OK in\r\n")
    assert client.line() == b"a OK in\r\n"
    client.close()
    old.close()
    proxy.idle()


@pytest.mark.parametrize(
    ("listener", "torn", "whole"),
    [("imaps", b"* OK [CAPABILITY IMAP4rev1", GREETING), ("pop3s", b"+OK he", b"+OK hello\r\n")],
)
def test_greeting_that_breaks_off(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, listener: str, torn: bytes, whole: bytes
) -> None:
    """The next backend's is not glued to it."""
    proxy = make_proxy(timeouts={"backend_retry": 0.05})
    client = call(proxy, listener)
    backend.accept(torn).close()
    backend.accept(whole)
    assert client.line() == whole
    client.close()
    proxy.log.closed()
    proxy.idle()


def test_backend_that_greets_and_leaves_for_ever(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller
) -> None:
    proxy = make_proxy(timeouts={"backend_retry": 0.05})
    client = call(proxy, "imaps")
    for _ in range(3):
        backend.accept(GREETING).close()
    assert client.line() == GREETING
    assert client.line().startswith(b"* BYE [UNAVAILABLE] The mail server closed the connection")
    client.close()
    assert proxy.log.closed()["reason"] == "backend_closed"
    proxy.idle()


def test_backend_lost_with_a_login_under_way(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy()
    client = call(proxy, "imaps")
    old = backend.accept(GREETING)
    client.line()
    client.send(b"a LOGIN joe word\r\n")
    old.line()
    old.reset()
    assert client.line().startswith(b"a NO [UNAVAILABLE] The mail server broke the connection")
    assert client.line().startswith(b"* BYE [UNAVAILABLE]")
    client.close()
    assert (proxy.log.closed()["phase"], proxy.log.closed()["reason"]) == ("login", "backend_reset")
    proxy.idle()


@pytest.mark.parametrize(
    ("greeting", "reason", "heard"),
    [
        (b"* PREAUTH welcome root\r\n", "backend_preauth", b"* BYE [SERVERBUG]"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "backend_garbage", b"* BYE [UNAVAILABLE]"),
        (b"* BYE too many here\r\n", "backend_refused", b"* BYE too many here\r\n"),
        (b"x" * 70_000, "backend_garbage", b"* BYE [UNAVAILABLE]"),
    ],
)
def test_greetings_that_end_it(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, greeting: bytes, reason: str, heard: bytes
) -> None:
    proxy = make_proxy()
    client = call(proxy, "imaps")
    backend.accept(greeting)
    assert client.line().startswith(heard)
    assert client.rest() == b""
    client.close()
    closed = proxy.log.closed()
    assert (closed["reason"], closed["side"]) == (reason, "backend")
    proxy.idle()


def test_silent_backend(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy(timeouts=QUICK)
    client = call(proxy, "imaps")
    assert client.line().startswith(b"* BYE [UNAVAILABLE] The mail server does not answer")
    client.close()
    assert proxy.log.closed()["reason"] == "backend_timeout"
    proxy.idle()


def test_backend_silent_after_a_login(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy(timeouts=QUICK)
    client = call(proxy, "imaps")
    backend.accept(GREETING)
    client.line()
    client.send(b"a LOGIN joe word\r\n")
    assert client.line().startswith(b"a NO [UNAVAILABLE] The mail server does not answer")
    client.close()
    assert (proxy.log.closed()["phase"], proxy.log.closed()["reason"]) == ("login", "backend_timeout")
    proxy.idle()


def test_reset_in_the_middle_of_a_literal(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy()
    client = call(proxy, "imaps")
    old = backend.accept(GREETING)
    client.line()
    client.send(b"a LOGIN joe word\r\n")
    old.line()
    old.send(b"a OK in\r\n")
    client.line()
    client.send(b"b FETCH 1 BODY[]\r\n")
    old.line()
    old.send(b"* 1 FETCH (BODY[] {1000}\r\nhalf of it")
    assert client.line() == b"* 1 FETCH (BODY[] {1000}\r\n"
    assert client.take(10) == b"half of it"
    old.reset()
    assert client.rest() == b"", "nothing of ours may stand inside a literal"
    client.close()
    assert proxy.log.closed()["reason"] == "backend_reset"
    proxy.idle()


def test_known_to_be_down_is_told_at_once(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, closing: Closing
) -> None:
    """Five failures seen by two clients: from then on nobody waits, and the log says so once, until it is back."""
    proxy = make_proxy(timeouts={**QUICK, "backend_hold": 0.0})
    backend.close()
    for source in ("127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3", "127.0.0.2"):
        client = closing(dial(proxy.ports["pop3s"], source=source))
        client.secure(trusting())
        assert client.line().startswith(b"-ERR [SYS/TEMP]")
        client.close()
    (lost,) = proxy.log.wait(Event.BACKEND_LOST)
    assert lost["level"] == "error"
    other = closing(dial(proxy.ports["pop3"]))
    assert other.line().startswith(b"-ERR [SYS/TEMP] The mail server cannot be reached"), "instead of a greeting"
    other.close()
    again = closing(ScriptedBackend(backend.port))
    (back,) = proxy.log.wait(Event.BACKEND_RECOVERED)
    assert back["seconds"] > 0
    third = closing(dial(proxy.ports["pop3"]))
    assert third.line() == b"+OK ready\r\n"
    third.close()
    again.accept()
    proxy.idle()


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_context(rig_pki: Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(rig_pki.chain), str(rig_pki.key))
    return context


def test_tls_to_the_backend(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki) -> None:
    proxy = make_proxy(backend={"tls": "implicit", "ca": str(rig_pki.ca_file)})
    client = call(proxy, "imaps")
    old = backend.accept()
    old.secure_as_server(server_context(rig_pki))
    old.send(GREETING)
    assert client.line() == GREETING
    client.send(b"a LOGIN joe word\r\n")
    assert old.line() == b"a LOGIN joe word\r\n"
    old.send(b"a OK in\r\n" + b"x" * 300_000)
    assert client.line() == b"a OK in\r\n"
    assert client.take(300_000) == b"x" * 300_000
    client.close()
    assert old.rest() == b""
    old.close()
    proxy.idle()


def test_starttls_to_the_backend(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki) -> None:
    proxy = make_proxy(backend={"tls": "starttls", "ca": str(rig_pki.ca_file), "server_name": "localhost"})
    client = call(proxy, "pop3s")
    old = backend.accept(b"+OK before <1@tls>\r\n")
    assert old.line() == b"STLS\r\n"
    old.send(b"+OK\r\n")
    old.secure_as_server(server_context(rig_pki))
    assert client.line() == b"+OK ready\r\n"
    client.send(b"CAPA\r\n")
    assert old.line() == b"CAPA\r\n"
    client.close()
    old.close()
    proxy.idle()


@pytest.mark.parametrize("answer", [b"T1 OK go\r\n* OK injected\r\n", b"T1 NO\r\n", b"T1 BAD what\r\n"])
def test_starttls_to_the_backend_fails_closed(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki, answer: bytes
) -> None:
    proxy = make_proxy(backend={"tls": "starttls", "ca": str(rig_pki.ca_file)})
    client = call(proxy, "imaps")
    old = backend.accept(GREETING)
    assert old.line().endswith(b"STARTTLS\r\n")
    old.send(answer)
    assert client.line().startswith(b"* BYE [SERVERBUG] The mail server cannot be reached safely")
    client.close()
    closed = proxy.log.closed()
    assert (closed["phase"], closed["reason"]) == ("connect", "backend_tls_failed")
    proxy.idle()


def test_backend_certificate_is_verified(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki
) -> None:
    proxy = make_proxy(backend={"tls": "implicit", "ca": str(rig_pki.ca_file), "server_name": "other.example"})
    client = call(proxy, "imaps")
    old = backend.accept()
    with pytest.raises(ssl.SSLError):
        old.secure_as_server(server_context(rig_pki))
    assert client.line().startswith(b"* BYE [SERVERBUG]")
    client.close()
    closed = proxy.log.closed()
    assert closed["reason"] == "backend_tls_failed"
    assert "other.example" in closed["backend_error"]
    proxy.idle()


def test_all_addresses_of_a_name_are_tried(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    """``localhost`` is ::1 and 127.0.0.1 here; only the second listens."""
    proxy = make_proxy(backend={"address": f"localhost:{backend.port}"})
    client = call(proxy, "imaps")
    backend.accept(GREETING)
    assert client.line() == GREETING
    client.close()
    assert proxy.log.closed()["backend_address"] == backend.address
    proxy.idle()


def test_name_that_does_not_resolve(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy(backend={"address": "nowhere.invalid:143"}, timeouts={**QUICK, "backend_connect": 5.0})
    client = call(proxy, "imaps")
    assert client.line().startswith(b"* BYE [UNAVAILABLE]")
    client.close()
    assert "nowhere.invalid" in proxy.log.closed()["backend_error"]
    proxy.idle()


def test_unix_socket(make_proxy: ProxyMaker, call: Caller, tmp_path: Path, closing: Closing) -> None:
    path = tmp_path / "old.sock"
    listening = closing(contextlib.closing(socket.socket(socket.AF_UNIX)))
    listening.bind(str(path))
    listening.listen()
    proxy = make_proxy(backend={"address": f"unix:{path}"})
    client = call(proxy, "imaps")
    old = closing(contextlib.closing(listening.accept()[0]))
    old.sendall(GREETING)
    assert client.line() == GREETING
    client.close()
    closed = proxy.log.closed()
    assert (closed["backend_address"], closed["source_port"]) == (str(path), None)
    proxy.idle()


@pytest.mark.parametrize("has_spoken", [True, False])
def test_client_that_leaves_while_it_is_held(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, *, has_spoken: bool
) -> None:
    """A dead backend holds nobody's place: who leaves is let go at the next breath."""
    proxy = make_proxy(timeouts={"backend_retry": 0.1})
    backend.close()
    client = call(proxy, "imaps")
    if has_spoken:
        client.send(b"a LOGIN joe word\r\n")
    client.close()
    closed = proxy.log.closed()
    assert closed["phase"] == "connect"
    assert closed["reason"] in {"client_closed", "client_reset"}
    assert closed["duration"] < 5
    proxy.idle()


def test_late_greeting_of_a_backend_given_up(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy(timeouts={"backend_login": 0.3, "backend_retry": 0.2, "backend_hold": 5.0})
    client = call(proxy, "imaps")
    first = backend.accept()
    client.send(b"a NOOP\r\n")
    second = backend.accept()
    second.send(b"* OK second\r\n")
    assert client.line() == b"* OK second\r\n"
    assert second.line() == b"a NOOP\r\n"
    assert first.rest() == b""
    second.send(b"a OK\r\n")
    assert client.line() == b"a OK\r\n"
    client.close()
    second.close()
    proxy.idle()


def test_half_closed_client_hears_about_its_login(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, tls_version: ssl.TLSVersion
) -> None:
    proxy = make_proxy()
    client = call(proxy, "imaps", tls_version)
    client.send(b"a LOGIN joe word\r\nb LOGOUT\r\n")
    socket.socket.shutdown(client.sock, socket.SHUT_WR)
    old = backend.accept(GREETING)
    assert old.line() == b"a LOGIN joe word\r\n"
    old.send(b"a OK in\r\n")
    assert old.rest() == b"b LOGOUT\r\n"
    old.send(b"* BYE\r\nb OK\r\n")
    old.close()
    assert client.rest() == GREETING + b"a OK in\r\n* BYE\r\nb OK\r\n"
    client.close()
    assert proxy.log.closed()["reason"] == "client_closed"
    proxy.idle()


def test_silent_pop3_client_is_told(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki
) -> None:
    """It has not asked yet; the answer waits for what it will ask."""
    proxy = make_proxy(timeouts={**QUICK, "backend_hold": 0.0})
    backend.close()
    client = call(proxy, "pop3")
    client.line()
    client.send(b"STLS\r\n")
    client.line()
    client.secure(rig_pki.client_context())
    assert client.line().startswith(b"-ERR [SYS/TEMP] The mail server cannot be reached")
    client.close()
    proxy.idle()


def test_pop3_backend_that_says_why_it_leaves(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    """Its word was heard by the client, so that no other connection may take its place behind the client's back."""
    proxy = make_proxy()
    client = call(proxy, "pop3s")
    old = backend.accept(b"+OK old\r\n")
    assert client.line() == b"+OK old\r\n"
    old.send(b"-ERR autologout\r\n")
    old.close()
    assert client.line() == b"-ERR autologout\r\n"
    client.rest()
    client.close()
    assert proxy.log.closed()["reason"] == "backend_closed"
    proxy.idle()
    assert not backend.has_visitor()


def write_and_read(sock: socket.socket, data: bytes, size: int) -> bytes:
    """Write and read at once, as a client with one thread does it that waits for whichever is possible."""
    sock.settimeout(0)
    unsent, heard = memoryview(data), bytearray()
    while unsent or len(heard) < size:
        select.select([sock], [sock] if unsent else [], [], 20)
        with contextlib.suppress(ssl.SSLWantReadError):
            while got := sock.recv(65536):
                heard += got
        if unsent:
            with contextlib.suppress(ssl.SSLWantWriteError):
                unsent = unsent[sock.send(unsent[:16384]) :]
    return bytes(heard)


@pytest.mark.parametrize("is_tls_backend", [True, False])
def test_both_write_before_they_read(
    make_proxy: ProxyMaker,
    backend: ScriptedBackend,
    call: Caller,
    rig_pki: Pki,
    tls_version: ssl.TLSVersion,
    *,
    is_tls_backend: bool,
) -> None:
    """An old server with one thread sends all of its answer before it reads what the client uploads meanwhile."""
    size = 12_000_000
    proxy = make_proxy(backend={"tls": "implicit", "ca": str(rig_pki.ca_file)} if is_tls_backend else {})
    client = call(proxy, "imaps", tls_version)
    old = backend.accept()
    if is_tls_backend:
        old.secure_as_server(server_context(rig_pki))
    old.send(GREETING)
    client.line()
    client.send(b"a LOGIN joe word\r\n")
    old.line()
    old.send(b"a OK in\r\n")
    client.line()
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(old.send, b"d" * size)
        both = pool.submit(write_and_read, client.sock, b"u" * size, size)
        answer.result(20)
        assert old.take(size) == b"u" * size
        assert both.result(20) == b"d" * size
    client.close()
    old.close()
    proxy.idle()


def test_full_queue_of_a_unix_socket_is_no_failure(
    make_proxy: ProxyMaker, call: Caller, tmp_path: Path, closing: Closing
) -> None:
    path = tmp_path / "old.sock"
    listening = closing(contextlib.closing(socket.socket(socket.AF_UNIX)))
    listening.bind(str(path))
    listening.listen(0)
    proxy = make_proxy(backend={"address": f"unix:{path}"})
    clients = [call(proxy, "imaps") for _ in range(6)]
    for _ in clients:
        old, _ = listening.accept()
        closing(contextlib.closing(old)).sendall(GREETING)
    assert [client.line() for client in clients] == [GREETING] * 6
    for client in clients:
        client.close()
    proxy.log.wait(Event.SESSION_CLOSED, 6)
    assert not proxy.log.lines(Event.BACKEND_LOST)
    proxy.idle()


def test_half_closed_client_hears_why(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    proxy = make_proxy()
    client = call(proxy, "imaps")
    old = backend.accept(GREETING)
    client.line()
    client.send(b"a LOGIN joe word\r\n")
    socket.socket.shutdown(client.sock, socket.SHUT_WR)
    old.line()
    old.send(b"* BYE too many\r\n")
    old.close()
    assert client.line() == b"* BYE too many\r\n"
    assert client.line().startswith(b"a NO [UNAVAILABLE] The mail server closed the connection")
    assert client.rest() == b"", "the goodbye was the server's own"
    client.close()
    proxy.idle()


def test_half_close_in_front_of_a_tls_backend(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, rig_pki: Pki
) -> None:
    """All of the answer arrives, though the backend's TLS library takes offence at our end."""
    proxy = make_proxy(backend={"tls": "implicit", "ca": str(rig_pki.ca_file)})
    client = call(proxy, "imaps")
    old = backend.accept()
    old.secure_as_server(server_context(rig_pki))
    old.send(GREETING)
    client.line()
    client.send(b"a LOGIN joe word\r\n")
    old.line()
    old.send(b"a OK in\r\n")
    client.line()
    client.send(b"b FETCH 1 BODY[]\r\n")
    socket.socket.shutdown(client.sock, socket.SHUT_WR)
    assert old.line() == b"b FETCH 1 BODY[]\r\n"
    old.send(b"x" * 3_000_000)
    old.close()
    assert client.rest() == b"x" * 3_000_000
    client.close()
    assert proxy.log.closed()["reason"] == "client_closed"
    proxy.idle()
