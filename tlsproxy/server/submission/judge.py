"""What a judge of passwords is to an SMTP session."""

from enum import StrEnum
from typing import Final, Protocol

WRONG_PASSWORD_S: Final = 2.0


class Verdict(StrEnum):
    """What is said of a user name and a password."""

    OK = "ok"
    WRONG = "wrong"
    UNAVAILABLE = "unavailable"


class PasswordJudge(Protocol):
    """Judges."""

    async def judge(self, user: bytes, password: bytes, client_key: bytes) -> Verdict:
        """Judge."""
        ...
