"""How a session's story breaks off: the one exception of the server floor, and the reasons behind peers' endings."""

import asyncio
from collections.abc import Mapping
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
