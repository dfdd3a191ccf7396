"""The backend's responses, whole lines at a time (RFC 3501 §7, §9); must not decide what becomes of them."""

import re
from dataclasses import dataclass
from typing import Final

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.imap.syntax import CRLF, split_literal
from tlsproxy.protocols.lines import LineBuffer

UNTAGGED: Final = b"*"
CONTINUATION: Final = b"+"

# Far above any capability list or response text; a server that says more before login speaks another protocol.
_LINE_BYTES: Final = 64 * 1024
# Before login only ID's answer has literals (RFC 2971: values of at most 1024 bytes).
_LITERAL_BYTES: Final = 64 * 1024
# RFC 3501 §7.1.
_STATUS: Final = re.compile(rb"([^ ]+) (OK|NO|BAD|BYE|PREAUTH)(?: (.*))?", re.IGNORECASE | re.DOTALL)
_CODE: Final = re.compile(rb"\[([^\] ]+)[\] ]")
_GREETINGS: Final = {b"OK": None, b"PREAUTH": Reason.BACKEND_PREAUTH, b"BYE": Reason.BACKEND_REFUSED}
# Codes of RFC 5530 §3 that say the password was not the cause.
_NOT_CREDENTIAL: Final = frozenset(
    {b"UNAVAILABLE", b"CONTACTADMIN", b"LIMIT", b"INUSE", b"SERVERBUG", b"PRIVACYREQUIRED", b"CANNOT", b"CLIENTBUG"}
)
# What an idle session's backend said last: an answer, IDLE's "+", news of the mailbox. The text of a mail that is
# half sent may end with a line end, too, but hardly with one of these.
_LAST_LINE: Final = re.compile(
    rb"(?:[^ +*]+ (?:OK|NO|BAD)(?: [^\r\n]*)?|\+(?: [^\r\n]*)?"
    rb"|\* (?:OK|NO|BAD)(?: [^\r\n]*)?|\* [0-9]+ (?:EXISTS|RECENT|EXPUNGE|FETCH \([^\r\n]*\)))\r\n\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Response:
    """One response line; where it is no status, its literals follow as Passing."""

    line: bytes
    """Without line end."""
    tag: bytes
    """``*``, ``+`` or a tag; anything where the line is none of the protocol."""
    condition: bytes = b""
    """OK, NO, BAD, BYE or PREAUTH, upper case; empty for data."""
    text: bytes = b""
    """What stands behind the condition."""

    @property
    def code(self) -> bytes:
        """The response code's name, upper case; empty for none."""
        match = _CODE.match(self.text)
        return match[1].upper() if match else b""


@dataclass(frozen=True, slots=True)
class Passing:
    """Bytes of a literal, or the rest of a line behind one."""

    data: bytes


def parse_response(line: bytes) -> Response:
    """Read a response line, line end removed."""
    match = _STATUS.fullmatch(line)
    if match is None or match[1] == CONTINUATION:
        return Response(line, line.partition(b" ")[0])
    return Response(line, match[1], match[2].upper(), match[3] or b"")


def unfit_greeting(response: Response) -> Reason | None:
    """Why a backend's first line is no greeting to go on with; None for ``* OK`` (RFC 3501 §7.1)."""
    if response.tag != UNTAGGED or response.condition not in _GREETINGS:
        return Reason.BACKEND_GARBAGE
    return _GREETINGS[response.condition]


def is_about_credentials(failure: Response) -> bool:
    """Whether a NO to a login means the user or the password; a NO without a code does (RFC 5530 §3)."""
    return failure.code not in _NOT_CREDENTIAL


def with_failure_code(failure: Response) -> bytes:
    """The line of a NO to a login, with AUTHENTICATIONFAILED where it has no code (RFC 5530 §3)."""
    if failure.code:
        return failure.line
    head = failure.line.removesuffix(failure.text).rstrip(b" ")
    return head + b" [AUTHENTICATIONFAILED] " + (failure.text or b"Login failed")


def is_between_responses(tail: bytes) -> bool:
    """Whether the last bytes a backend said end with a whole response, as far as they show.

    Args:
        tail: The end of what was said, some 100 bytes; the beginning of the last line may be missing from it.
    """
    return _LAST_LINE.match(tail, tail.rfind(b"\n", 0, -1) + 1) is not None


class ResponseReader:
    """Cuts the backend's bytes into responses; bounded, literals stream through."""

    __slots__ = ("_buffer", "_left", "_line_bytes", "is_inside")

    def __init__(self, line_bytes: int = _LINE_BYTES) -> None:
        self._buffer = LineBuffer()
        self._line_bytes = line_bytes
        self._left = 0
        self.is_inside = False
        """Whether a response has been handed out whose end has not."""

    def feed(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._buffer.feed(data)

    def read(self) -> Response | Passing | Reason | None:
        """The next response or part of one, None if more bytes are needed, a Reason if it cannot be read."""
        if self._left:
            data = self._buffer.take(self._left)
            self._left -= len(data)
            return Passing(data) if data else None
        line = self._buffer.next_line(self._line_bytes)
        if line is None:
            return Reason.BACKEND_GARBAGE if self._buffer.is_exceeded else None
        return self._take(line)

    def rest(self) -> bytes:
        """Everything not read yet."""
        return self._buffer.rest()

    def _take(self, line: bytes) -> Response | Passing | Reason:
        response = None if self.is_inside else parse_response(line)
        # Text may end in braces; only data has literals (RFC 3501 §9 resp-text).
        if response is not None and (response.condition or response.tag != UNTAGGED):
            return response
        literal = split_literal(line)[1]
        self._left = literal.size if literal else 0
        self.is_inside = literal is not None
        if self._left > _LITERAL_BYTES:
            return Reason.BACKEND_GARBAGE
        return response or Passing(line + CRLF)
