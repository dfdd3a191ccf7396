"""The content of a message between DATA and its end, re-framed so that every server sees the same end of it.

SMTP smuggling lives on two servers that differ in what ends a message. Here only CRLF.CRLF does, and what goes on to
the old server has CRLF for every line end and two dots wherever a line starts with one, so that no server finds an end
in it. Must not judge content.
"""

from io import IncrementalNewlineDecoder
from typing import Final

from tlsproxy.core.kinds import BareNewline

_CRLF: Final = b"\r\n"
_END: Final = b"\r\n.\r\n"
_LINE_END: Final = 2
"""Octets of a line end in what goes out."""
_CLEAN: Final = (None, "\r\n")


class Reframer:
    """Takes a client's octets after the 354, in any split, and gives the content for the old server (RFC 5321 §4.5.2).

    A line starts with a dot too many only behind CRLF and only if a second dot follows; any other leading dot is
    content. CR, LF and CRLF are one line end each; NUL is content.

    Attributes:
        is_over: Whether the end of data has come.
        size: Octets of content so far, without doubled dots and with CRLF for line ends.
        bare_newlines: How often CR or LF stood alone.
        nuls: How many NULs there were.
    """

    __slots__ = ("_carry", "_mode", "_rest", "_shown", "bare_newlines", "is_over", "nuls", "size")

    def __init__(self, mode: BareNewline) -> None:
        self._mode = mode
        # What the next octets are judged with: the line end before them, or octets that wait for more. The first of
        # all is judged as if behind CRLF.
        self._carry = _CRLF
        # How many octets of the carry have gone out, as CRLF.
        self._shown = _LINE_END
        self._rest = bytearray()
        self.is_over = False
        self.size = 0
        self.bare_newlines = 0
        self.nuls = 0

    @property
    def rest(self) -> bytes:
        """What lay behind the end of data."""
        return bytes(self._rest)

    @property
    def is_refused(self) -> bool:
        """Whether the message must not be delivered: CR or LF stood alone and the mode is ``reject``."""
        return self._mode is BareNewline.REJECT and self.bare_newlines > 0

    def feed(self, data: bytes) -> bytes:
        """Take what the client sent; give content without the final dot. At most three octets wait for more."""
        if self.is_over:
            self._rest += data
            return b""
        buffer = self._carry + data
        has_dots = b"\r\n." in buffer
        end = buffer.find(_END) if has_dots else -1
        if end >= 0:
            self.is_over = True
            self._rest += buffer[end + len(_END) :]
            buffer = buffer[: end + _LINE_END]
        shown, waiting = self._shown, self._keep(buffer)
        return self._reframe(buffer[: len(buffer) - waiting], shown, has_dots=has_dots)[shown:]

    def finish(self) -> bytes:
        """The end of data for the old server; call it once ``is_over``."""
        return b".\r\n" if self._shown else b"\r\n.\r\n"

    def _keep(self, buffer: bytes) -> int:
        """Keep what the next octets need to be judged, and give how many of these octets have to wait."""
        for size in range(len(_END) - 1, 1, -1):
            if buffer.endswith(_END[:size]):
                self._carry, self._shown = _END[:size], _LINE_END
                return size - _LINE_END
        if buffer.endswith(b"\r"):
            self._carry, self._shown = b"\r", 0
            return 1
        if buffer.endswith(b"\n"):
            self._carry, self._shown = b"\n", _LINE_END
        else:
            self._carry, self._shown = b"", 0
        return 0

    def _reframe(self, content: bytes, shown: int, *, has_dots: bool) -> bytes:
        """The content in its new frame; ``shown`` octets at its head are a line end that has been counted."""
        if b"\0" in content:
            self.nuls += content.count(b"\0")
        if _stands_alone(content):
            return self._mend(content, shown)
        if not has_dots:
            self.size += len(content) - shown
            return content
        doubled = content.count(b"\r\n..")
        if doubled < content.count(b"\r\n."):
            return self._mend(content, shown)
        self.size += len(content) - shown - doubled
        return content

    def _mend(self, content: bytes, shown: int) -> bytes:
        """Undo the doubling of dots, make all line ends CRLF, and double all leading dots."""
        plain = content.replace(b"\r\n..", b"\r\n.")
        lines = plain.replace(_CRLF, b"\n")
        pairs = len(plain) - len(lines)
        self.bare_newlines += lines.count(b"\n") + lines.count(b"\r") - pairs - content.startswith(b"\n", 0, shown)
        lines = lines.replace(b"\r", b"\n").replace(b"\n", _CRLF)
        self.size += len(lines) - shown
        return lines.replace(b"\r\n.", b"\r\n..")


def _stands_alone(content: bytes) -> bool:
    """Whether a CR or LF does.

    What reads text files notes which line ends it meets, two to five times as fast as octets can be searched for them.
    """
    reader = IncrementalNewlineDecoder(None, translate=False)
    reader.decode(content.decode("latin-1"), final=True)
    return reader.newlines not in _CLEAN
