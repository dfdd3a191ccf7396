"""What runs: the proxies under test, each with all its descendants, and the load generator.

Everything is started here, pinned to its cores, and ended by its own id.
"""

import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

_END_PATIENCE_S: Final = 10.0
_ORPHAN_PATIENCE_S: Final = 1.0
# Behind the result, a proxy may still write its log; that belongs to the connections that were counted.
_SETTLE_S: Final = 0.15
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER: Final = 36


class BenchError(Exception):
    """A measurement that does not count, with the reason as its text."""


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent has ended, so that a tree is not lost sight of."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Tree:
    """A program and all processes that descend from it; ended when left."""

    def __init__(
        self, command: Sequence[str], cores: Sequence[int], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start it.

        Args:
            command: Program and arguments; it must stay in the foreground.
            cores: The cores that it and its descendants may use.
            folder: Where it runs, and where its output goes.
            environment: Variables added to ours.
        """
        with (folder / "output").open("ab") as output:
            self._root = subprocess.Popen(
                pinned(command, cores),
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._output = folder / "output"

    def __enter__(self) -> Self:
        """Nothing more to do: it runs."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, however it went."""
        self.end()

    @property
    def pid(self) -> int:
        """Of the first process."""
        return self._root.pid

    def check(self) -> None:
        """See that it runs.

        Raises:
            BenchError: It has ended; the text holds its last words.
        """
        if self._root.poll() is not None:
            words = self._output.read_text(errors="replace").strip().splitlines()[-3:]
            raise BenchError(f"ended with {self._root.returncode}: {' | '.join(words)}")

    def members(self) -> list[int]:
        """Process ids: the first process, what descends from it, and what belongs to its session."""
        found = {self._root.pid}
        rest = {pid: (parent, session) for pid, parent, session in _all_processes()}
        while True:
            more = {pid for pid, (parent, session) in rest.items() if parent in found or session == self._root.pid}
            if more <= found:
                return sorted(found)
            found |= more

    def cpu_s(self) -> float:
        """CPU seconds that the tree has used, ended children of its processes included."""
        return sum(self.cpu_by_process_s().values())

    def cpu_by_process_s(self) -> dict[int, float]:
        """The same by process id.

        Raises:
            BenchError: The program has ended.
        """
        self.check()
        used = {}
        for pid in self.members():
            try:
                # The kernel's clock of a process, in nanoseconds; /proc counts in ticks of 10 ms.
                used[pid] = time.clock_gettime((~pid << 3) | 2) + _reaped_s(pid)
            except OSError:
                continue  # it has just ended; its parent's account has it
        return used

    def pss_bytes(self) -> int:
        """Memory of the tree: pages of its own in full, shared ones by their part."""
        total = 0
        for pid in self.members():
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        return total

    def end(self) -> None:
        """Ask it to stop, and make it; what it has left behind, too."""
        members = self.members()
        self._root.terminate()
        if _becomes_true(lambda: self._root.poll() is not None, _END_PATIENCE_S):
            _becomes_true(lambda: not _living(members), _ORPHAN_PATIENCE_S)
        for pid in _living(members):
            with suppress(ProcessLookupError):  # just ended
                os.kill(pid, signal.SIGKILL)
        self._root.wait()
        _becomes_true(lambda: not _living(members), _ORPHAN_PATIENCE_S)


class Load:
    """The load generator, which goes on when it is told to; see bench/native/loadgen.c."""

    def __init__(self, program: Path, arguments: Sequence[str], cores: Sequence[int]) -> None:
        """Start it; it prepares at once what its mode needs."""
        self._process = subprocess.Popen(
            pinned([str(program), *arguments, "--steps"], cores), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        """Wait until it is prepared."""
        self._read("ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it close its sessions, or after an error end it."""
        if kind is not None:
            self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Let it do what is to be measured."""
        self._tell()

    def result(self) -> dict[str, Any]:
        """What came of it, when it is done; its sessions are still open.

        Raises:
            BenchError: Connections failed or bytes were wrong.
        """
        result = self._read("result")
        if result["failed"]:
            raise BenchError(f"{result['failed']} failed, the first with: {result['first_error']}")
        return result

    def go(self) -> dict[str, Any]:
        """Begin, and wait for the result."""
        self.begin()
        return self.result()

    def _tell(self) -> None:
        pipe: IO[bytes] | None = self._process.stdin
        if pipe is not None:
            pipe.write(b"\n")
            pipe.flush()

    def _read(self, event: str) -> dict[str, Any]:
        pipe: IO[bytes] | None = self._process.stdout
        line = pipe.readline() if pipe is not None else b""
        found: dict[str, Any] = json.loads(line) if line else {"event": "nothing"}
        if found["event"] == event:
            return found
        self._process.kill()
        self._process.communicate()
        raise BenchError(f"the load generator said {line.decode().strip()!r} instead of {event}")


def pinned(command: Sequence[str], cores: Sequence[int]) -> list[str]:
    """The command, bound to cores."""
    return ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]


def settle() -> None:
    """Give a proxy the time to end what it still does for connections that are over."""
    time.sleep(_SETTLE_S)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def _becomes_true(is_true: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _living(pids: Sequence[int]) -> list[int]:
    """Those that still run; our own among the ended are waited for."""
    for pid in pids:
        with suppress(ChildProcessError):  # not ours, or not yet: an orphan becomes ours when its parent ends
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    return [pid for pid in pids if is_alive(pid)]


def _all_processes() -> Iterator[tuple[int, int, int]]:
    """Id, parent and session of every process."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = _stat(int(folder.name))
        except OSError:
            continue
        yield int(folder.name), int(fields[1]), int(fields[3])


def _reaped_s(pid: int) -> float:
    """CPU seconds of children that a process has waited for."""
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / _TICKS


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state, parent, group, session and so on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
