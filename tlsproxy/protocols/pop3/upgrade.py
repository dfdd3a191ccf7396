"""Our own dialogue with a backend that wants STLS first; must not let anything heard before TLS through."""

from collections.abc import Sequence
from typing import Final

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Hangup, StartTls, ToBackend, UpgradeAction
from tlsproxy.protocols.lines import LineBuffer
from tlsproxy.protocols.pop3.gate import GREETING
from tlsproxy.protocols.pop3.syntax import CRLF, Status, status

_BACKEND_LINE_LIMIT_BYTES: Final = 8192  # RFC 2449 §4 asks for 512; old servers say more


class Pop3Upgrade:
    """Waits for the greeting, says STLS, and waits for the go-ahead (RFC 2595 §4)."""

    __slots__ = ("_has_asked", "_is_over", "_lines")

    def __init__(self) -> None:
        self._lines = LineBuffer()
        self._has_asked = False
        self._is_over = False

    @property
    def greeting(self) -> bytes:
        """A greeting for the Login to read, with nothing in it that was heard before TLS."""
        return GREETING

    def from_backend(self, data: bytes) -> Sequence[UpgradeAction]:
        """Take bytes from the backend, in any split; bytes behind a yes are an injection and a Hangup."""
        if self._is_over:
            return []
        self._lines.feed(data)
        line = self._lines.next_line(_BACKEND_LINE_LIMIT_BYTES)
        if line is None:
            return self._hangup(Reason.BACKEND_GARBAGE) if self._lines.is_exceeded else []
        return self._go_ahead(line) if self._has_asked else self._greeted(line)

    def _greeted(self, line: bytes) -> list[UpgradeAction]:
        match status(line):
            case Status.OK if len(self._lines):
                return self._hangup(Reason.BACKEND_TLS_FAILED)
            case Status.OK:
                self._has_asked = True
                return [ToBackend(b"STLS" + CRLF)]
            case Status.ERROR:
                return self._hangup(Reason.BACKEND_REFUSED)
            case _:
                return self._hangup(Reason.BACKEND_GARBAGE)

    def _go_ahead(self, line: bytes) -> list[UpgradeAction]:
        if status(line) is not Status.OK or len(self._lines):
            return self._hangup(Reason.BACKEND_TLS_FAILED)
        self._is_over = True
        return [StartTls()]

    def _hangup(self, reason: Reason) -> list[UpgradeAction]:
        self._is_over = True
        return [Hangup(reason)]
