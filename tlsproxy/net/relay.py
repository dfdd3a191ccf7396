"""Two endpoints coupled: blind, both ways, no task and no buffer of its own; must not look at what it carries.

It keeps the last few bytes of either side: a goodbye may only be said between two responses, and a backend that closes
may have been asked to. Nothing else of the stream is kept.
"""

import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Final

from tlsproxy.core.kinds import Side
from tlsproxy.core.outcome import Reason
from tlsproxy.net.clocks.deadlines import Deadline
from tlsproxy.net.clocks.idle import IdleClock, IdleWatch
from tlsproxy.net.endpoint import Ending, Endpoint

ASKED_BYTES: Final = 8  # LOGOUT and its line end
TAIL_BYTES: Final = 160  # the last line of a response, with room for a chatty one
# After the client closed its side the backend finishes its answer (QUIT, then close, is common); it has this long
# for each next piece of it. Most servers close at once when they see the client's end.
_HALF_CLOSED_S: Final = 5.0


class RelayEnd(StrEnum):
    """Why a relay ended, apart from a peer's own ending."""

    IDLE = "idle"
    STOPPED = "stopped"


RelayEnding = tuple[Side, Ending] | RelayEnd
"""Which side ended it and how, or what else did."""


class Relay:
    """Carries bytes between a client and a backend until one of them ends it; lives by their callbacks alone."""

    __slots__ = (
        "_half_closed",
        "_idle",
        "_idle_clock",
        "_is_backend_closed",
        "_on_end",
        "_view",
        "asked",
        "backend",
        "client",
        "tail",
    )

    def __init__(self, client: Endpoint, backend: Endpoint, tail: bytes | None = None, asked: bytes = b"") -> None:
        self.client = client
        self.backend = backend
        self._view = client.plane.buffer
        self._on_end: Callable[[RelayEnding], None] | None = None
        self._idle_clock: IdleClock | None = None
        self._idle: IdleWatch | None = None
        self._half_closed: Deadline | None = None
        self._is_backend_closed = False
        self.asked = asked
        """The last bytes of the client."""
        self.tail = tail
        """The last bytes of the backend since the client last spoke; None while nothing was said since the login."""

    def start(self, idle_clock: IdleClock, idle_limit_s: float | None, on_end: Callable[[RelayEnding], None]) -> None:
        """Couple the endpoints.

        Args:
            idle_clock: The worker's clock.
            idle_limit_s: How long both sides may be silent; None for no limit.
            on_end: Called once, from the loop, when it is over and the endpoints are uncoupled. Whatever fits of the
                last bytes is still in the client's endpoint, to be flushed by ``part``.
        """
        client, backend = self.client, self.backend
        self._on_end = on_end
        client.sink, backend.sink = self._from_client, self._from_backend
        client.on_end, backend.on_end = self._client_ended, self._backend_ended
        client.on_drained, backend.on_drained = backend.resume, client.resume
        if idle_limit_s is not None:
            self._idle_clock, self._idle = idle_clock, idle_clock.watch(idle_limit_s, self)
        try:
            self._resume_both()
        except BaseException:
            self._on_end = None
            self._uncouple()
            raise

    def stop(self) -> None:
        """End the relay for a reason of ours."""
        self._finish(RelayEnd.STOPPED)

    def was_asked(self, command: bytes) -> bool:
        """Whether the client's last line, so far as it is kept, ends with a command; upper case."""
        return self.asked.rstrip().upper().endswith(command)

    # The hot path: no clock, no log, no await.

    def _from_client(self, size: int) -> None:
        self.tail = b""
        self.asked = bytes(self._view[max(size - ASKED_BYTES, 0) : size])
        if not self.backend.push(self._view[:size]):
            self.client.pause()

    def _from_backend(self, size: int) -> None:
        if size >= TAIL_BYTES:
            self.tail = bytes(self._view[size - TAIL_BYTES : size])
        else:
            self.tail = ((self.tail or b"") + bytes(self._view[:size]))[-TAIL_BYTES:]
        if not self.client.push(self._view[:size]):
            self.backend.pause()

    # Everything rare.

    def _resume_both(self) -> None:
        for source, sink in ((self.client, self.backend), (self.backend, self.client)):
            if not sink.unsent:
                source.resume()
        if self.backend.ending is not None:
            self._backend_ended(self.backend.ending)
        if self.client.ending is not None:
            self._client_ended(self.client.ending)

    def _client_ended(self, ending: Ending) -> None:
        if ending is not Ending.CLOSED:
            self._finish((Side.CLIENT, ending))
            return
        self._wait_for_backend(-1)
        if self.backend.unsent:
            self.backend.on_drained = self.backend.finish_writing
        else:
            self.backend.finish_writing()

    def _wait_for_backend(self, count_before: int) -> None:
        count = self.count()
        # A reader on a slow line takes longer than this for one chunk; the idle clock knows when it is dead.
        if count == count_before and not self.client.unsent:
            self._finish((Side.CLIENT, Ending.CLOSED))
            return
        if self._half_closed is not None:
            self._half_closed.close()
        self._half_closed = Deadline(self.client.plane.deadlines, lambda _reason: self._wait_for_backend(count))
        self._half_closed.move(time.monotonic() + _HALF_CLOSED_S, Reason.CLIENT_CLOSED)

    def _backend_ended(self, ending: Ending) -> None:
        is_late = ending is not Ending.CLOSED and self._is_backend_closed
        if is_late and self.client.unsent:
            return  # it had closed already; a command that came too late found it gone
        self._is_backend_closed = ending is Ending.CLOSED
        # Where the client closed first the backend only followed, however it did.
        is_client_first = self.client.ending is Ending.CLOSED and ending is not Ending.INTERNAL
        end = (Side.CLIENT, Ending.CLOSED) if is_client_first else (Side.BACKEND, ending)
        if self.client.unsent and ending is Ending.CLOSED:
            self.client.on_drained = lambda: self._finish(end)
        else:
            self._finish(end)

    def idled(self) -> None:
        """See Watched."""
        self._finish(RelayEnd.IDLE)

    def count(self) -> int:
        """All bytes in and out, for the idle clock."""
        client, backend = self.client, self.backend
        return client.bytes_in + client.bytes_out + backend.bytes_in + backend.bytes_out

    def _finish(self, end: RelayEnding) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            # Not at once: an endpoint's callback is under way, and what follows may close that endpoint.
            self.client.plane.soon(partial(self._conclude, on_end, end))

    def _conclude(self, on_end: Callable[[RelayEnding], None], end: RelayEnding) -> None:
        self._uncouple()
        on_end(end)

    def _uncouple(self) -> None:
        if self._half_closed is not None:
            self._half_closed.close()
            self._half_closed = None
        if self._idle_clock is not None and self._idle is not None:
            self._idle_clock.forget(self._idle)
            self._idle = None
        self.client.let_go()
        self.backend.let_go()
