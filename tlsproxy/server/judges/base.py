"""What a judge of passwords is to those who ask; must not know how it judges."""

from enum import StrEnum
from typing import Final, Protocol

WRONG_AFTER_S: Final = 2.0
"""A wrong password is answered no earlier than this after it was given.

So the time of the answer does not tell whether the user exists, and a guesser waits. It is what Dovecot waits, too;
whoever talks to the client counts it from the password on, not from the verdict.
"""


class Verdict(StrEnum):
    """What is known of a password."""

    OK = "ok"
    WRONG = "wrong"
    UNAVAILABLE = "unavailable"
    """Nobody can tell now; never to be said as if the password were wrong, nor counted as a failure."""


class PasswordJudge(Protocol):
    """Somebody who knows whether a user has a password."""

    async def judge(self, user: bytes, password: bytes, client_key: bytes) -> Verdict:
        """Judge, within a deadline of the judge's own; never raises what a backend does.

        Args:
            user: As the client sent it.
            password: Same; not kept after the verdict.
            client_key: ``Peer.key``, for the backend's health.
        """
        ...
