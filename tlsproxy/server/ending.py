"""How a session's story breaks off: the one exception of the server floor, and the reasons behind peers' endings."""

from collections.abc import Mapping
from typing import Final

from tlsproxy.core.kinds import Side
from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Ending


class SessionEndedError(Exception):
    """The session is over; raised by a phase, caught where the session ends."""

    def __init__(self, reason: Reason, *, is_told: bool = False) -> None:
        """Take the reason, and whether the client has had its last words already."""
        super().__init__(reason)
        self.reason = reason
        self.is_told = is_told


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
