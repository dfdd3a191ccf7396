"""The data plane under the sessions: descriptors watched, one shared buffer; knows neither TLS nor mail.

Two planes do the same: ``LoopPlane`` on any asyncio loop's ``add_reader``/``add_writer`` (and so on uvloop), and
``net.selector.EpollPlane``, which is the selector of its own asyncio loop and calls watchers straight from epoll.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Final, Protocol

from tlsproxy.net.clocks.deadlines import DeadlineClock

# The numbers of EPOLLIN and EPOLLOUT, so that the epoll plane passes its events on untouched.
READ: Final = 1
WRITE: Final = 4

# 256 KiB: measured 10 % faster for downloads than 64 KiB; one for the whole process, not one a connection.
BUFFER_BYTES: Final = 256 * 1024


class Watcher(Protocol):
    """Whoever is called when a descriptor is ready."""

    def ready(self, events: int) -> None:
        """Act on READ, WRITE or both; any other bit is an error that the next read or write will name."""
        ...

    def broken(self, error: Exception) -> None:
        """``ready`` raised: a bug of ours that must end this connection and no other."""
        ...


class Plane(Protocol):
    """Watches descriptors for their watchers."""

    @property
    def buffer(self) -> memoryview:
        """The shared buffer; what a read puts there is consumed before the watcher returns."""
        ...

    def watch(self, fd: int, watcher: Watcher, events: int) -> None:
        """Call ``watcher.ready`` when one of the events is there, level-triggered; 0 stops watching.

        A descriptor that wants nothing is not watched at all: epoll would report its hang-up without end.
        """
        ...

    @property
    def deadlines(self) -> DeadlineClock:
        """The clock of whoever is watched here."""
        ...

    def soon(self, callback: Callable[[], None]) -> None:
        """Call it when the watchers of this batch of events have been called, which costs no turn of the loop."""
        ...


class LoopPlane:
    """A plane on an asyncio loop's own readers and writers."""

    __slots__ = ("_loop", "_watched", "buffer", "deadlines")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        """See Plane."""
        self._watched: dict[int, tuple[Watcher, int]] = {}
        self.deadlines = DeadlineClock()
        """See Plane."""

    def watch(self, fd: int, watcher: Watcher, events: int) -> None:
        """See Plane."""
        old_watcher, old_events = self._watched.pop(fd, (None, 0))
        if old_watcher is not watcher:
            self._drop(fd, old_events)
            old_events = 0
        self._drop(fd, old_events & ~events)
        if events & ~old_events & READ:
            self._loop.add_reader(fd, self._call, fd, watcher, READ)
        if events & ~old_events & WRITE:
            self._loop.add_writer(fd, self._call, fd, watcher, WRITE)
        if events:
            self._watched[fd] = (watcher, events)

    def soon(self, callback: Callable[[], None]) -> None:
        """See Plane."""
        self._loop.call_soon(callback)

    def _call(self, fd: int, watcher: Watcher, events: int) -> None:
        try:
            watcher.ready(events)
            if _has_error(fd) and self._watched.get(fd, (None, 0))[0] is watcher:
                # uvloop calls once for a descriptor in error and then never again; one that has data left, or only
                # now the error, must be called until it sees it.
                self._loop.call_soon(self._call_again, fd, watcher, events)
        except Exception as error:  # noqa: BLE001 - a callback ends here; the session logs it
            watcher.broken(error)

    def _call_again(self, fd: int, watcher: Watcher, events: int) -> None:
        if self._watched.get(fd, (None, 0))[0] is watcher:
            self._call(fd, watcher, events)

    def _drop(self, fd: int, events: int) -> None:
        if events & READ:
            self._loop.remove_reader(fd)
        if events & WRITE:
            self._loop.remove_writer(fd)


def _has_error(fd: int) -> bool:
    try:
        poll = select.poll()
        poll.register(fd, 0)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return False  # closed meanwhile


class Rest(Protocol):
    """How whoever runs a coroutine lets it wait and go on: a task's way is ``Nap``, another is ``net.strand``."""

    async def rest(self) -> None:
        """Wait for the next ``wake``."""
        ...

    def wake(self) -> None:
        """Let who rests go on; nothing if nobody does."""
        ...


class Nap:
    """The rest of a task."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    async def rest(self) -> None:
        """See Rest."""
        self._future = asyncio.get_running_loop().create_future()
        await self._future

    def wake(self) -> None:
        """See Rest."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class Waiter:
    """Lets a coroutine wait for a descriptor, more than once; in between it stays watched, which saves two calls."""

    __slots__ = ("_error", "_fd", "_is_waiting", "_rest", "plane", "watched")

    def __init__(self, plane: Plane, fd: int, rest: Rest) -> None:
        self.plane = plane
        self._fd = fd
        self._rest = rest
        self._is_waiting = False
        self._error: Exception | None = None
        self.watched = 0
        """The events that it is still watched for."""

    async def wait(self, events: int) -> None:
        """Wait until the descriptor is ready for one of the events, or in error."""
        self._is_waiting = True
        self._watch(events)
        try:
            while self._is_waiting:
                await self._rest.rest()
        except BaseException:
            self.close()
            raise
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop watching."""
        self._is_waiting = False
        self._watch(0)

    def ready(self, _events: int) -> None:
        """See Watcher."""
        if self._is_waiting:
            self._is_waiting = False
            self._rest.wake()
        else:
            self.close()  # nobody waits, so that it would be reported without end

    def broken(self, error: Exception) -> None:
        """See Watcher."""
        if self._is_waiting:
            self._error = error
            self._is_waiting = False
            self._rest.wake()

    def _watch(self, events: int) -> None:
        if events != self.watched:
            self.watched = events
            self.plane.watch(self._fd, self, events)


async def ready_for(plane: Plane, fd: int, events: int) -> None:
    """Have a task wait until the descriptor is ready for one of the events, or in error."""
    waiter = Waiter(plane, fd, Nap())
    await waiter.wait(events)
    waiter.close()
