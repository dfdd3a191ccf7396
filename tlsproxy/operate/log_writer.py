"""The thread that writes log lines, so that a disk or pipe that is stuck never stops the event loop."""

import contextlib
import errno
import fcntl
import os
import select
import stat
import sys
from collections.abc import Callable
from threading import Condition, Event, RLock, Thread
from typing import Final

from tlsproxy.core.errors import ConfigError, Mistake

# Some 10 MB: minutes of a busy server, and yet bounded when nobody reads.
_LINES_LIMIT: Final = 10_000
# Waking the thread for each line costs the event loop four times what the line does: they fight for the interpreter.
_PACE_S: Final = 0.01
_FILE_MODE: Final = 0o640  # the administrator's group may read; names and addresses are nobody else's business
_STDOUT: Final = 1
_PIPE_BUF_BYTES: Final = select.PIPE_BUF  # what a pipe takes whole or not at all (pipe(7))


class LineWriter:
    """Takes lines at once and writes them when it can, within 10 ms; never blocks its caller.

    At most 10,000 lines are kept, those under way included. What comes on top, or cannot be written, is counted, and
    the count is written as a line of its own as soon as there is room.

    Several processes may write to the same target: each write holds whole lines. A regular file takes a write of any
    size whole; everything else (a pipe, a journal's socket) does so up to 4096 bytes. Only a single line that is longer
    may be torn there.
    """

    def __init__(self, fd: int, tell_dropped: Callable[[int], bytes]) -> None:
        """Start the thread.

        Args:
            fd: Where to write; owned by the writer from now on.
            tell_dropped: Makes the line that says how many lines are missing.
        """
        self._fd = fd
        self._is_file = _is_file(fd)
        self._tell_dropped = tell_dropped
        self._lock = RLock()
        """The condition's own; taken by itself, without the condition's methods in Python, it costs half."""
        self._condition = Condition(self._lock)
        self._waiting: list[bytes] = []
        self._under_way = 0
        self._dropped = 0
        self._next_fd: int | None = None
        self._stopping = Event()
        self._is_asleep = False
        self._is_failing = False
        self._has_complained = False
        self._is_mid_line = False
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def fd(self) -> int:
        """The descriptor of the next write; the writer closes it when ``use`` gives it another."""
        with self._condition:
            return self._fd if self._next_fd is None else self._next_fd

    def put(self, line: bytes) -> None:
        """Hand over one line, line end included; drop it if there is no room."""
        with self._lock:
            if len(self._waiting) + self._under_way >= _LINES_LIMIT:
                self._dropped += 1
                return
            self._waiting.append(line)
            if self._is_asleep:
                self._condition.notify()

    def use(self, fd: int) -> None:
        """Write to another descriptor from the next write on; the old one is closed."""
        with self._condition:
            superseded, self._next_fd = self._next_fd, fd
            self._condition.notify()
        if superseded is not None:
            os.close(superseded)

    def flush(self, within_s: float) -> bool:
        """Wait until what was handed over is written.

        Args:
            within_s: How long to wait for that, in seconds.

        Returns:
            Whether it is.
        """
        with self._condition:
            return self._condition.wait_for(lambda: not self._waiting and not self._under_way, within_s)

    def stop(self, within_s: float) -> bool:
        """Write what waits and end the thread.

        Args:
            within_s: How long to wait for that, in seconds.

        Returns:
            Whether everything was written; if not, the thread is left behind and dies with the process.
        """
        with self._condition:
            self._stopping.set()
            self._condition.notify()
        self._thread.join(within_s)
        return not self._thread.is_alive() and not self._dropped

    def _run(self) -> None:
        while self._wait():
            self._write(*self._take())
            self._stopping.wait(_PACE_S)
        os.close(self._fd)

    def _wait(self) -> bool:
        """Wait for something to do; False once everything is done and ``stop`` was called."""
        with self._condition:
            while not self._has_work() and not self._stopping.is_set():
                self._is_asleep = True
                self._condition.wait()
                self._is_asleep = False
            return self._has_work()

    def _take(self) -> tuple[list[bytes], int]:
        with self._condition:
            self._switch()
            lines, self._waiting = self._waiting, []
            dropped, self._dropped = self._dropped, 0
            self._under_way = len(lines)
            return lines, dropped

    def _has_work(self) -> bool:
        # After a failure the count waits for the next line: trying at once would turn in circles.
        return bool(self._waiting or self._next_fd is not None or (self._dropped and not self._is_failing))

    def _switch(self) -> None:
        if self._next_fd is not None:
            os.close(self._fd)
            self._fd, self._next_fd = self._next_fd, None
            self._is_file = _is_file(self._fd)
            self._is_failing = self._is_mid_line = self._has_complained = False

    def _write(self, lines: list[bytes], dropped: int) -> None:
        told = [self._tell_dropped(dropped)] if dropped else []
        text = b"\n" * self._is_mid_line + b"".join(lines + told)
        written, error = self._write_all(text)
        with self._condition:
            self._under_way = 0
            self._condition.notify_all()
            self._is_failing = error is not None
            if error:
                # The last line is not whole, so the count of the dropped, which comes last, has not got through.
                self._dropped += len(lines) - text.count(b"\n", self._is_mid_line, written) + dropped
            if written:
                self._is_mid_line = not text.endswith(b"\n", 0, written)
        if error:
            self._complain(error)

    def _write_all(self, text: bytes) -> tuple[int, OSError | None]:
        written = 0
        view = memoryview(text)
        while written < len(text):
            try:
                written += os.write(self._fd, view[written : self._end_of_write(text, written)])
            except BlockingIOError:  # a terminal or pipe that somebody else made non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
            except OSError as error:
                return written, error
        return written, None

    def _end_of_write(self, text: bytes, start: int) -> int:
        """Where a write ends that nobody else's can fall into: behind as many lines as the target takes together."""
        limit = start + _PIPE_BUF_BYTES
        if self._is_file or limit >= len(text):
            return len(text)
        end = text.rfind(b"\n", start, limit)
        return (end if end >= 0 else text.find(b"\n", limit)) + 1

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            if sys.stderr is None:  # started without one
                return
            with contextlib.suppress(OSError, ValueError):  # nothing is left to tell it to
                sys.stderr.write(f"tlsproxy: the log cannot be written: {error.strerror}; lines are being lost\n")
                sys.stderr.flush()


def open_log(path: str) -> int:
    """Open a log file to append to, or standard output.

    Args:
        path: The file, created where it is missing; empty for standard output.

    Returns:
        A descriptor of its own.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        if not path:
            return _standard_output()
        # Without O_NONBLOCK a FIFO that nobody reads would hold up the start for ever.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, _FILE_MODE)
    except OSError as error:
        hint = f"cannot be written ({error.strerror}); name a file that this user may append to, or leave it empty"
        raise ConfigError([Mistake(key="log.file", value=path, hint=hint)]) from error
    os.set_blocking(fd, True)
    return fd


def _is_file(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _standard_output() -> int:
    # What was closed at start is held by a descriptor that can only be read: see ``__main__``.
    if fcntl.fcntl(_STDOUT, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return os.dup(_STDOUT)
