"""How a session's story breaks off: the one exception of the server floor, reasons behind peers' endings, deadlines."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from tlsproxy.core.kinds import Side
from tlsproxy.core.outcome import Phase, Reason
from tlsproxy.net.endpoint import Ending, Endpoint
from tlsproxy.server.chronicle import Chronicle

_LINGER_S: Final = 1.0  # last words reach a client on a slow line; a client that never closes holds its place no longer


class SessionEndedError(Exception):
    """The session is over; raised by a phase, caught where the session ends."""

    def __init__(self, reason: Reason, *, is_told: bool = False) -> None:
        """Take the reason, and whether the client has had its last words already."""
        super().__init__(reason)
        self.reason = reason
        self.is_told = is_told


class Deadline:
    """One timer for a deadline that moves: to move it further away costs an assignment."""

    __slots__ = ("_late", "_reason", "_timer", "_until")

    def __init__(self, late: Callable[[Reason], None]) -> None:
        """None is set yet; ``late`` will be told the reason."""
        self._late = late
        self._reason: Reason | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether something must happen in time."""
        return self._reason is not None

    def move(self, until: float, reason: Reason) -> None:
        """Be late at ``until``, in the loop's seconds, and not when was said before."""
        self._until, self._reason = until, reason
        if self._timer is not None and self._timer.when() > until:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(until, self._look, until)

    def lift(self) -> None:
        """There is none for now; the timer stays for the next."""
        self._reason = None

    def close(self) -> None:
        """There is none any more, and nobody to be told."""
        self._reason = None
        self._late = _ignore
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, due: float) -> None:
        self._timer = None
        reason, self._reason = self._reason, None
        if reason is None:
            return
        if self._until > due:
            self.move(self._until, reason)
        else:
            self._late(reason)


async def part_from(client: Endpoint, words: bytes, chronicle: Chronicle) -> None:
    """Say last words, if there are any, and give them time to arrive; to be stopped meanwhile ends it.

    Args:
        client: Who is to hear them.
        words: Empty for a client that has had its last words, or must not have any.
        chronicle: Where a bug of ours is written down: a session must end whatever happens here.
    """
    try:
        if words:
            client.push(words)
        if chronicle.phase is not Phase.HANDSHAKE:
            await client.part(_LINGER_S)
    except asyncio.CancelledError:
        return  # stopped a second time: the session ends right behind this
    except Exception as error:  # noqa: BLE001 - a session ends here
        chronicle.broken(error)


def _ignore(_reason: Reason) -> None: ...


REASONS: Final[Mapping[tuple[Side, Ending], Reason]] = {
    (Side.CLIENT, Ending.CLOSED): Reason.CLIENT_CLOSED,
    (Side.CLIENT, Ending.RESET): Reason.CLIENT_RESET,
    (Side.CLIENT, Ending.TIMED_OUT): Reason.CLIENT_TIMED_OUT,
    (Side.CLIENT, Ending.TLS_BROKEN): Reason.CLIENT_TLS_BROKEN,
    (Side.CLIENT, Ending.INTERNAL): Reason.INTERNAL_ERROR,
    (Side.BACKEND, Ending.CLOSED): Reason.BACKEND_CLOSED,
    (Side.BACKEND, Ending.RESET): Reason.BACKEND_RESET,
    (Side.BACKEND, Ending.TIMED_OUT): Reason.BACKEND_TIMEOUT,
    (Side.BACKEND, Ending.TLS_BROKEN): Reason.BACKEND_TLS_FAILED,
    (Side.BACKEND, Ending.INTERNAL): Reason.INTERNAL_ERROR,
}
