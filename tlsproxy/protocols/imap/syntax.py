"""IMAP's words: command lines, literals and tokens (RFC 3501 §9, RFC 9051 §9); must not know what they are for."""

import re
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import Final

CRLF: Final = b"\r\n"

# ASTRING-CHAR: printable ASCII without atom-specials, and "]" (RFC 3501 §9); a tag has no "+" either.
_TAG_CHAR: Final = rb"[!#$&',-\[\]^_`a-z|}~]"
_ASTRING_CHAR: Final = rb"[!#$&'+,-\[\]^_`a-z|}~]"
# Our bounds: the RFCs know none, and a client numbers its tags; the longest command name is AUTHENTICATE.
_TAG: Final = _TAG_CHAR + rb"{1,64}"
_NAME: Final = rb"[A-Za-z]{1,32}"
# Methods of RFC 9110 §9, RFC 5789 and HTTP/2's preface: a browser that was lured here (ALPACA, alpaca-attack.com).
_HTTP: Final = rb"(?!(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) )"

_COMMAND: Final = re.compile(rb"(%b) (%b)( .*)?" % (_TAG, _NAME), re.DOTALL)
_TAGGED: Final = re.compile(rb"(%b) " % _TAG)
_WHOLE_LINE: Final = re.compile(rb"%b%b %b(?: .*)?\r?\n" % (_HTTP, _TAG, _NAME), re.DOTALL)
_BEGINNING: Final = re.compile(rb"%b(?:%b(?: (?:%b(?:\r| .*)?)?)?)?" % (_HTTP, _TAG, _NAME), re.DOTALL)
# RFC 3501 §9 literal, RFC 7888 non-synchronizing literal.
_LITERAL: Final = re.compile(rb"\{([0-9]+)(\+?)\}\Z")
# RFC 9051 §9 number64 has at most 19 digits, RFC 3501's number 10; more is larger than any limit.
_NUMBER_DIGITS: Final = 10
_HUGE: Final = 10**_NUMBER_DIGITS
# Bytes of 0x80 and above are let through in quotes: RFC 9051 §9 allows UTF-8 there, and old clients send Latin-1.
_QUOTED: Final = rb'(?:[^"\\\r\n\0]|\\["\\])*'
_TOKEN: Final = re.compile(
    rb'(?P<space> )|(?P<open>\()|(?P<close>\))|"(?P<quoted>%b)"|(?P<atom>%b+)' % (_QUOTED, _ASTRING_CHAR)
)
_TWO_STRINGS: Final = re.compile(rb' (?:"(%b)"|(%b+)) (?:"%b"|%b+)' % (_QUOTED, _ASTRING_CHAR, _QUOTED, _ASTRING_CHAR))
_ESCAPE: Final = re.compile(rb'\\(["\\])')
_SPECIAL: Final = re.compile(rb'(["\\])')
_QUOTABLE: Final = re.compile(rb"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal announced at the end of a line."""

    size: int
    """Bytes."""
    is_synchronizing: bool
    """Whether its sender waits for ``+`` before sending it (RFC 7888: ``{n+}`` does not)."""

    @property
    def announcement(self) -> bytes:
        """Written anew, so that no other reader sees another number in it: ``{010}`` is eight to some."""
        return b"{%d%b}" % (self.size, b"" if self.is_synchronizing else b"+")


class TokenKind(StrEnum):
    """What a token is; SPACE, OPEN, CLOSE and JUNK have no value."""

    SPACE = auto()
    OPEN = auto()
    CLOSE = auto()
    ATOM = auto()
    QUOTED = auto()
    LITERAL = auto()
    JUNK = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a command's arguments; the value may be a password."""

    kind: TokenKind
    value: bytes = field(default=b"", repr=False)

    @property
    def is_string(self) -> bool:
        """Whether an astring may look like this (RFC 3501 §9)."""
        return self.kind in _STRINGS


_STRINGS: Final = frozenset({TokenKind.ATOM, TokenKind.QUOTED, TokenKind.LITERAL})
_WITHOUT_VALUE: Final = {kind.value: Token(kind) for kind in (TokenKind.SPACE, TokenKind.OPEN, TokenKind.CLOSE)}


def parse_command(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Read the first line of a command, line end removed.

    Returns:
        Tag, name in upper case, and what follows it, its leading space included, which may hold a password; None if it
        is no command.
    """
    match = _COMMAND.fullmatch(line)
    return (match[1], match[2].upper(), match[3] or b"") if match else None


def tag_of(line: bytes) -> bytes | None:
    """The tag at the head of a line or of a part of one; None if it is not readable."""
    match = _TAGGED.match(line)
    return match[1] if match else None


def is_nonsense(head: bytes) -> bool:
    """Whether a line, complete or not, can be no IMAP command: HTTP, a TLS ClientHello, anything binary."""
    line, end, _ = head.partition(b"\n")
    return not (_WHOLE_LINE.fullmatch(line + end) if end else _BEGINNING.fullmatch(line))


def split_literal(line: bytes) -> tuple[bytes, Literal | None]:
    """Cut the announcement of a literal off the end of a line."""
    match = _LITERAL.search(line) if line.endswith(b"}") else None
    if match is None:
        return line, None
    size = int(match[1]) if len(match[1]) <= _NUMBER_DIGITS else _HUGE
    return line[: match.start()], Literal(size, is_synchronizing=not match[2])


def first_of_two_strings(text: bytes) -> bytes | None:
    """The value of the first where the text is a space, a string, a space, a string, and no literal; None if not."""
    match = _TWO_STRINGS.fullmatch(text)
    if match is None:
        return None
    return match[2] if match[1] is None else _unescaped(match[1])


def tokens(text: bytes) -> list[Token]:
    """Cut arguments into tokens, quoted strings unescaped; whatever is no token becomes JUNK at the end."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return [*found, Token(TokenKind.JUNK)]
        found.append(_WITHOUT_VALUE.get(match.lastgroup or "") or _string(match))
        position = match.end()
    return found


def _string(match: re.Match[bytes]) -> Token:
    if match.lastgroup == TokenKind.ATOM:
        return Token(TokenKind.ATOM, match[0])
    return Token(TokenKind.QUOTED, _unescaped(match["quoted"]))


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(rb"\1", text) if b"\\" in text else text


def quoted(value: bytes) -> bytes | None:
    """The value as a quoted string, escaped; None if it cannot be one in every server (RFC 3501 §9 quoted)."""
    return b'"' + _SPECIAL.sub(rb"\\\1", value) + b'"' if _QUOTABLE.fullmatch(value) else None
