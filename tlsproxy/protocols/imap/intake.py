"""What the client has said and nobody has read yet: bounded, cut into lines and counted runs; must not answer.

It holds passwords while their command is incomplete, and nothing it has handed out.
"""

import re
from typing import Final

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits
from tlsproxy.protocols.imap.syntax import is_nonsense, tag_of

# With an initial response (RFC 4959 §3) its line may be as long as a SASL line.
_AUTHENTICATE: Final = re.compile(rb"[^ ]+ AUTHENTICATE ", re.IGNORECASE)


class Intake:
    """The client's bytes before login.

    Every answer depends on the bytes alone, never on how they were split: nonsense is known by its beginning, a line
    is too long at the same byte, and what exceeds the total is only told when all before it has been read.
    """

    __slots__ = ("_data", "_is_first", "_limits", "_room", "_scanned", "is_exceeded")

    def __init__(self, limits: DialogueLimits) -> None:
        self._limits = limits
        self._data = bytearray()
        self._room = limits.total_bytes
        self._scanned = 0
        self._is_first = True
        self.is_exceeded = False

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Add bytes at the end; those beyond the total are dropped and make it exceeded."""
        room = self._room - len(data)
        if room < 0:
            self.is_exceeded = True
            data = data[: self._room]
            room = 0
        self._data += data
        self._room = room

    def command_line(self) -> bytes | Reason | None:
        """Take the first line of a command, line end removed; a Reason if it must not be read, None if incomplete."""
        if not self._data:
            return None
        # The head ends where the limit does, so that the split cannot choose between two reasons.
        head = bytes(self._data[: self._limits.line_bytes])
        if self._is_first and is_nonsense(head):
            return Reason.NOT_MAIL
        line = self.line(self._limits.sasl_line_bytes if _AUTHENTICATE.match(head) else self._limits.line_bytes)
        self._is_first = self._is_first and line is None
        return line

    def line(self, limit_bytes: int) -> bytes | Reason | None:
        """Take any line; a Reason if it is too long, None if it is incomplete.

        Spaces before the line end, which mutt writes behind AUTHENTICATE's mechanism, go the way of the line end: no
        command ends with one that means anything (RFC 3501 §9).
        """
        end = self._data.find(b"\n", self._scanned, limit_bytes)
        if end < 0:
            self._scanned = min(len(self._data), limit_bytes)
            return Reason.LINE_TOO_LONG if len(self._data) >= limit_bytes else None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._scanned = 0
        return line.removesuffix(b"\r").rstrip(b" ")

    def take(self, size: int) -> bytes:
        """Take up to ``size`` bytes, whatever they are."""
        taken = bytes(self._data[:size])
        del self._data[:size]
        self._scanned = 0
        return taken

    def rest(self) -> bytes:
        """Take everything."""
        taken = bytes(self._data)
        self._data.clear()
        self._scanned = 0
        return taken

    def waiting_tag(self) -> bytes | None:
        """The tag of the command at the head, complete or not; None if there is none."""
        return tag_of(bytes(self._data[: self._limits.line_bytes]))
