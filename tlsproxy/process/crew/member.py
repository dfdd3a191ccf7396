"""One worker process as the supervisor sees it: its line, whether it answers, what it has not been sent yet."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from enum import Enum, auto
from socket import socket
from typing import Final

from tlsproxy.process.crew.hiring import Process
from tlsproxy.process.line import words
from tlsproxy.process.line.channel import DESCRIPTORS, Channel

_BATCH: Final = min(64, DESCRIPTORS)
# A worker that is busy with a burst of handshakes answers within a tenth of this; one that does not is given nobody
# new, and is not yet ended.
_SUSPECT_S: Final = 2.0
_START_S: Final = 30.0
# A process that ends by itself closes its line on the way; its exit code tells more than that we killed it.
_LAST_MOMENT_S: Final = 0.5


class Stage(Enum):
    """Where in its life a worker is."""

    STARTING = auto()
    SERVING = auto()
    LEAVING = auto()


class Member:
    """One worker process."""

    def __init__(
        self,
        number: int,
        process: Process,
        sock: socket,
        *,
        on_word: Callable[["Member", words.FromWorker], None],
        on_room: Callable[[], None],
        on_ended: Callable[["Member", int], None],
    ) -> None:
        """Know a process that was just started, or that a predecessor of this process has started.

        Args:
            number: The owner of its tickets.
            process: A child of ours.
            sock: Our end of its line.
            on_word: Hears what it says.
            on_room: Called when it may have room again.
            on_ended: Called once with the exit status (negative: the signal that ended it), after its last word.
        """
        self.number = number
        self.pid = process.pid
        self._process = process
        self.stage = Stage.STARTING
        self._on_word = on_word
        self._on_room = on_room
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        self._asked_at: float | None = None
        self._is_gone = False
        self._last_moment: asyncio.TimerHandle | None = None
        self._gone_by = self.since + _START_S
        self._entries: list[bytes] = []
        self._fds: list[int] = []
        self.channel = Channel(sock, self._heard, self._silent, on_clear=on_room)
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    @property
    def has_room(self) -> bool:
        """Whether it may be given another connection now."""
        is_there = self.stage is Stage.SERVING and not self._is_gone and self._last_moment is None
        if not is_there or len(self._fds) >= _BATCH or not self.channel.is_clear:
            return False
        return self._asked_at is None or self.silence_s < _SUSPECT_S

    @property
    def silence_s(self) -> float:
        """For how long it owes an answer."""
        return self._loop.time() - self._asked_at if self._asked_at is not None else 0.0

    def serve(self, entry: bytes, fd: int) -> None:
        """Give it a connection, with the next ``flush``; ``entry`` is what ``words.entry`` makes of it."""
        self._entries.append(entry)
        self._fds.append(fd)

    def flush(self) -> None:
        """Send the connections that were given to it."""
        if self._fds:
            entries, self._entries = self._entries, []
            fds, self._fds = self._fds, []
            self.channel.send(words.encode(words.Serve(entries=b"".join(entries))), fds)

    def say(self, word: words.ToWorker, fds: tuple[int, ...] = ()) -> None:
        """Say something to it, after all that was said before."""
        self.flush()
        self.channel.send(words.encode(word), fds)

    def answer(self, word: words.Spent) -> None:
        """Answer a question, unless it goes on asking and does not listen."""
        if self.channel.has_room:
            self.say(word)

    def ping(self) -> None:
        """Ask whether its loop turns, unless an answer is owed already."""
        if self._asked_at is None:
            self._asked_at = self._loop.time()
            self.say(words.Ping())

    @property
    def is_overdue(self) -> bool:
        """Whether it should have been ready, or gone, by now."""
        return self.stage is not Stage.SERVING and self._loop.time() >= self._gone_by

    def leave(self, word: words.Retire | words.Drain | words.Stop, within_s: float) -> None:
        """Tell it to leave within so many seconds, each time in a graver way."""
        self.stage = Stage.LEAVING
        self._gone_by = self._loop.time() + within_s
        self.say(word)

    def kill(self) -> None:
        """End it now."""
        if not self._is_gone:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def take_back(self) -> list[tuple[int, bytes, int]]:
        """The connections that it was given and has not been sent.

        Returns:
            Ticket number, session id and descriptor, which is the caller's, of each. Where they came in is known by
            the ticket alone: listeners may have other numbers by now.
        """
        self.flush()
        taken: list[tuple[int, bytes, int]] = []
        for message, fds in self.channel.take_back():
            word = words.decode(message)
            if isinstance(word, words.Serve):
                taken += ((*known, fd) for known, fd in zip(word.sessions(), fds, strict=True))
            else:
                for fd in fds:
                    os.close(fd)
        return taken

    def _heard(self, message: bytes, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)  # a worker has none to give
        try:
            word = words.decode(message)
            if not isinstance(word, words.FromWorker):
                raise ValueError("this is not a worker's to say")  # noqa: TRY004, TRY301 - to be treated as nonsense is
            self._on_word(self, word)
        except ValueError:
            self.kill()  # whatever it is by now, it is no worker of ours
            return
        if isinstance(word, words.Pong):
            self._asked_at = None
            self._on_room()

    def _silent(self) -> None:
        """Its end of the line is closed: it ends, or something went badly wrong; either way it is of no more use."""
        if self.stage is not Stage.LEAVING and not self._is_gone:
            self._last_moment = self._loop.call_later(_LAST_MOMENT_S, self.kill)

    def _ended(self) -> None:
        self._is_gone = True
        if self._last_moment is not None:
            self._last_moment.cancel()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.channel.read_rest()
        self._on_ended(self, self._process.wait())
        self.flush()
        self.channel.close()
