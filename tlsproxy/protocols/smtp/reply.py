"""SMTP's answers: made, written and read; must not know which one is due.

An answer read from an old server is shown to strangers, so what its text may not hold is replaced on reading.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tlsproxy.protocols.lines import LineBuffer, without_line_end

CRLF: Final = b"\r\n"

# RFC 5321 §4.5.3.1.5: a reply line with code and CRLF. What we say keeps to it; old servers do not always.
_OWN_LINE_LIMIT_BYTES: Final = 512
_LINE_LIMIT_BYTES: Final = 4096
_LINES_LIMIT: Final = 128
_REPLY_LIMIT_BYTES: Final = 65536

# RFC 5321 §4.2: the code, then a hyphen where more lines follow, and a text that may be missing.
_REPLY_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_UNPRINTABLE: Final = re.compile(rb"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to one command."""

    code: int
    """Of three digits, 200 to 599."""
    lines: tuple[bytes, ...]
    """The text of each line, enhanced code included, without code, separator and CRLF; at least one."""

    @property
    def text(self) -> bytes:
        """The text of the first line."""
        return self.lines[0]

    @property
    def is_positive(self) -> bool:
        """Whether it is done: 2xx."""
        return self.code // 100 == 2  # noqa: PLR2004 - RFC 5321 §4.2.1, as the three below

    @property
    def is_intermediate(self) -> bool:
        """Whether more is wanted: 3xx."""
        return self.code // 100 == 3  # noqa: PLR2004

    @property
    def is_transient(self) -> bool:
        """Whether another try may work: 4xx."""
        return self.code // 100 == 4  # noqa: PLR2004

    @property
    def is_permanent(self) -> bool:
        """Whether another try is useless: 5xx."""
        return self.code // 100 == 5  # noqa: PLR2004

    def encode(self) -> bytes:
        """All lines as they go over the wire."""
        code = b"%d" % self.code
        *firsts, last = self.lines
        return b"".join([*(code + b"-" + line + CRLF for line in firsts), code + b" " + last + CRLF])


def reply(code: int, enhanced: str, text: str) -> Reply:
    """An answer of our own, of one line.

    Args:
        code: 200 to 599.
        enhanced: RFC 3463 status code as ``5.7.1``; empty for none.
        text: For a person; what is not printable ASCII is replaced, and what is too long is cut.
    """
    said = f"{enhanced} {text}" if enhanced else text
    printable = _UNPRINTABLE.sub(b"?", said.encode("ascii", "replace"))
    return Reply(code, (printable[: _OWN_LINE_LIMIT_BYTES - len("250 \r\n")],))


class ReplyFault(StrEnum):
    """Why something is no answer."""

    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    CODES_DIFFER = "codes_differ"


class ReplyReader:
    """Reads an old server's answers, whatever the split they arrive in; a bare LF ends a line too.

    After a fault nothing more can be read: where the next answer begins is not known.
    """

    __slots__ = ("_bytes", "_code", "_fault", "_pending", "_texts")

    def __init__(self) -> None:
        self._pending = LineBuffer()
        self._fault: ReplyFault | None = None
        self._code: bytes | None = None  # of the answer under way
        self._texts: list[bytes] = []
        self._bytes = 0

    def __len__(self) -> int:
        """How many bytes wait, those of an answer that is not whole included."""
        return self._bytes + len(self._pending)

    def feed(self, data: bytes) -> None:
        """Add bytes at the end."""
        if self._fault is None:
            self._pending.feed(data)

    def take(self) -> Reply | ReplyFault | None:
        """Take one whole answer; None if there is none yet."""
        while self._fault is None:
            if self._pending.is_over(_LINE_LIMIT_BYTES):
                return self._broken(ReplyFault.TOO_LONG)
            line = self._pending.line()
            if line is None:
                return None
            whole = self._take_line(line)
            if whole is not None:
                return whole
        return self._fault

    def _take_line(self, line: bytes) -> Reply | ReplyFault | None:
        found = _REPLY_LINE.fullmatch(without_line_end(line))
        if found is None:
            return self._broken(ReplyFault.MALFORMED)
        if self._code not in {None, found[1]}:
            return self._broken(ReplyFault.CODES_DIFFER)
        self._bytes += len(line)
        self._texts.append(_CONTROL.sub(b"?", found[3] or b""))
        if found[2] != b"-":
            whole = Reply(int(found[1]), tuple(self._texts))
            self._forget()
            return whole
        if len(self._texts) >= _LINES_LIMIT or self._bytes >= _REPLY_LIMIT_BYTES:
            return self._broken(ReplyFault.TOO_LONG)
        self._code = found[1]
        return None

    def _broken(self, fault: ReplyFault) -> ReplyFault:
        self._fault = fault
        self._forget()
        self._pending = LineBuffer()
        return fault

    def _forget(self) -> None:
        self._code, self._texts, self._bytes = None, [], 0
