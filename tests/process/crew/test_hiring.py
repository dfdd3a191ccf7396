"""How a worker's process is started: what it gets, and what it must not get."""

import os
import signal
import subprocess
import sys
from typing import Any, Final

import pytest

from tlsproxy.core.errors import CrewError
from tlsproxy.process.crew import hiring as room
from tlsproxy.process.crew.hiring import AdoptedProcess, hire, own_command
from tlsproxy.process.crew.identity import Identity

SYSTEMD: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
# Says over its line who it is, what it inherited, and what stands in its environment.
TELL: Final = """
import os, socket, sys
line = socket.socket(fileno=int(sys.argv[1]))
fds = sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))
ids = os.getuid(), os.getgid(), os.getgroups()
line.send(repr((sys.argv[1:], fds, dict(os.environ), *ids, sys.stdin.read())).encode())
"""


def told() -> Any:
    process, line = hire([sys.executable, "-c", TELL], None)
    with line:
        line.settimeout(20)
        heard = line.recv(65536)
    assert process.wait() == 0
    return eval(heard)  # noqa: S307 - our own program's words


def test_what_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SYSTEMD:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LANG", "kept")
    arguments, fds, environment, *ids, said = told()
    assert [int(number) for number in arguments] == [fd for fd in fds if fd > 2], "its end of the line, nothing else"
    assert said == "", "nobody speaks to it by standard input"
    assert not set(SYSTEMD) & set(environment), "systemd speaks to its own child alone"
    assert environment["LANG"] == "kept"
    assert ids == [os.getuid(), os.getgid(), os.getgroups()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_it_is() -> None:
    command = ["bash", "-c", 'echo $(id -u) $(id -g) $(id -G) >&"$0"']
    process, line = hire(command, Identity(user_id=65534, group_id=65533, group_ids=[65532]))
    with line:
        line.settimeout(20)
        assert line.recv(100) == b"65534 65533 65533 65532\n"
    assert process.wait() == 0


def test_program_that_is_missing() -> None:
    with pytest.raises(CrewError, match=r"no worker can be started: .*/nowhere/tlsproxy"):
        hire(["/nowhere/tlsproxy"], None)


def test_identity_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise subprocess.SubprocessError("Exception occurred in preexec_fn.")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(CrewError, match="no worker can be started"):
        hire(["true"], Identity(user_id=1, group_id=1, group_ids=[]))


def test_adopted() -> None:
    for command, status in ((["sh", "-c", "exit 3"], 3), (["sh", "-c", "kill -9 $$"], -signal.SIGKILL)):
        process = subprocess.Popen(command)
        adopted = AdoptedProcess(process.pid)
        assert adopted.pid == process.pid
        assert adopted.wait() == status
        process.returncode = 0  # it was waited for


@pytest.mark.parametrize(
    ("script", "is_safe", "has_option"),
    [
        ("/usr/bin/tlsproxy", False, True),
        ("/usr/lib/tlsproxy/__main__.py", False, False),
        ("/usr/lib/tlsproxy/__main__.py", True, True),
    ],
)
def test_own_command(monkeypatch: pytest.MonkeyPatch, script: str, is_safe: bool, has_option: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The current folder is searched for the program only if the program was found there."""
    monkeypatch.setattr(sys, "argv", [script, "run"])
    monkeypatch.setattr(sys, "warnoptions", ["error", "ignore::UserWarning"])
    monkeypatch.setattr(room.sys, "flags", Flags(is_safe))
    middle = ["-P"] if has_option else []
    warnings = ["-Werror", "-Wignore::UserWarning"]
    assert own_command() == [sys.executable, *middle, *warnings, "-m", "tlsproxy", "worker"]


class Flags:
    def __init__(self, safe_path: bool) -> None:  # noqa: FBT001 - as above
        self.safe_path = safe_path
