"""A real server kept in a private folder: started, waited for, stopped by its process id; knows no mail."""

import contextlib
import functools
import grp
import itertools
import os
import pwd
import random
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

# Below Linux's default range for outgoing connections (32768 and up), so that no client's own port takes one
# while a server restarts.
_PORTS: Final = range(15000, 31000)
_SHARES: Final = 8  # each of xdist's workers has ports of its own, and so a server's stay free while it is stopped
_START_DEADLINE_S: Final = 15.0
_STOP_DEADLINE_S: Final = 10.0
_RETRY_S: Final = 0.05


@functools.cache
def _deck() -> Iterator[int]:
    """This worker's ports in an order of its own, each of them once in a round."""
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    ports = list(_PORTS[share::_SHARES])
    random.SystemRandom().shuffle(ports)
    return itertools.cycle(ports)


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on, and that nobody else in this run will take."""
    for port in itertools.islice(_deck(), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


def reachable_folder(name: str) -> Path:
    """A new folder that every user can look into, for a server that serves as several."""
    path = Path(tempfile.mkdtemp(prefix=f"tlsproxy-{name}-"))
    path.chmod(0o755)
    return path


class Unprivileged:
    """Whom a server runs as: the user of the tests, or ``nobody`` where that is root, which mail servers refuse."""

    def __init__(self) -> None:
        self.is_root = os.geteuid() == 0
        entry = pwd.getpwnam("nobody") if self.is_root else pwd.getpwuid(os.geteuid())
        self.user = entry.pw_name
        self.uid = entry.pw_uid
        self.gid = entry.pw_gid
        self.group = grp.getgrgid(self.gid).gr_name

    def popen_options(self) -> dict[str, object]:
        """What makes subprocess change the user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_root else {}

    def folder(self, name: str) -> Path:
        """A new folder of its own that this user can reach, whatever pytest's own folders look like."""
        path = Path(tempfile.mkdtemp(prefix=f"tlsproxy-{name}-"))
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Hand a file or folder, with all below it, to this user."""
        for each in (path, *path.rglob("*")):
            if self.is_root and not each.is_symlink():
                os.chown(each, self.uid, self.gid)


class Daemon:
    """One server program and its listening ports."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        ports: Sequence[int],
        folder: Path,
        who: Unprivileged | None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            argv: The program and its arguments.
            ports: Those of 127.0.0.1 that it will listen on.
            folder: Where it keeps its data.
            who: Whom it runs as; None for whoever runs the tests.
            env: What it finds in its environment beside the usual.
        """
        self._argv = [str(arg) for arg in argv]
        self._ports = ports
        self._folder = folder
        self._who = who
        self._env = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program and wait until each of its ports takes connections."""
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(  # type: ignore[call-overload]  # options by dict
                self._argv,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **(self._who.popen_options() if self._who is not None else {}),
            )
        deadline = time.monotonic() + _START_DEADLINE_S
        for port in self._ports:
            self._wait_for(port, deadline)

    def _wait_for(self, port: int, deadline: float) -> None:
        assert self._process is not None
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            output = self.output()
            assert time.monotonic() < deadline, f"{self._argv[0]} does not listen on {port}: {output}"
            # The program has no other way to tell that it listens; its exit is noticed at once.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_RETRY_S)
                raise AssertionError(f"{self._argv[0]} ended: {self.output()}")

    def output(self) -> str:
        """What the program has said so far."""
        return (self._folder / "output").read_text("utf-8", "replace")

    def stop(self) -> None:
        """End the program and all that it has started; what does not listen to SIGTERM is killed.

        Dovecot's login processes outlive it with the connections that they have.
        """
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _end_group(self._process.pid)
        self._process = None

    def discard(self) -> None:
        """Stop at once, since its data goes too, and leave nothing behind."""
        if self._process is not None:
            _end_group(self._process.pid)
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)


def _end_group(leader: int) -> None:
    """Kill what is left of a program's process group, and wait until it is gone."""
    with contextlib.ExitStack() as stack:
        members = []
        for pid in _members(leader):
            with contextlib.suppress(ProcessLookupError):
                members.append(os.pidfd_open(pid))
                stack.callback(os.close, members[-1])
        # The leader led a group of its own, so its number is still theirs while one of them lives.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)
        for member in members:
            # A process descriptor is readable when the process has ended, and with it its sockets.
            select.select([member], [], [], _STOP_DEADLINE_S)


def _members(group: int) -> list[int]:
    """The processes of a group, by the fifth field of proc(5)'s stat, behind the name in brackets."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text("utf-8", "replace").rpartition(")")[2].split()[2]) == group:
                found.append(int(stat.parent.name))
    return found
