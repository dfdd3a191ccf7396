"""What one version leaves to the next, and how the next one shows first that it can start."""

import os
import socket
import subprocess
import sys
import textwrap
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import pytest

from tlsproxy import __version__
from tlsproxy.admission.base import Ticket
from tlsproxy.admission.table import AdmissionState
from tlsproxy.config.units import parse_bind
from tlsproxy.core.addresses import Peer
from tlsproxy.core.references import References
from tlsproxy.process import upgrade as room
from tlsproxy.process.upgrade import Handover, inherited, rehearse, started_command


@pytest.fixture(autouse=True)
def nothing_is_left_open(closing: Any) -> Any:
    """A descriptor that a test leaves behind fails it."""
    return closing


def ticket(number: int, ip: str, *, is_exempt: bool = False, is_stressed: bool = False) -> Ticket:
    peer = Peer(ip_address(ip), 40000 + number)
    return Ticket(
        id=number, peer=peer, listener="imaps", owner=number % 3, is_exempt=is_exempt, is_stressed=is_stressed
    )


TICKETS: Final = [
    ticket(1, "192.0.2.1"),
    ticket(5, "2001:db8::1", is_exempt=True),
    ticket(2**40, "198.51.100.7", is_stressed=True),
]
STATE: Final = AdmissionState(next_id=2**40 + 1, tickets=TICKETS, unauthenticated=frozenset({1, 2**40}))
REFERENCES: Final = References(start=2**48 - 1, factor=12345)


class FakeMember:
    """All of a member that is handed over."""

    def __init__(self, number: int, fd: int) -> None:
        self.number, self.pid, self.channel = number, 4000 + number, self
        self._fd = fd

    def fileno(self) -> int:
        return self._fd


def handover_of(closing: Any) -> Handover:
    sockets = [closing(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
    line, other = socket.socketpair()
    closing(line)
    closing(other)
    places = [
        ((parse_bind("127.0.0.1:993"), ""), sockets[0]),
        ((parse_bind("[::1]:0"), "imap"), sockets[1]),
        ((parse_bind("fd:pop3"), ""), sockets[2]),
    ]
    return Handover.of(places, [FakeMember(3, line.fileno())], STATE, REFERENCES)  # type: ignore[list-item] # a fake


def test_gathered(closing: Any) -> None:
    handover = handover_of(closing)
    assert handover.version == __version__
    (worker,) = handover.workers
    assert (worker.number, worker.pid) == (3, 4003)
    assert len({fd for _, fd in handover.listeners}) == 3


def test_it_arrives_whole(closing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the memory file, as the next program finds it; only the exec is left out."""
    given = handover_of(closing)
    passed: dict[str, str] = {}

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        assert (path, command) == ("/usr/bin/tlsproxy", ["/usr/bin/tlsproxy", "run"])
        passed.update(environment)
        passed[room._VARIABLE] = str(os.dup(int(environment[room._VARIABLE])))
        for fd in (*(fd for _, fd in given.listeners), *(worker.fd for worker in given.workers)):
            assert os.get_inheritable(fd)
        raise OSError(2, "made up")

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setenv("LANG", "kept")
    with pytest.raises(OSError, match="made up"):
        given.become(["/usr/bin/tlsproxy", "run"])
    found = inherited(passed)
    assert found == given
    assert room._VARIABLE not in passed, "its own children are no upgrades"
    assert passed["LANG"] == "kept"


def test_exec_that_fails_changes_nothing(closing: Any) -> None:
    handover = handover_of(closing)
    with pytest.raises(OSError, match="No such file"):
        handover.become(["/nowhere/tlsproxy"])
    assert not any(os.get_inheritable(fd) for _, fd in handover.listeners)


SUCCESSOR: Final = """
import os, signal, socket
from tlsproxy.process.signals import SIGNALS
from tlsproxy.process.upgrade import inherited
handover = inherited(os.environ)
for _, fd in handover.listeners:
    assert not os.get_inheritable(fd)
    with socket.socket(fileno=fd) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
assert set(SIGNALS) <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
assert inherited(os.environ) is None
print(os.getpid(), handover.admission.tickets == [], handover.references, len(handover.listeners))
"""
PREDECESSOR: Final = """
import os, socket, sys
from tlsproxy.admission.table import AdmissionState
from tlsproxy.config.units import parse_bind
from tlsproxy.core.references import References
from tlsproxy.process import signals
from tlsproxy.process.upgrade import Handover
signals.hold()
sock = socket.create_server(("127.0.0.1", 0))
state = AdmissionState(next_id=7, tickets=[], unauthenticated=frozenset())
place = parse_bind("127.0.0.1:0"), "imap"
print(os.getpid(), flush=True)
Handover.of([(place, sock)], [], state, References(start=5, factor=9)).become([sys.executable, "-c", sys.argv[1]])
"""


def test_the_process_is_the_same() -> None:
    command = [sys.executable, "-c", PREDECESSOR, SUCCESSOR]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    before, after = done.stdout.splitlines()
    assert after == f"{before} True {REFERENCES.__class__.__name__}(start=5, factor=9) 1"


def test_no_upgrade() -> None:
    assert inherited({}) is None


def script(folder: Path, body: str) -> list[str]:
    path = folder / "tlsproxy"
    path.write_text("#!/bin/sh\n" + textwrap.dedent(body))
    path.chmod(0o755)
    return [str(path), "run"]


def test_rehearsal(tmp_path: Path) -> None:
    command = script(tmp_path, f'[ "$*" = "run --rehearse {room.FORMAT}" ] || exit 1')
    assert rehearse(command, ()) == ""


def test_rehearsal_that_fails_says_why(tmp_path: Path) -> None:
    assert rehearse(script(tmp_path, "echo first; echo second >&2; cat; exit 2"), ()) == "first\nsecond"
    assert rehearse(script(tmp_path, "exit 7"), ()) == "the new version ended with exit code 7"
    assert rehearse(script(tmp_path, "kill -9 $$"), ()) == "the new version ended with exit code -9"


def test_rehearsal_that_says_much(tmp_path: Path) -> None:
    said = rehearse(script(tmp_path, "yes x | head -c 100000; printf '\\377'; exit 1"), ())
    assert len(said) == room._TOLD_CHARS
    assert said.endswith("\\xff")


def test_rehearsal_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_REHEARSAL_S", 0.1)
    assert rehearse(script(tmp_path, "exec sleep 60"), ()) == "the new version did not start within 0 s"


def test_rehearsal_of_a_program_that_is_missing() -> None:
    assert rehearse(["/nowhere/tlsproxy"], ()) == "/nowhere/tlsproxy: No such file or directory"


def test_started_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *_ = script(tmp_path, "")
    monkeypatch.setattr(sys, "argv", [program, "run", "-c", "x"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "tlsproxy", "run"])
    assert started_command() == [program, "run", "-c", "x"]
    by_module = [sys.executable, "-X", "dev", "-m", "tlsproxy", "run"]
    for other in ("tlsproxy", "/nowhere/tlsproxy", __file__):
        monkeypatch.setattr(sys, "argv", [other, "run"])
        assert started_command() == by_module
