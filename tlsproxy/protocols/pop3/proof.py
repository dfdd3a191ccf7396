"""Our own login to a POP3 server, to learn whether a password is right; must not keep it longer than it is needed."""

import re
from collections.abc import Sequence
from typing import Final

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Disproven, Hangup, ProofAction, Proven, ToBackend
from tlsproxy.protocols.lines import LineBuffer
from tlsproxy.protocols.pop3.attempt import is_about_credentials
from tlsproxy.protocols.pop3.syntax import CRLF, Status, status

_QUIT: Final = b"QUIT" + CRLF
_BACKEND_LINE_LIMIT_BYTES: Final = 8192  # RFC 2449 §4 asks for 512; old servers say more
# No old server has a longer one, and none should have to cope with it. Tokens that stand in for passwords fit in.
_CREDENTIAL_BYTES: Final = 4096
_CONTROL: Final = re.compile(rb"[\r\n\0]")


class Pop3Proof:
    """Greeting, USER, PASS (RFC 1939 §7), QUIT."""

    __slots__ = ("_commands", "_has_greeted", "_is_over", "_is_sayable", "_lines")

    def __init__(self, user: bytes, password: bytes) -> None:
        self._is_sayable = _is_sayable(user) and _is_sayable(password)
        self._commands = [b"USER " + user + CRLF, b"PASS " + password + CRLF]
        """What is still to be said, each behind a yes of the server."""
        self._lines = LineBuffer()
        self._has_greeted = False
        self._is_over = False

    def from_backend(self, data: bytes) -> Sequence[ProofAction]:
        """Take bytes from the backend, in any split; it says three lines, so that each line's bound is the total's."""
        actions: list[ProofAction] = []
        if self._is_over:
            return actions
        self._lines.feed(data)
        while not self._is_over:
            line = self._lines.next_line(_BACKEND_LINE_LIMIT_BYTES)
            if line is None:
                actions += self._hangup(Reason.BACKEND_GARBAGE) if self._lines.is_exceeded else []
                break
            actions += self._heard(line)
        return actions

    def _heard(self, line: bytes) -> list[ProofAction]:
        match status(line):
            case Status.OK:
                return self._agreed()
            case Status.ERROR if self._has_greeted and is_about_credentials(line):
                return self._settled(Disproven())
            case Status.ERROR:
                return self._hangup(Reason.BACKEND_REFUSED)
            case _:
                return self._hangup(Reason.BACKEND_GARBAGE)

    def _agreed(self) -> list[ProofAction]:
        # POP3 has no tags. One yes too many, and that to USER would be taken for the one to PASS.
        if len(self._lines):
            return self._hangup(Reason.BACKEND_GARBAGE)
        self._has_greeted = True
        if not self._is_sayable:
            return self._settled(Disproven())
        if not self._commands:
            return self._settled(Proven())
        return [ToBackend(self._commands.pop(0))]

    def _settled(self, verdict: Proven | Disproven) -> list[ProofAction]:
        self._forget()
        return [verdict, ToBackend(_QUIT)]

    def _hangup(self, reason: Reason) -> list[ProofAction]:
        self._forget()
        return [Hangup(reason)]

    def _forget(self) -> None:
        self._is_over = True
        self._commands = []


def _is_sayable(credential: bytes) -> bool:
    """Whether a server may be asked about it.

    What would end the line is somebody's attempt to say another command. An empty password is asked of nobody: where a
    directory stands behind the server, it logs in without authenticating (RFC 4513 §5.1.2).
    """
    return 0 < len(credential) <= _CREDENTIAL_BYTES and _CONTROL.search(credential) is None
