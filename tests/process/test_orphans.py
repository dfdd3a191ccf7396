"""The real program with two workers as a whole: how it ends, by whatever hand, and that no process is left behind."""

import contextlib
import os
import signal
import socket
from pathlib import Path

import orjson
import pytest
from rig.crewed import BOTH, Opener, Piped, Starter, environment_of, script
from rig.peers import dial
from rig.program import wait_until
from rig.visitors import Visitors


@BOTH
def test_supervisor_is_killed(crew: Starter, log_in: Opener, come_in: Opener) -> None:
    program = crew(timeouts='drain = "300ms"')
    clients = [log_in(program), log_in(program), come_in(program)]
    program.signal(signal.SIGKILL)
    for client in clients:
        assert client.line().startswith(b"* BYE [UNAVAILABLE] Server restarting"), "goodbyes are said all the same"
        assert client.rest() == b""
        client.close()
    assert program.ends() == -signal.SIGKILL
    program.is_gone()
    assert [line["reason"] for line in program.lines("session.closed")] == ["shutdown"] * 3
    with pytest.raises(ConnectionRefusedError):
        dial(program.ports["imap"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_the_whole_group(crew: Starter, log_in: Opener, number: signal.Signals) -> None:
    program = crew(timeouts='drain = "200ms"')
    clients = [log_in(program) for _ in range(3)]
    os.killpg(program.pid, number)
    assert program.ends() == 0
    program.is_gone()
    for client in clients:
        with contextlib.suppress(ConnectionError):
            assert number is signal.SIGINT or client.line().startswith(b"* BYE")
    assert [line["reason"] for line in program.lines("session.closed")] == ["shutdown"] * 3
    assert {line["cause"] for line in program.lines("worker.ended")} == {"exit code 0"}
    assert program.lines("server.stopped")[0]["sessions"] == 0


def test_drain_under_load(crew: Starter, log_in: Opener, come_in: Opener) -> None:
    program = crew(timeouts='drain = "500ms"')
    inside = [log_in(program) for _ in range(6)] + [come_in(program) for _ in range(6)]
    # Visitors are refused from some moment on.
    with contextlib.suppress(AssertionError), Visitors(program.ports["imap"]) as visitors:
        wait_until(lambda: visitors.count > 10)
        program.signal(signal.SIGTERM)
        assert program.ends() == 0
    for client in inside:
        assert client.line().startswith(b"* BYE [UNAVAILABLE] Server restarting")
        assert client.rest() == b""
    assert {"ConnectionRefusedError", "ConnectionResetError"} >= {
        failure.split()[1].partition("(")[0] for failure in visitors.failures
    }, "nobody was let in and forgotten"
    ends = [line for line in program.lines("session.closed") if line["reason"] == "shutdown"]
    assert len(ends) >= 12
    assert program.lines("server.stopped")[0]["sessions"] == 0


def test_stopped_worker_does_not_keep_the_program_from_ending(crew: Starter, come_in: Opener, tmp_path: Path) -> None:
    impatient = script(tmp_path, "import tlsproxy.process.crew.crew as crew", "crew._LEAVE_S = 0.5")
    program = crew(timeouts='drain = "0s"', command=[impatient])
    os.kill(program.worker_of(come_in(program)), signal.SIGSTOP)
    program.signal(signal.SIGTERM)
    assert program.ends() == 0
    program.is_gone()


def test_signs_of_life_for_systemd(crew: Starter, tmp_path: Path, come_in: Opener) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        program = crew(environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
        assert systemd.recv(100) == b"READY=1"
        assert [systemd.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        inside = come_in(program)
        for pid in program.workers():
            told = [name for name in environment_of(pid) if name.startswith(("NOTIFY_", "WATCHDOG_"))]
            assert not told, "a worker does not speak to systemd"
        os.kill(program.worker_of(inside), signal.SIGSTOP)
        assert [systemd.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        os.kill(program.worker_of(inside), signal.SIGCONT)
        program.signal(signal.SIGUSR2)
        program.wait("server.started", 2)  # although by now there is no room for more signs of life
        said = [systemd.recv(100)]
        while b"READY=1" not in said:
            said.append(systemd.recv(100))
        assert set(said) == {b"WATCHDOG=1", b"READY=1"}
        assert systemd.recv(100) == b"WATCHDOG=1", "the new version goes on with it"


def test_lines_stay_whole_in_a_pipe(crew: Starter) -> None:
    program = crew(kind=Piped)
    with Visitors(program.ports["imap"]) as visitors:
        wait_until(lambda: visitors.count > 1000)
    program.signal(signal.SIGTERM)
    assert program.ends() == 0
    program.is_gone()
    wait_until(lambda: len(program.lines("server.stopped")) == 1)
    sessions = [line["session"] for line in program.lines("session.closed")]
    assert len(sessions) == len(set(sessions)) == visitors.count


def test_lines_stay_whole_in_a_file(crew: Starter, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    program = crew()
    program.config_file.write_text(program.config_file.read_text() + f'[log]\nfile = "{log}"\n')
    program.signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and b"config.loaded" in log.read_bytes())
    with Visitors(program.ports["imap"]) as visitors:
        wait_until(lambda: visitors.count > 500)
        moved = log.rename(tmp_path / "mail.log.1")
        program.signal(signal.SIGHUP)
        wait_until(lambda: visitors.count > 1500)
    program.signal(signal.SIGTERM)
    assert program.ends() == 0
    lines = [orjson.loads(raw) for raw in (moved.read_bytes() + log.read_bytes()).splitlines()]
    sessions = [line["session"] for line in lines if line["event"] == "session.closed"]
    assert len(sessions) == len(set(sessions)) == visitors.count
