"""The real program under signals: what sessions see, what the log says, what it leaves behind."""

import contextlib
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from rig.kinds import Closing
from rig.peers import Peer, ScriptedBackend, dial
from rig.pki import Pki
from rig.program import Program, config_text, wait_until

GREETING: Final = b"* OK old\r\n"
QUICK: Final = '[timeouts]\ndrain = "1s"\n'

Starter = Callable[..., Program]
Change = Callable[[str, Pki], str]
Opener = Callable[[Program], tuple[Peer, Peer]]


@pytest.fixture(params=["selector", "uvloop"])
def start(
    request: pytest.FixtureRequest, tmp_path: Path, rig_pki: Pki, backend: ScriptedBackend, closing: Closing
) -> Starter:
    def begin(more: str = QUICK, **kwargs: Any) -> Program:
        text = config_text(rig_pki, backend.address, more + f'[server]\nloop = "{request.param}"\n', **kwargs)
        program: Program = closing(Program(tmp_path, text))
        return program

    return begin


@pytest.fixture
def session(rig_pki: Pki, backend: ScriptedBackend, closing: Closing) -> Callable[[Program], tuple[Peer, Peer]]:
    """A client that is logged in, and the old server's side of it."""

    def open_one(program: Program) -> tuple[Peer, Peer]:
        client = closing(dial(program.ports["imaps"]))
        client.secure(rig_pki.client_context())
        old = backend.accept(GREETING)
        client.line()
        client.send(b"a LOGIN joe word\r\n")
        old.line()
        old.send(b"a OK in\r\n")
        client.line()
        return client, old

    return open_one


def test_sigterm_says_goodbye(start: Starter, session: Opener, closing: Closing, rig_pki: Pki) -> None:
    program = start()
    idle, _ = session(program)
    before_tls = closing(dial(program.ports["imap"]))
    before_tls.line()
    pop3 = closing(dial(program.ports["pop3"]))
    pop3.line()
    program.signal(signal.SIGTERM)
    program.wait("server.draining")
    with pytest.raises(ConnectionRefusedError):
        dial(program.ports["imap"])
    for client in (idle, before_tls):
        assert client.line().startswith(b"* BYE [UNAVAILABLE] Server restarting. ref=")
        assert client.rest() == b""
        client.close()
    pop3.rest()
    pop3.close()
    assert program.ends() == 0
    assert [line["reason"] for line in program.lines("session.closed")] == ["shutdown"] * 3
    assert program.lines("server.stopped")[0]["sessions"] == 0


def test_goodbye_waits_for_the_end_of_a_response(start: Starter, session: Opener) -> None:
    program = start('[timeouts]\ndrain = "20s"\n')
    client, old = session(program)
    client.send(b"b FETCH 1 BODY[]\r\n")
    old.line()
    old.send(b"* 1 FETCH (BODY[] {22}\r\nfirst line\r\n")
    assert client.lines(2) == [b"* 1 FETCH (BODY[] {22}\r\n", b"first line\r\n"]
    program.signal(signal.SIGTERM)
    program.wait("server.draining")
    client.sock.settimeout(1)
    with pytest.raises(TimeoutError):
        client.line()
    client.sock.settimeout(20)
    old.send(b"second one)\r\nb OK done\r\n")
    assert client.lines(2) == [b"second one)\r\n", b"b OK done\r\n"]
    assert client.line().startswith(b"* BYE [UNAVAILABLE] Server restarting")
    client.close()
    assert program.ends() == 0


def test_window_ends_without_a_word_inside_a_response(start: Starter, session: Opener) -> None:
    program = start('[timeouts]\ndrain = "500ms"\n')
    client, old = session(program)
    client.send(b"b FETCH 1 BODY[]\r\n")
    old.line()
    old.send(b"* 1 FETCH (BODY[] {22}\r\nfirst line\r\n")
    client.lines(2)
    program.signal(signal.SIGTERM)
    assert client.rest() == b""
    client.close()
    assert program.ends() == 0


@pytest.mark.parametrize("hurry", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]])
def test_fast_stop(start: Starter, session: Opener, hurry: list[signal.Signals]) -> None:
    program = start('[timeouts]\ndrain = "1h"\n')
    client, old = session(program)
    client.send(b"b FETCH 1 BODY[]\r\n")
    old.line()
    for number in hurry:
        program.signal(number)
        program.wait("server.draining")
    assert program.ends() == 0
    with contextlib.suppress(ssl.SSLError):
        assert client.rest() == b""
    assert program.lines("session.closed")[0]["reason"] == "shutdown"


