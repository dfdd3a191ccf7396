"""What the client said and nobody answered yet, bounded by line and in all; must not read meaning into it."""

from typing import Final

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits
from tlsproxy.protocols.lines import LineBuffer

_AUTH: Final = b"AUTH "


class ClientLines:
    """A line buffer that knows the limits of a dialogue and answers with the Reason when one is passed."""

    __slots__ = ("_limits", "_pending", "_start", "_taken_bytes")

    def __init__(self, limits: DialogueLimits) -> None:
        self._limits = limits
        self._pending = LineBuffer()
        self._start = b""  # of an AUTH line that is longer than other commands may be
        self._taken_bytes = 0

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._start) + len(self._pending)

    @property
    def is_full(self) -> bool:
        """Whether the client has said all that it may say in this dialogue."""
        return self._taken_bytes + len(self) >= self._limits.total_bytes

    def feed(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._pending.feed(data)

    def command(self) -> bytes | Reason | None:
        """Take a command line, its line end included; None if there is none yet, a Reason if it passes a limit.

        AUTH alone may be as long as a SASL line, for the sake of its initial response: RFC 2449 §4 asks for 255
        bytes, but tokens are longer and clients send them so.
        """
        if not self._start:
            line = self._whole(self._limits.line_bytes)
            if line is not Reason.LINE_TOO_LONG:
                return line
            start = self._pending.take(self._limits.line_bytes)
            if start[: len(_AUTH)].upper() != _AUTH:
                return Reason.LINE_TOO_LONG
            self._start = start
        return self._whole(self._limits.sasl_line_bytes)

    def sasl_response(self) -> bytes | Reason | None:
        """Take a line of a SASL exchange, in the same way."""
        return self._whole(self._limits.sasl_line_bytes)

    def rest(self) -> bytes:
        """Take whatever is left; it is no longer counted."""
        return self._pending.rest()

    def _whole(self, limit_bytes: int) -> bytes | Reason | None:
        room_bytes = self._limits.total_bytes - self._taken_bytes
        if self._pending.is_over(min(limit_bytes, room_bytes) - len(self._start)):
            return Reason.LINE_TOO_LONG if limit_bytes <= room_bytes else Reason.TOO_MUCH_BEFORE_LOGIN
        tail = self._pending.line()
        if tail is None:
            return None
        line, self._start = self._start + tail, b""
        self._taken_bytes += len(line)
        return line
