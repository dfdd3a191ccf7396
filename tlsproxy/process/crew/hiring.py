"""Starts a worker's process: the same program anew, so that its memory is clean, as the user it is to run as."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import socket
from typing import Final, Protocol

from tlsproxy.core.errors import CrewError
from tlsproxy.process import signals
from tlsproxy.process.crew.identity import Identity
from tlsproxy.process.line.channel import make_pair

# What systemd says to its own child and nobody else (sd_notify(3), sd_listen_fds(3)).
_NOT_PASSED_ON: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)


class Process(Protocol):
    """A child process; ``subprocess.Popen`` is one."""

    @property
    def pid(self) -> int:
        """Its id."""
        ...

    def wait(self) -> int:
        """Wait for its end; the exit code, or the negative number of the signal that ended it."""
        ...


class AdoptedProcess:
    """A child that this process started before it became another program by exec."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> int:
        """See Process."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def hire(command: Sequence[str], identity: Identity | None) -> tuple[Process, socket]:
    """Start a worker.

    Args:
        command: The program; the number of the descriptor of its end of the line is added to it.
        identity: Who it is to be; None for who we are.

    Returns:
        The process, and our end of its line.

    Raises:
        CrewError: It cannot be started.
    """
    ours, theirs = make_pair()
    with theirs, signals.held():  # whoever sends one to all of us must not hit a worker before it ignores them
        try:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                [*command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_environment(os.environ),
                user=identity.user_id if identity else None,
                group=identity.group_id if identity else None,
                extra_groups=identity.group_ids if identity else None,
            )
        except (OSError, subprocess.SubprocessError) as error:
            ours.close()
            raise CrewError(f"no worker can be started: {error}") from error
    return process, ours


def own_command() -> list[str]:
    """How this very program is started to be a worker.

    The interpreter is the one that runs, wherever links point by now; a folder that happens to be the current one is
    searched for the program only if it was found there to begin with.
    """
    is_module = Path(sys.argv[0]).name == "__main__.py"
    safe_path = [] if is_module and not sys.flags.safe_path else ["-P"]
    warnings = [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, *safe_path, *warnings, "-m", "tlsproxy", "worker"]


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in own.items() if name not in _NOT_PASSED_ON}