def test_reload_changes_what_is_new_and_drops_nobody(
    start: Starter, session: Opener, closing: Closing, rig_pki: Pki, tmp_path: Path
) -> None:
    program = start()
    client, old = session(program)
    port = program.ports["imaps"]
    chain, key = rig_pki.pair(tmp_path, "new.example")
    text = program.config_file.read_text()
    text = text.replace(str(rig_pki.chain), str(chain)).replace(str(rig_pki.key), str(key))
    extra = '[[listener]]\nname = "more"\nprotocol = "pop3"\ntls = "starttls"\nbind = ["127.0.0.1:0"]\n'
    extra += "[limits]\nper_address = 2\n"
    program.config_file.write_text(text + extra)
    program.signal(signal.SIGHUP)
    program.wait("config.loaded", 2)
    assert program.wait("certificate.loaded", 2)[1]["names"] == ["new.example"]
    context = rig_pki.client_context()
    context.check_hostname = False
    second = closing(dial(port))
    second.secure(context)
    assert second.sock.getpeercert()["subjectAltName"] == (("DNS", "new.example"),)
    more = next(line for line in program.lines("listener.started") if line["listener"] == "more")
    third = closing(dial(int(more["address"].rpartition(":")[2])))
    assert third.line().startswith(b"-ERR [SYS/TEMP] Too many connections from your address (2)")
    client.send(b"b NOOP\r\n")
    assert old.line() == b"b NOOP\r\n"
    old.send(b"b OK\r\n")
    assert client.line() == b"b OK\r\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text, _: text + "\n[limits]\nper_adress = 3\n", "per_address"),
        (lambda text, _: text.replace("127.0.0.1:0", "192.0.2.77:1", 1), "192.0.2.77"),
        (lambda text, pki: text.replace(str(pki.key), str(pki.ca_file)), "key"),
        (lambda text, pki: text.replace(str(pki.chain), "/nowhere/chain.pem"), "/nowhere/chain.pem"),
        (lambda text, _: text + '\n[log]\nfile = "/nowhere/log"\n', "log.file"),
        (lambda _, __: "this is no toml", "tlsproxy.toml"),
    ],
)
def test_broken_reload_changes_nothing(
    start: Starter, session: Opener, rig_pki: Pki, change: Change, said: str, closing: Closing
) -> None:
    program = start()
    client, old = session(program)
    program.config_file.write_text(change(program.config_file.read_text(), rig_pki))
    program.signal(signal.SIGHUP)
    (rejected,) = program.wait("config.rejected")
    assert said in " ".join(rejected["mistakes"])
    assert rejected["level"] == "error"
    assert len(program.lines("config.loaded")) == 1
    assert not program.lines("listener.stopped")
    client.send(b"b NOOP\r\n")
    assert old.line() == b"b NOOP\r\n"
    fresh = closing(dial(program.ports["imap"]))
    assert fresh.line().startswith(b"* OK")


def test_renewed_certificate_is_taken_on_reload(start: Starter, closing: Closing, rig_pki: Pki, tmp_path: Path) -> None:
    chain, key = rig_pki.pair(tmp_path, "localhost")
    program = start(chain=chain, key=key)
    first = serial(program, rig_pki)
    (tmp_path / "again").mkdir()
    new_chain, new_key = rig_pki.pair(tmp_path / "again", "localhost")
    new_chain.replace(chain)
    new_key.replace(key)
    program.signal(signal.SIGHUP)
    program.wait("certificate.loaded", 2)
    assert serial(program, rig_pki) != first


def serial(program: Program, pki: Pki) -> str:
    raw = socket.create_connection(("127.0.0.1", program.ports["imaps"]))
    with pki.client_context().wrap_socket(raw, server_hostname="localhost") as tls:
        found: str = tls.getpeercert()["serialNumber"]
        return found


def test_log_file_is_opened_anew(start: Starter, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    program = start()
    program.config_file.write_text(program.config_file.read_text() + f'[log]\nfile = "{log}"\n')
    program.signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and b"config.loaded" in log.read_bytes())
    moved = log.rename(tmp_path / "mail.log.1")
    program.signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and b"config.loaded" in log.read_bytes())
    assert moved.read_bytes().count(b"config.loaded") == 1


def test_readiness(start: Starter, tmp_path: Path, rig_pki: Pki, backend: ScriptedBackend, closing: Closing) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        text = config_text(rig_pki, backend.address, QUICK)
        program = closing(Program(tmp_path, text, {"NOTIFY_SOCKET": str(tmp_path / "notify")}))
        assert systemd.recv(100) == b"READY=1"
        program.signal(signal.SIGHUP)
        assert systemd.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert systemd.recv(100) == b"READY=1"
        program.signal(signal.SIGTERM)
        assert systemd.recv(100) == b"STOPPING=1"
        assert program.ends() == 0
