"""One end of a line: whole messages in order, descriptors with them; must not know their sense.

SOCK_SEQPACKET keeps messages whole and tells the other side's end; SCM_RIGHTS carries descriptors (unix(7)).
"""

import asyncio
import contextlib
import errno
import os
import socket
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from tlsproxy.net.plane import READ, WRITE, Plane

MESSAGE_BYTES: Final = 64 * 1024
DESCRIPTORS: Final = 128  # of the 253 that the kernel takes with one message (SCM_MAX_FD)
_ROOM_FOR_DESCRIPTORS: Final = socket.CMSG_LEN(DESCRIPTORS * array("i").itemsize)
# The kernel doubles it. Small, so that a worker that is stuck is noticed before a thousand clients wait for it.
_SEND_BUFFER_BYTES: Final = 16 * 1024
_MOST_WAITING: Final = 4096  # half a megabyte of questions or answers; whatever has to be said has no bound here
_MESSAGES_AT_ONCE: Final = 16  # whoever talks much must not keep the loop from the others
# More descriptors are under way than this process may have open, or the kernel is short of memory (unix(7)); nothing
# tells when there is room again.
_SHORTAGES: Final = frozenset({errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM})
_RETRY_S: Final = 0.02

OnMessage = Callable[[bytes, list[int]], None]


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a line; neither is passed on by exec."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return ours, theirs


class Channel:
    """One end of a line, on the running loop."""

    def __init__(
        self,
        sock: socket.socket,
        on_message: OnMessage,
        on_closed: Callable[[], None],
        on_clear: Callable[[], None] = lambda: None,
        plane: Plane | None = None,
    ) -> None:
        """Listen at once.

        Args:
            sock: This end; owned by the channel from now on.
            on_message: Takes a message and its descriptors, which are its own from then on.
            on_closed: Called once when the other side has gone; messages that it sent before have been taken.
            on_clear: Called when everything that had to wait for room has gone.
            plane: Who watches it; without one the loop does, at a turn for each message.
        """
        self._sock = sock
        self._fd = sock.fileno()
        self._on_message = on_message
        self._on_closed = on_closed
        self._on_clear = on_clear
        self._plane = plane
        self._watched = 0
        self._waiting: deque[tuple[bytes, Sequence[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._is_open = True
        self._is_over = False
        self._is_cleared = asyncio.Event()
        self._is_cleared.set()
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._watch(READ)

    @property
    def is_clear(self) -> bool:
        """Whether the other side has taken, or the kernel keeps for it, all that was sent."""
        return not self._waiting

    @property
    def has_room(self) -> bool:
        """Whether a message that can be done without may still be kept here."""
        return len(self._waiting) < _MOST_WAITING

    def fileno(self) -> int:
        """The descriptor, for a successor of this process."""
        return self._fd

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send, or keep until there is room; the descriptors are closed here as soon as they have gone."""
        if self._waiting or not self._try(message, fds):
            self._waiting.append((message, fds))
            self._is_cleared.clear()

    async def cleared(self) -> None:
        """Wait until everything that had to wait for room has gone."""
        await self._is_cleared.wait()

    def take_back(self) -> list[tuple[bytes, Sequence[int]]]:
        """What the other side will never get; the descriptors are the caller's."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self._is_cleared.set()
        return waiting

    def close(self) -> None:
        """Hear and say no more."""
        if self._is_open:
            self._is_open = False
            self._stop_writing()
            self._watch(0)
            for _, fds in self.take_back():
                _close_all(fds)
            self._sock.close()

    def read_rest(self) -> None:
        """Take whatever is there, as when the other side is known to have ended."""
        while self._is_open and self._read_one():
            pass

    def _try(self, message: bytes, fds: Sequence[int]) -> bool:
        """Send now; False if there is no room, or nobody to take it."""
        try:
            if fds:
                self._sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))])
            else:
                self._sock.send(message)
        except BlockingIOError:
            self._watch(self._watched | WRITE)
            return False
        except ConnectionError:
            return False  # the other side has gone, as the reader is about to find out: this is for ``take_back``
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise  # a mistake of ours
            self._retry = self._retry or self._loop.call_later(_RETRY_S, self._flush)
            return False
        _close_all(fds)
        return True

    def _flush(self) -> None:
        self._stop_writing()
        while self._waiting and self._try(*self._waiting[0]):
            self._waiting.popleft()
        if not self._waiting:
            self._is_cleared.set()
            self._on_clear()

    def _stop_writing(self) -> None:
        self._watch(self._watched & ~WRITE)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def ready(self, events: int) -> None:
        """See Watcher."""
        if events & WRITE:
            self._flush()
        if events & ~WRITE and self._is_open:
            self._read_one()  # the plane comes again if there is more, which costs less than to ask

    def broken(self, error: Exception) -> None:
        """See Watcher: what whoever is called raises ends nothing here, as in the loop's own callbacks."""
        context = {"message": "Exception at a line", "exception": error}
        self._loop.call_exception_handler(context)

    def _watch(self, events: int) -> None:
        old, self._watched = self._watched, events
        if events == old:
            return
        if self._plane is not None:
            self._plane.watch(self._fd, self, events)
            return
        for bit, start, stop, act in (
            (READ, self._loop.add_reader, self._loop.remove_reader, self._read),
            (WRITE, self._loop.add_writer, self._loop.remove_writer, self._flush),
        ):
            if events & ~old & bit:
                start(self._fd, act)
            if old & ~events & bit:
                stop(self._fd)

    def _read(self) -> None:
        for _ in range(_MESSAGES_AT_ONCE):
            if not (self._is_open and self._read_one()):
                return

    def _read_one(self) -> bool:
        try:
            message, fds = receive(self._sock)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # It left something of ours unread. What it said before is still to be had, and all of it now: uvloop does
            # not look again at a descriptor that had an error.
            self.read_rest()
            return False
        if message:
            self._on_message(message, fds)
            return True
        if not self._is_over:
            self._is_over = True
            self._watch(self._watched & ~READ)
            self._on_closed()
        return False


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Take one message.

    Args:
        sock: One end of a line.

    Returns:
        The message, empty when the other side has gone, and the descriptors that came with it: fewer than were sent
        if this process has no room for them.

    Raises:
        OSError: Nothing is there, or the line is broken.
    """
    message, control, _, _ = sock.recvmsg(MESSAGE_BYTES, _ROOM_FOR_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    if not control:
        return message, []
    rights = array("i")
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            rights.frombytes(data[: len(data) - len(data) % rights.itemsize])
    return message, rights.tolist()


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
