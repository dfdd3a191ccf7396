"""What ``tlsproxy check`` finds at the old mail server."""

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from rig.checking import NOW, Talk, about, config_of, says, server, until_closed

from tlsproxy.operate import check
from tlsproxy.operate.check import examine

pytestmark = pytest.mark.usefixtures("impatient")


def test_a_backend_that_is_down(files: dict[str, str], nobody: str) -> None:
    assert about(examine(config_of(files, nobody), NOW), "backend.imap") == [
        ("problem", f"{nobody} does not answer: Connection refused; is the old mail server running there?")
    ]


def test_a_backend_that_is_silent(files: dict[str, str]) -> None:
    with server(until_closed) as backend:
        findings = examine(config_of(files, backend), NOW)
    assert about(findings, "backend.imap") == [
        ("problem", f"{backend} answers, but says nothing within 0.3 s; is it TLS that this port expects?")
    ]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"+OK pop3 here\r\n", "+OK pop3 here"),
        (b"* BYE come back later\n", "* BYE come back later"),
        (b"\x1b[2Jgarbage\0\n", "\\x1b[2Jgarbage\\x00"),
        (b"x" * 5000, "x" * 80),
    ],
)
def test_a_backend_that_speaks_something_else(files: dict[str, str], said: bytes, shown: str) -> None:
    with server(says(said)) as backend:
        findings = examine(config_of(files, backend), NOW)
    assert about(findings, "backend.imap") == [
        ("problem", f"{backend} says: {shown} (that is no IMAP greeting; is the port right?)")
    ]


def test_a_backend_that_closes_at_once(files: dict[str, str]) -> None:
    with server(lambda connection: connection.shutdown(socket.SHUT_WR)) as backend:
        findings = examine(config_of(files, backend), NOW)
    assert about(findings, "backend.imap")[0][1].startswith(f"{backend} answers, but says nothing")


def test_a_backend_with_a_name_of_its_own(files: dict[str, str], tls_server: Talk, ca_file: str) -> None:
    with server(tls_server) as backend:
        tls = {"address": backend, "tls": "implicit", "ca": ca_file, "server_name": "mail.example.org"}
        findings = examine(config_of(files, backend, backend={"imap": tls}), NOW)
    assert about(findings, "backend.imap") == [("ok", f"{backend} says: * OK behind TLS")]


