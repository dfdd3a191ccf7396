"""The epoll plane: an asyncio selector that serves the data plane's descriptors itself.

asyncio takes any selector (documented: ``SelectorEventLoop(selector)``). This one calls watchers inline, straight
from one epoll, and returns to asyncio only for asyncio's own descriptors and timers, or when a watcher has given it
something to do. Nesting a second epoll in the loop instead was measured at 47 µs a round trip against 30.
"""

import asyncio
import math
import select
import selectors
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Final

from tlsproxy.net.clocks.deadlines import DeadlineClock
from tlsproxy.net.plane import BUFFER_BYTES, READ, WRITE, Watcher

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

_MAX_EVENTS: Final = 256


class EpollPlane(selectors.BaseSelector):
    """Selector for asyncio and Plane for the sessions, over one epoll."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        """See Plane."""
        self._watchers: dict[int, Watcher] = {}
        self._events: dict[int, int] = {}
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._soon: list[Callable[[], None]] = []
        self.deadlines = DeadlineClock()
        """See Plane."""
        self.is_asyncio_due = False
        """Whether asyncio was given something to do since it waits here."""

    # The plane.

    def watch(self, fd: int, watcher: Watcher, events: int) -> None:
        """See Plane."""
        old_events = self._events.get(fd, 0)
        if not events:
            if old_events:
                del self._watchers[fd], self._events[fd]
                self._epoll.unregister(fd)
            return
        if not old_events:
            self._epoll.register(fd, events)
        elif old_events != events:
            self._epoll.modify(fd, events)
        self._watchers[fd] = watcher
        self._events[fd] = events

    def soon(self, callback: Callable[[], None]) -> None:
        """See Plane."""
        self._soon.append(callback)

    # The selector.

    def register(self, fileobj: "FileDescriptorLike", events: int, data: object = None) -> selectors.SelectorKey:
        """See selectors.BaseSelector."""
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is already registered")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._epoll.register(fd, _to_epoll(events))
        self._keys[fd] = key
        return key

    def unregister(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        """See selectors.BaseSelector."""
        key = self._keys.pop(_descriptor(fileobj))
        try:
            self._epoll.unregister(key.fd)
        except OSError:  # closed before it was unregistered: epoll has forgotten it by itself
            return key
        return key

    def modify(self, fileobj: "FileDescriptorLike", events: int, data: object = None) -> selectors.SelectorKey:
        """See selectors.BaseSelector."""
        old = self._keys[_descriptor(fileobj)]
        key = selectors.SelectorKey(fileobj, old.fd, events, data)
        if old.events != events:
            self._epoll.modify(old.fd, _to_epoll(events))
        self._keys[old.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve watchers until asyncio is needed: its own descriptors, its timers, or what a watcher gave it to do."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        self.is_asyncio_due = False
        while True:
            if self._soon:
                self._do_what_waits()
                if self.is_asyncio_due:
                    timeout = 0
            # A millisecond is epoll's finest; poll rounds up, so that a timer is never looked at too early.
            events = self._epoll.poll(timeout, _MAX_EVENTS)
            found = self._dispatch(events)
            if not events or found or self.is_asyncio_due:
                return found
            if timeout is not None:
                timeout = deadline - time.monotonic()
                if timeout <= 0:
                    return found

    def _dispatch(self, events: list[tuple[int, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = []
        watchers = self._watchers
        for fd, bits in events:
            watcher = watchers.get(fd)
            if watcher is None:
                key = self._keys.get(fd)
                if key is not None:
                    found.append((key, _from_epoll(bits) & key.events))
                continue
            try:
                watcher.ready(bits)
            except Exception as error:  # noqa: BLE001 - a callback ends here; the session logs it
                watcher.broken(error)
        return found

    def _do_what_waits(self) -> None:
        for callback in self._soon:  # which grows meanwhile: what one asks for is not to wait for the next event
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - a callback ends here, as asyncio's own do
                context = {"message": f"Exception in callback {callback!r}", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
        self._soon.clear()

    def get_map(self) -> Mapping["FileDescriptorLike", selectors.SelectorKey]:
        """See selectors.BaseSelector; keyed by descriptor."""
        return self._keys  # type: ignore[return-value] # keyed by int, which is one of the accepted key types

    def get_key(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        """See selectors.BaseSelector; raises KeyError."""
        return self._keys[_descriptor(fileobj)]

    def close(self) -> None:
        """See selectors.BaseSelector."""
        self._epoll.close()
        self._keys.clear()
        self._watchers.clear()
        self._events.clear()


class PlaneLoop(asyncio.SelectorEventLoop):
    """asyncio's loop over an epoll plane, which it calls back when there is something for it to do."""

    def __init__(self, plane: EpollPlane) -> None:
        super().__init__(plane)
        self._plane = plane

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio."""
        self._plane.is_asyncio_due = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        self._plane.is_asyncio_due = True
        return super().call_at(when, callback, *args, context=context)


def _descriptor(fileobj: "FileDescriptorLike") -> int:
    return fileobj if isinstance(fileobj, int) else fileobj.fileno()


def _to_epoll(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)


def _from_epoll(bits: int) -> int:
    # A hang-up or an error is reported as both, as the standard library's own selector does.
    readable = selectors.EVENT_READ if bits & ~WRITE else 0
    return readable | (selectors.EVENT_WRITE if bits & ~READ else 0)
