"""The real program looked at from outside: its processes, whom each of them serves, and that none is left behind."""

import os
import secrets
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final

import pytest

from rig.peers import Peer
from rig.program import Program, wait_until

_PROC: Final = Path("/proc")
BOTH: Final = pytest.mark.parametrize("loop", ["selector", "uvloop"], indirect=True)
"""For what may depend on the event loop; all else runs on one."""
PLAIN: Final = (sys.executable, "-m", "tlsproxy")


class Crewed(Program):
    """A program with worker processes; whoever of them outlives it fails the test."""

    def __init__(
        self,
        folder: Path,
        config: str,
        environment: dict[str, str] | None = None,
        command: Sequence[str | Path] = PLAIN,
    ) -> None:
        self._mark = f"RIG_MARK={secrets.token_hex(8)}"
        name, _, value = self._mark.partition("=")
        super().__init__(folder, config, {**(environment or {}), name: value}, command)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
            self.is_gone()
        finally:
            for pid in self.everybody():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @property
    def pid(self) -> int:
        return self.process.pid

    def everybody(self) -> list[int]:
        """The supervisor, its workers, and whatever else they started and is alive, whoever its parent is by now."""
        return sorted(pid for pid in _pids() if self._mark in environment_of(pid))

    def workers(self) -> list[int]:
        """The worker processes that the supervisor has, in order of their ids."""
        children = [int(pid) for pid in _read(self.pid, f"task/{self.pid}/children").split()]
        return sorted(pid for pid in children if b"worker" in _read(pid, "cmdline").split(b"\0"))

    def worker_of(self, client: Peer) -> int:
        """Who serves a client now."""
        return self.workers_of([client])[0]

    def workers_of(self, clients: Sequence[Peer]) -> list[int]:
        """Who serves each of the clients now."""
        found: list[int] = []

        def are_served() -> bool:
            inodes, owners = _inodes(), self._owners()
            found[:] = [owners.get(inodes.get(_ends_of(client.sock), ""), 0) for client in clients]
            return 0 not in found

        wait_until(are_served)
        return found

    def _owners(self) -> dict[str, int]:
        """Which worker has a socket, by its inode."""
        links = {link: pid for pid in self.workers() for link in _links(pid)}
        return {link.removeprefix("socket:[").rstrip("]"): pid for link, pid in links.items()}

    def is_gone(self) -> None:
        """Wait until no process of it is left."""
        wait_until(lambda: not self.everybody())

    def settled(self, count: int = 2) -> list[int]:
        """The workers, as soon as there are exactly so many."""
        wait_until(lambda: len(self.workers()) == count)
        return self.workers()


Starter = Callable[..., Crewed]
"""Start a program with two workers; parts of its configuration as keyword arguments."""
Opener = Callable[..., Peer]
"""Connect to a program, from an address if asked."""


class Piped(Crewed):
    """A program that writes to a pipe, as under Docker, which is read by small pieces."""

    def _output(self) -> IO[bytes]:
        reading, writing = os.pipe()
        self._reader = threading.Thread(target=self._read_on, args=(reading,))
        self._reader.start()
        return os.fdopen(writing, "wb")

    def _read_on(self, fd: int) -> None:
        with os.fdopen(fd, "rb", buffering=0) as pipe, self.log_file.open("wb", buffering=0) as log:
            while data := pipe.read(777):
                log.write(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._reader.join()


def works(client: Peer) -> None:
    client.send(b"n NOOP\r\n")
    assert client.line().startswith(b"n OK")


def environment_of(pid: int) -> list[str]:
    """``NAME=value`` as the process was started with."""
    return _read(pid, "environ").decode("utf-8", "replace").split("\0")


def status_of(pid: int, field: str) -> list[str]:
    """The words behind a field of /proc/PID/status."""
    lines = _read(pid, "status").decode().splitlines()
    return next((line.split()[1:] for line in lines if line.startswith(f"{field}:")), [])


def descriptors_of(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(_links(pid))


def script(folder: Path, *lines: str, name: str = "tlsproxy") -> Path:
    """The program as a script of its own, with something done before it starts."""
    path = folder / name
    text = [f"#!{sys.executable}", *lines, "from tlsproxy.__main__ import main", "main()", ""]
    fresh = folder / f"{name}.new"
    fresh.write_text("\n".join(text))
    fresh.chmod(fresh.stat().st_mode | stat.S_IXUSR)
    fresh.replace(path)
    return path


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except (OSError, ProcessLookupError):
        return b""  # it is gone, or nobody's business


def _links(pid: int) -> list[str]:
    found: list[str] = []
    with suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                found.append(str(entry.readlink()))
    return found


def _inodes() -> dict[tuple[str, str], str]:
    """The inode of each TCP socket of the machine, by its two ends."""
    rows = (line.split() for line in (_PROC / "net" / "tcp").read_text().splitlines()[1:])
    return {(row[1], row[2]): row[9] for row in rows}


def _ends_of(client: socket.socket) -> tuple[str, str]:
    """The ends of the other side of a connection, as the kernel writes them."""
    return _as_kernel_writes(client.getpeername()), _as_kernel_writes(client.getsockname())


def _as_kernel_writes(where: tuple[str, int]) -> str:
    host, port = where
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
