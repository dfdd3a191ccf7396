"""How a client's line looks (RFC 5321 §4.1.1); must not know what it leads to."""

import re
from dataclasses import dataclass, field
from typing import Final

_COMMAND: Final = re.compile(rb"([A-Za-z][A-Za-z0-9]*)(?:[ \t](.*))?", re.DOTALL)
# A line of a message's header, or of an HTTP request's.
_HEADER: Final = re.compile(rb"[A-Za-z0-9-]+:")
_HTTP_METHODS: Final = frozenset(b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PRI".split())


@dataclass(frozen=True, slots=True)
class Command:
    """A client's line, cut in two."""

    verb: bytes
    """In upper case."""
    argument: bytes = field(repr=False)
    """All behind the verb without blanks around it; may hold a password."""


def parse_command(line: bytes) -> Command | None:
    """Read a client's line, its CRLF stripped; None if it has no verb."""
    found = _COMMAND.fullmatch(line)
    return Command(found[1].upper(), (found[2] or b"").strip(b" \t")) if found else None


def is_foreign(line: bytes) -> bool:
    """Whether a line, its CRLF stripped, is of HTTP or a message's header: somebody is made to talk to us."""
    return line.partition(b" ")[0].upper() in _HTTP_METHODS or _HEADER.match(line) is not None
