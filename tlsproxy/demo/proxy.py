"""The proxy as an administrator runs it: a configuration file, ``python -m tlsproxy run``, and its log."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tlsproxy.core.events import Event
from tlsproxy.demo.dialogue import StepError
from tlsproxy.operate.log_render import console_line

# Python starts, imports and reads the certificate in about half a second; a busy machine takes its time.
_START_LIMIT_S: Final = 30.0
_LOG_LIMIT_S: Final = 10.0
# SIGINT ends tlsproxy at once; what still runs then is ended hard.
_STOP_LIMIT_S: Final = 5.0
# The walk writes some fifty lines; what is older has been shown.
_KEPT_LINES: Final = 1000
_OVERRIDE_PREFIX: Final = "TLSPROXY__"


class ProxyStartError(Exception):
    """The proxy did not come up; the text is what it said."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the proxy's output."""

    text: str
    fields: Mapping[str, object]
    """Empty if the line is no JSON object, such as a traceback's."""

    @property
    def event(self) -> object:
        """The event's name."""
        return self.fields.get("event")

    def for_people(self, *, is_coloured: bool) -> str:
        """The line in the log's console format; as it stands if it is no log line."""
        if not {"ts", "level", "event"} <= self.fields.keys():
            return self.text
        return console_line(self.fields, is_coloured=is_coloured).decode().rstrip()


class ProxyProcess:
    """``python -m tlsproxy run -c FILE`` and what it writes; a context manager that ends it."""

    def __init__(self, config_file: Path) -> None:
        self._config_file = config_file
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread(target=self._read, name="proxy log")
        self._changed = threading.Condition()
        self._lines: list[LogLine] = []
        self._taken = 0
        self._is_ended = False
        self._on_line: Callable[[LogLine], None] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it serves.

        Raises:
            ProxyStartError: It ended, or does not say that it serves.
        """
        command = [sys.executable, "-m", "tlsproxy", "run", "-c", str(self._config_file)]
        # The file shown on the screen is the whole configuration, so nothing may override it.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_OVERRIDE_PREFIX)}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
            )
            self._reader.start()
            self.wait_for(lambda line: line.event == Event.SERVER_STARTED, limit_s=_START_LIMIT_S)
        except StepError as error:
            self._stop()
            raise ProxyStartError("\n".join(line.text for line in self._lines) or str(error)) from error
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it at once with SIGINT; without mercy if that does not help."""
        self._stop()

    def wait_for(self, is_it: Callable[[LogLine], bool], *, limit_s: float = _LOG_LIMIT_S) -> LogLine:
        """The first line that is it, written already or to come.

        Raises:
            StepError: It does not come in time, or the proxy ended.
        """
        deadline = time.monotonic() + limit_s
        with self._changed:
            while True:
                found = next((line for line in self._lines if is_it(line)), None)
                if found:
                    return found
                if self._is_ended or not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise StepError("the proxy ended" if self._is_ended else "the log line did not come")

    def take_new(self) -> list[LogLine]:
        """The lines that were not taken before."""
        with self._changed:
            new, self._taken = self._lines[self._taken :], len(self._lines)
        return new

    def lines(self) -> list[LogLine]:
        """Everything that is remembered."""
        with self._changed:
            return list(self._lines)

    def follow(self, on_line: Callable[[LogLine], None]) -> int:
        """Hand on what was not taken yet and each new line, from another thread, until the proxy ends.

        Returns:
            The proxy's exit code.
        """
        with self._changed:
            for line in self.take_new():
                on_line(line)
            self._on_line = on_line
        if not self._process:
            return 0
        _wait_for_end_or_signal(self._process.pid)
        return self._process.wait()

    def _read(self) -> None:
        """The thread that reads the log."""
        output = self._process.stdout if self._process else None
        for raw in output or ():
            line = _log_line(raw)
            with self._changed:
                if self._on_line:
                    self._on_line(line)
                elif len(self._lines) < _KEPT_LINES:
                    self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader.is_alive():
            self._reader.join()
        if process.stdout:
            process.stdout.close()


def _wait_for_end_or_signal(pid: int) -> None:
    """Until a child ends or a signal with a handler of ours arrives.

    ``waitpid`` would sleep on if the signal came between Python's last look and the system call; a byte in a pipe is
    still there afterwards.
    """
    hearing, saying = socket.socketpair()
    with hearing, saying, os.fdopen(os.pidfd_open(pid), "rb", buffering=0) as child:
        saying.setblocking(False)  # noqa: FBT003 - as set_wakeup_fd asks
        before = signal.set_wakeup_fd(saying.fileno(), warn_on_full_buffer=False)
        try:
            select.select([child.fileno(), hearing.fileno()], [], [])
        finally:
            signal.set_wakeup_fd(before)


def _log_line(raw: bytes) -> LogLine:
    text = raw.decode("utf-8", "replace").rstrip()
    with suppress(ValueError):
        fields = json.loads(text)
        if isinstance(fields, dict):
            return LogLine(text, fields)
    return LogLine(text, {})
