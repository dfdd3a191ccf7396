"""Takes IMAP commands apart and writes IMAP strings (RFC 3501 §9); any bytes give a value or None."""

import re
from dataclasses import dataclass, field
from typing import Final

Value = bytes | list["Value"]
"""A string of whichever form, or a parenthesised list."""

_COMMAND: Final = re.compile(rb"([^\s(){%*\"\\+]{1,64}) ([A-Za-z]{1,32})(?: +|$)", re.ASCII)
_TOKEN: Final = re.compile(
    rb"(?P<space>[ \t]+)"
    rb"|(?P<open>\()"
    rb"|(?P<close>\))"
    rb'|"(?P<quoted>(?:[^"\\\r\n]|\\["\\])*)"'
    rb"|\{(?P<literal>[0-9]{1,9})\+?\}\r?\n"
    rb"|(?P<atom>(?:\[[^\]\r\n]*\]|[^\s()\"\[{])+)"
)
_LITERAL_AT_END: Final = re.compile(rb"\{([0-9]{1,9})(\+?)\}\r?\n\Z")
_PLAIN_TEXT: Final = re.compile(rb"[\x20-\x7e]{0,1000}\Z")
# 32 bits (RFC 3501 §9, nz-number).
_NUMBER_LIMIT: Final = 2**32
# Every range is held against every message.
_RANGES_LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class Command:
    """One whole command; the arguments may hold a password, so repr does not show them."""

    tag: bytes
    verb: bytes
    """In upper case."""
    arguments: list[Value] = field(repr=False)


def parse(command: bytes) -> Command | None:
    """Take a command apart.

    Args:
        command: All of it, literals in place, the last line end cut off.

    Returns:
        The Command; None if it is none.
    """
    head = _COMMAND.match(command)
    arguments = _values(command[head.end() :]) if head else None
    return Command(head[1], head[2].upper(), arguments) if head and arguments is not None else None


def tag_of(command: bytes) -> bytes:
    """The tag to answer a broken command with; ``*`` where there is none."""
    head = _COMMAND.match(command)
    return head[1] if head else b"*"


def literal_at_end(line: bytes) -> tuple[int, bool] | None:
    """Size of the literal that the line announces, and whether the client waits for the go-ahead (RFC 7888)."""
    match = _LITERAL_AT_END.search(line)
    return (int(match[1]), not match[2]) if match else None


def _values(data: bytes) -> list[Value] | None:
    """The arguments; None if they make no sense."""
    top: list[Value] = []
    stack = [top]
    at = 0
    while at < len(data):
        token = _TOKEN.match(data, at)
        if token is None:
            return None
        at = token.end()
        if token.lastgroup == "open":
            inner: list[Value] = []
            stack[-1].append(inner)
            stack.append(inner)
        elif token.lastgroup == "close":
            stack.pop()
            if not stack:
                return None
        elif token.lastgroup != "space":
            text, at = _text(token, data)
            stack[-1].append(text)
    return top if len(stack) == 1 else None


def _text(token: re.Match[bytes], data: bytes) -> tuple[bytes, int]:
    """The string that a token is or announces, and where it ends."""
    match token.lastgroup:
        case "literal":
            end = token.end() + int(token["literal"])
            return data[token.end() : end], end
        case "quoted":
            return re.sub(rb"\\(.)", rb"\1", token["quoted"]), token.end()
    return token["atom"], token.end()


def string(data: bytes | None) -> bytes:
    """NIL, a quoted string, or a literal where quoting does not do."""
    if data is None:
        return b"NIL"
    if _PLAIN_TEXT.match(data):
        return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return literal(data)


def literal(data: bytes) -> bytes:
    """The literal form."""
    return b"{%d}\r\n%s" % (len(data), data)


def numbers(sequence_set: bytes, largest: int) -> list[tuple[int, int]] | None:
    """A set of numbers such as ``1,3:5,7:*`` as ranges.

    Args:
        sequence_set: As written.
        largest: What ``*`` stands for.

    Returns:
        (first, last) pairs, both inside, in the order written; None if it is no set.
    """
    if sequence_set.count(b",") > _RANGES_LIMIT:
        return None
    ranges: list[tuple[int, int]] = []
    for piece in sequence_set.split(b","):
        ends = [_number(end, largest) for end in piece.split(b":")]
        first, last = ends[0], ends[-1]
        if len(ends) > 2 or first is None or last is None:  # noqa: PLR2004 - a range has two ends
            return None
        ranges.append((min(first, last), max(first, last)))
    return ranges


def _number(text: bytes, largest: int) -> int | None:
    if text == b"*":
        return largest
    is_number = text.isdigit() and len(text) <= len(str(_NUMBER_LIMIT)) and 0 < int(text) < _NUMBER_LIMIT
    return int(text) if is_number else None
