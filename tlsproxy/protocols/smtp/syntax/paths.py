"""Mail addresses as they stand in MAIL and RCPT (RFC 5321 §4.1.2); must not know who may use them."""

import re
from dataclasses import dataclass
from typing import Final

from tlsproxy.protocols.smtp.syntax.names import UTF8, parse_domain

# RFC 5321 §4.5.3.1.1 speaks of 64 and asks for more where it can be had: addresses that bounces return to are longer.
_LOCAL_LIMIT_BYTES: Final = 256

_ATEXT: Final = rb"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|" + UTF8 + rb")"
_DOT_STRING: Final = re.compile(_ATEXT + rb"+(?:\." + _ATEXT + rb"+)*")
_QUOTED: Final = rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|' + UTF8 + rb'|\\[\x20-\x7e])*)"'
# Dots in places where the RFC has none are an old custom of some mail services; such a local part goes out quoted.
_MAILBOX: Final = rb"(?:" + _QUOTED + rb"|((?:\.|" + _ATEXT + rb")+))(?:@([^<>\s]+))?"
_ROUTE: Final = rb'(@(?:[^<>"\s:\[]|\[[^<>"\s\]]*\])*:)?'
# Some old clients leave the angle brackets out.
_PATH: Final = re.compile(rb"<" + _ROUTE + rb"(?:" + _MAILBOX + rb")?>|" + _MAILBOX + rb"(?= |$)")
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_TO_BE_QUOTED: Final = re.compile(rb'(["\\])')
# How a relay has been told its next hops since before DNS; an at sign can stand in a quoted local part.
_HOPS: Final = re.compile(rb"[%!@]")


@dataclass(frozen=True, slots=True)
class Path:
    """A mail address, or the empty one that bounces come from."""

    local: bytes
    """Without quotes and backslashes."""
    domain: bytes
    """A name or an address literal; empty for ``<>`` and for ``<postmaster>``."""

    @property
    def is_null(self) -> bool:
        """Whether it is ``<>``."""
        return not self.local and not self.domain

    @property
    def address(self) -> bytes:
        """As ``local@domain``, quoted only where that is needed; empty for ``<>``."""
        if not self.domain:
            return self.local
        return (self.local if _DOT_STRING.fullmatch(self.local) else _quoted(self.local)) + b"@" + self.domain

    @property
    def is_ascii(self) -> bool:
        """Whether it can be said to a server without SMTPUTF8."""
        return self.local.isascii() and self.domain.isascii()

    def encode(self) -> bytes:
        """As ``<local@domain>``."""
        return b"<" + self.address + b">"


@dataclass(frozen=True, slots=True)
class FoundPath:
    """A path at the head of a command's argument."""

    path: Path
    is_routed: bool
    """Whether it names hops: a source route, or ``%``, ``!`` or ``@`` in the local part."""
    rest: bytes
    """What stands behind it."""


def read_path(text: bytes) -> FoundPath | None:
    """Read the path at the head of a text; None if there is none.

    A source route is read and forgotten (RFC 5321 appendix C). Of the paths without a domain only ``<>`` and
    ``<postmaster>`` are any (RFC 5321 §4.1.1.3).
    """
    found = _PATH.match(text)
    if found is None:
        return None
    route, quoted, atoms, domain = _parts(found)
    path = _path(atoms if quoted is None else _QUOTED_PAIR.sub(rb"\1", quoted), domain)
    if path is None or (route and path.is_null):
        return None
    return FoundPath(path, bool(route) or _HOPS.search(path.local) is not None, text[found.end() :])


def _parts(found: re.Match[bytes]) -> tuple[bytes | None, ...]:
    route, *bracketed = found.groups()[:4]
    return (route, *bracketed) if found[0].startswith(b"<") else (None, *found.groups()[4:])


def _path(local: bytes | None, domain: bytes | None) -> Path | None:
    if domain is None:
        return Path(local or b"", b"") if local is None or local.lower() == b"postmaster" else None
    name = parse_domain(domain)
    if local is None or name is None or len(local) > _LOCAL_LIMIT_BYTES:
        return None
    return Path(local, name)


def _quoted(local: bytes) -> bytes:
    return b'"' + _TO_BE_QUOTED.sub(rb"\\\1", local) + b'"'
