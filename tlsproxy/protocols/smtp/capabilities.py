"""What a server can do: read from an old one, and offered to clients in turn; must not speak to either."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.syntax import Extension

# A message grows by the headers that are put before it; what the backend takes is so much more than what is offered.
HEADERS_LIMIT_BYTES: Final = 4096

# RFC 5321 §4.1.1.1; some old servers say "AUTH=PLAIN LOGIN".
_OLD_AUTH: Final = b"AUTH="
# What only the backend can do: offered if it is offered by the backend. PIPELINING and SIZE are ours; CHUNKING, ETRN,
# XCLIENT and PIPECONNECT are never passed on.
_PASSED_ON: Final = (
    Extension.ENHANCEDSTATUSCODES,
    Extension.EIGHT_BIT_MIME,
    Extension.SMTPUTF8,
    Extension.DSN,
)
_BY_NAME: Final = {extension.encode("ascii"): extension for extension in Extension}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """An answer to EHLO; as it is made without arguments, that of a server which knows HELO alone."""

    extensions: frozenset[Extension] = frozenset()
    size: int | None = None
    """Octets of the largest message; None if the server does not say."""
    mechanisms: frozenset[bytes] = frozenset()
    """SASL mechanisms, in upper case."""
    xclient: frozenset[bytes] = frozenset()
    """Attributes that Postfix's XCLIENT may carry, in upper case; empty if it is not offered."""


def read_capabilities(reply: Reply) -> Capabilities:
    """Read an answer to EHLO; what is not known is passed over."""
    extensions: set[Extension] = set()
    size: int | None = None
    mechanisms: set[bytes] = set()
    xclient: set[bytes] = set()
    for line in reply.lines[1:]:
        keyword, *arguments = line.upper().replace(_OLD_AUTH, b"AUTH ").split() or [b""]
        if keyword in _BY_NAME:
            extensions.add(_BY_NAME[keyword])
        if keyword == b"SIZE":
            size = _size(arguments)
        elif keyword == b"AUTH":
            mechanisms.update(arguments)
        elif keyword == b"XCLIENT":
            xclient.update(arguments)
    return Capabilities(
        extensions=frozenset(extensions),
        size=size,
        mechanisms=frozenset(mechanisms),
        xclient=frozenset(xclient),
    )


def offered(
    backend: Capabilities, own_size: int, *, starttls: bool, auth: Sequence[bytes]
) -> tuple[tuple[bytes, ...], int]:
    """What a client is offered.

    Args:
        backend: What the old server can do.
        own_size: Octets of the largest message that we take; must be positive.
        starttls: Whether TLS can be begun.
        auth: SASL mechanisms; none offers no AUTH.

    Returns:
        The lines behind the first of an answer to EHLO, and the octets of the largest message among them.
    """
    size = own_size if backend.size is None else max(1, min(own_size, backend.size - HEADERS_LIMIT_BYTES))
    lines = [b"PIPELINING", b"SIZE %d" % size]
    if starttls:
        lines.append(b"STARTTLS")
    if auth:
        lines.append(b" ".join([b"AUTH", *auth]))
    lines += [extension.encode("ascii") for extension in _PASSED_ON if extension in backend.extensions]
    return tuple(lines), size


def extensions_of(lines: Iterable[bytes]) -> frozenset[Extension]:
    """The extensions that lines of an answer to EHLO name."""
    return read_capabilities(Reply(250, (b"", *lines))).extensions


def _size(arguments: Sequence[bytes]) -> int | None:
    """Octets; None for 0, which is no limit (RFC 1870 §3), and for what is no number."""
    is_number = len(arguments) == 1 and arguments[0].isdigit() and len(arguments[0]) <= 20  # noqa: PLR2004 - RFC 1870 §4
    return (int(arguments[0]) or None) if is_number else None
