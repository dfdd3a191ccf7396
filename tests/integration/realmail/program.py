"""The proxy as an administrator starts it: ``python -m tlsproxy run -c FILE``, its output read as it comes.

Everything the program says on both outputs is kept, so that a test can search it for what must not be there.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

Line = dict[str, Any]

_START_DEADLINE_S: Final = 20.0
_DEADLINE_S: Final = 20.0
_STOP_DEADLINE_S: Final = 45.0
_NOT_QUIET: Final = frozenset({"error", "critical"})


class Program:
    """One running tlsproxy."""

    def __init__(self, config: str, folder: Path) -> None:
        self._file = folder / "tlsproxy.toml"
        self._file.write_text(config)
        self._grown = threading.Condition()
        self._lines: list[Line] = []
        self._output: list[bytes] = []
        self._errors: list[bytes] = []
        self._is_told_to_stop = False
        self._is_silent = False
        """Whether standard output has ended, and with it the program."""
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self.ports: Mapping[str, int] = {}

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> bytes:
        """Everything said so far, on standard output and standard error."""
        return b"".join((*self._output, *self._errors))

    @property
    def complaints(self) -> bytes:
        """What went to standard error: a traceback, a warning of the interpreter; nothing if all is well."""
        return b"".join(self._errors)

    def start(self) -> None:
        """Start, and wait until all listeners are open."""
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tlsproxy", "run", "-c", self._file],
            cwd=self._file.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith("TLSPROXY_")},
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._read(self._process.stdout, self._output, self._take)
        self._read(self._process.stderr, self._errors, lambda _line: None)
        self.wait_for("server.started", deadline_s=_START_DEADLINE_S)
        started = self.events("listener.started")
        self.ports = {line["listener"]: int(line["address"].rpartition(":")[2]) for line in started}

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Edit the configuration file as an administrator would, for the next reload."""
        self._file.write_text(change(self._file.read_text()))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process is not None
        self._is_told_to_stop |= number == signal.SIGTERM
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask for an orderly end.

        Returns:
            The exit code.
        """
        assert self._process is not None
        if not self._is_told_to_stop:
            self.signal(signal.SIGTERM)
        return self._ended()

    def discard(self) -> None:
        """End at once if it still runs."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        self._ended()

    def mark(self) -> int:
        """A point in the log, for ``since``."""
        return len(self._lines)

    def events(self, event: str, since: int = 0) -> list[Line]:
        """The log lines of one event after a mark, oldest first."""
        return [line for line in self._lines[since:] if line["event"] == event]

    def wait_for(self, event: str, count: int = 1, since: int = 0, deadline_s: float = _DEADLINE_S) -> list[Line]:
        """Wait until an event was logged a number of times.

        Returns:
            All lines of that event after the mark; more than ``count`` if there are more.
        """

        def is_there() -> bool:
            return len(self.events(event, since)) >= count or self._is_silent

        with self._grown:
            self._grown.wait_for(is_there, deadline_s)
        found = self.events(event, since)
        said = self.output.decode("utf-8", "replace")[-6000:]
        assert len(found) >= count, f"{event} came {len(found)} times, not {count}, in {deadline_s} s; said:\n{said}"
        return found

    def specimens(self) -> list[Line]:
        """One log line of each shape: the same event, reason and empty fields."""

        def shape(line: Line) -> tuple[object, ...]:
            return line["event"], line.get("reason"), frozenset(key for key, value in line.items() if value is None)

        return list({shape(line): line for line in self._lines}.values())

    def faults(self) -> list[Line]:
        """Log lines that tell of a bug."""
        return [line for line in self._lines if line["level"] in _NOT_QUIET and line["event"] != "config.rejected"]

    def _ended(self) -> int:
        assert self._process is not None
        deadline = time.monotonic() + _STOP_DEADLINE_S
        code = self._process.wait(_STOP_DEADLINE_S)
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        return code

    def _read(self, pipe: IO[bytes], kept: list[bytes], take: Any) -> None:
        def read() -> None:
            for raw in pipe:
                kept.append(raw)
                take(raw)
            with self._grown:
                self._is_silent = kept is self._output or self._is_silent
                self._grown.notify_all()

        thread = threading.Thread(target=read, daemon=True)
        self._readers.append(thread)
        thread.start()

    def _take(self, raw: bytes) -> None:
        line = json.loads(raw)
        with self._grown:
            self._lines.append(line)
            self._grown.notify_all()