def test_a_backend_that_resets(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    is_connected = threading.Event()
    first_line = check._first_line

    def _signalled(sock: socket.socket) -> bytes:
        is_connected.set()
        return first_line(sock)

    def _reset(connection: socket.socket) -> None:
        assert is_connected.wait(5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    monkeypatch.setattr(check, "_first_line", _signalled)
    with server(_reset) as backend:
        findings = examine(config_of(files, backend), NOW)
    assert about(findings, "backend.imap") == [
        ("problem", f"{backend} answers, but not as expected: Connection reset by peer")
    ]


class _Talker:
    """A server that talks without end and without a line break, one byte after the other or many at once."""

    def __init__(self, clock: list[float], size: int) -> None:
        self.clock, self.size, self.calls = clock, size, 0

    def settimeout(self, seconds: float) -> None:
        assert 0 < seconds <= 0.3

    def recv(self, _: int) -> bytes:
        self.calls += 1
        self.clock[0] += 0.01
        return b"x" * self.size


@pytest.mark.parametrize(("size", "calls"), [(1000, 2), (1, 30)])
def test_a_greeting_is_bounded_in_size_and_time(monkeypatch: pytest.MonkeyPatch, size: int, calls: int) -> None:
    clock = [0.0]
    monkeypatch.setattr(check, "monotonic", lambda: clock[0])
    talker: Any = _Talker(clock, size)
    assert check._first_line(talker) == b"x" * size * talker.calls
    assert calls <= talker.calls <= calls + 1


@pytest.fixture
def tls_server(files: dict[str, str]) -> Talk:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["chain"], files["key"])

    def _say(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            says(b"* OK behind TLS\r\n")(secured)

    return _say


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(path)
    return path


def test_a_backend_with_tls(files: dict[str, str], tls_server: Talk, ca_file: str) -> None:
    with server(tls_server) as backend:
        tls = {"address": backend, "tls": "implicit", "ca": ca_file}
        findings = examine(config_of(files, backend, backend={"imap": tls}), NOW)
    assert about(findings, "backend.imap") == [("ok", f"{backend} says: * OK behind TLS")]


def test_a_backend_whose_certificate_is_not_trusted(files: dict[str, str], tls_server: Talk) -> None:
    with server(tls_server) as backend:
        findings = examine(config_of(files, backend, backend={"imap": {"address": backend, "tls": "implicit"}}), NOW)
    [(level, text)] = about(findings, "backend.imap")
    assert level == "problem"
    assert text.startswith(f"{backend} answers, but not as expected: unable to get local issuer certificate")


def test_a_backend_with_tls_that_speaks_none(files: dict[str, str]) -> None:
    with server(says(b"* OK no TLS here\r\n")) as backend:
        findings = examine(config_of(files, backend, backend={"imap": {"address": backend, "tls": "implicit"}}), NOW)
    [(level, text)] = about(findings, "backend.imap")
    assert level == "problem"
    assert text.startswith(f"{backend} answers, but not as expected: ")


def test_an_authority_that_cannot_be_read(files: dict[str, str], nobody: str) -> None:
    backend = {"address": nobody, "tls": "implicit", "ca": "/nowhere/ca.pem"}
    assert about(examine(config_of(files, nobody, backend={"imap": backend}), NOW), "backend.imap") == [
        ("problem", "ca: /nowhere/ca.pem holds no certificate that can be used: No such file or directory")
    ]


def test_starttls_is_said_to_be_untried(files: dict[str, str]) -> None:
    with server(says(b"* OK\r\n")) as backend:
        findings = examine(config_of(files, backend, backend={"imap": {"address": backend, "tls": "starttls"}}), NOW)
    assert about(findings, "backend.imap") == [("ok", f"{backend} says: * OK (STARTTLS is not tried here)")]


def test_a_backend_on_a_unix_socket(files: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        findings = examine(config_of(files, f"unix:{path}"), NOW)
    assert about(findings, "backend.imap")[0][1].startswith(f"unix:{path} answers, but says nothing")
    assert about(examine(config_of(files, f"unix:{path}"), NOW), "backend.imap") == [
        ("problem", f"unix:{path} does not answer: Connection refused; is the old mail server running there?")
    ]


def test_a_backend_that_no_listener_uses(files: dict[str, str], nobody: str) -> None:
    config = config_of(files, nobody, backend={"imap": {"address": nobody}, "spare": {"address": nobody}})
    assert ("warning", "no listener uses it") in about(examine(config, NOW), "backend.spare")


def test_passwords_that_travel_in_clear(files: dict[str, str], nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_connected", lambda *_: (_ for _ in ()).throw(TimeoutError("timed out")))
    clear = {"address": "192.0.2.1:143"}
    unchecked = {"address": "old.example:993", "tls": "implicit", "verify": False}
    checked = {"address": "old.example:993", "tls": "implicit"}
    near = {"address": "localhost:143"}
    backends = {"imap": clear, "unchecked": unchecked, "checked": checked, "near": near}
    findings = examine(config_of(files, nobody, backend=backends), NOW)
    assert about(findings, "backend.imap") == [
        ("problem", "192.0.2.1:143 does not answer: timed out; is the old mail server running there?"),
        ("warning", "passwords travel in clear to 192.0.2.1; is the way there yours alone?"),
    ]
    assert about(findings, "backend.unchecked")[-1] == (
        "warning",
        "who old.example is goes unchecked (verify = false); is the way there yours alone?",
    )
    assert about(findings, "backend.checked")[-1] == ("warning", "no listener uses it")
    assert about(findings, "backend.near")[-1] == ("warning", "no listener uses it")
