"""Whether a client is who it says: reverse DNS that is confirmed (FCrDNS), and the HELO name; must not judge."""

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from tlsproxy.senders.names import Lookup, LookupFailedError, RecordType

# RFC 7208 §4.6.4 sets this bound for PTR names; it keeps a hostile zone from making us ask without end.
_NAME_LIMIT: Final = 10

# RFC 1035 §2.3.4: 255 octets on the wire are 253 characters in text.
_NAME_LENGTH: Final = 253

# Labels of letters, digits, hyphens and, out of tolerance, underscores; at least two, the last one not a number.
_FULL_NAME: Final = re.compile(
    rb"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?![0-9]+\Z)[a-z0-9-]{1,63}", re.IGNORECASE
)

_LITERAL: Final = re.compile(rb"\[(?:IPv6:)?([0-9a-f.:]+)\]", re.IGNORECASE)

IpAddress = IPv4Address | IPv6Address


class IprevResult(StrEnum):
    """The results of RFC 8601 §2.7.3, by their names on the wire."""

    PASS = "pass"  # noqa: S105  # a result, no password
    FAIL = "fail"
    """There are names, but none of them has the address."""
    PERMERROR = "permerror"
    """There is no name."""
    TEMPERROR = "temperror"


@dataclass(frozen=True, slots=True)
class Iprev:
    """What reverse DNS says of an address."""

    result: IprevResult
    names: tuple[str, ...] = ()
    """The names that are confirmed by forward DNS, lower case and without the final dot."""


class HelloResult(StrEnum):
    """How the name in HELO or EHLO goes with the address."""

    MATCH = "match"
    MISMATCH = "mismatch"
    IMPERSONATION = "impersonation"
    """It is one of our own names or addresses."""
    NOT_FQDN = "not_fqdn"
    TEMPERROR = "temperror"


class _Forward(StrEnum):
    CONFIRMED = "confirmed"
    OTHER = "other"
    UNKNOWN = "unknown"


Gather = Callable[..., Awaitable[Sequence[_Forward]]]
"""Awaits what it is given and returns the results in that order, as ``asyncio.gather`` does."""


async def one_by_one(*waits: Awaitable[_Forward]) -> Sequence[_Forward]:
    """The Gather that does one after the other."""
    return [await wait for wait in waits]


async def confirm_names(ip: IpAddress, lookup: Lookup, gather: Gather = one_by_one) -> Iprev:
    """Ask for the names of an address, and which of them have that address (FCrDNS, RFC 8601 §3).

    Args:
        ip: The client's address, an IPv4-mapped one unfolded.
        lookup: Asks the DNS; its failures end in the result.
        gather: How the forward look-ups are awaited; ``asyncio.gather`` runs them at the same time.

    Returns:
        PASS with every confirmed name; TEMPERROR only if no name could be confirmed and some answer is missing.
    """
    try:
        pointers = await lookup(ip.reverse_pointer, RecordType.PTR)
    except LookupFailedError:
        return Iprev(IprevResult.TEMPERROR)
    if not pointers:
        return Iprev(IprevResult.PERMERROR)
    names = [name for name in dict.fromkeys(fold(str(pointer)) for pointer in pointers) if is_full_name(name)]
    del names[_NAME_LIMIT:]
    answers = await gather(*(_forward(name, ip, lookup) for name in names))
    confirmed = tuple(name for name, answer in zip(names, answers, strict=True) if answer is _Forward.CONFIRMED)
    if confirmed:
        return Iprev(IprevResult.PASS, confirmed)
    return Iprev(IprevResult.TEMPERROR if _Forward.UNKNOWN in answers else IprevResult.FAIL)


async def check_hello(
    hello: bytes,
    ip: IpAddress,
    iprev: Iprev,
    lookup: Lookup,
    *,
    is_relaxed: bool,
    own_names: Collection[str],
    own_addresses: Collection[IpAddress],
) -> HelloResult:
    """Judge the name that a client gives itself.

    Args:
        hello: The argument of HELO or EHLO.
        ip: The client's address, an IPv4-mapped one unfolded.
        iprev: What ``confirm_names`` said of it.
        lookup: Asks the DNS; its failures end in the result.
        is_relaxed: Whether it is enough to be of the same organisation as a confirmed name.
        own_names: Our host names, in any case; a client may not use them.
        own_addresses: Our addresses; a client that comes from one of them is us and may use them all.

    Returns:
        MATCH if the name is the address, has the address, or is one of the confirmed names.
    """
    literal = _address_in(hello)
    name = fold(hello.decode("latin-1"))
    if _is_ours(name, literal, own_names, own_addresses) and ip not in own_addresses:
        return HelloResult.IMPERSONATION
    if hello.startswith(b"["):
        return HelloResult.MATCH if literal == ip else HelloResult.MISMATCH
    if not is_full_name(name):
        return HelloResult.NOT_FQDN
    if name in iprev.names or (is_relaxed and _is_of_same_organisation(name, iprev.names)):
        return HelloResult.MATCH
    answer = await _forward(name, ip, lookup)
    if answer is _Forward.CONFIRMED:
        return HelloResult.MATCH
    # The relaxed rule needs names that could not be had: nobody knows whether it would have been kept.
    is_unknown = answer is _Forward.UNKNOWN or (is_relaxed and iprev.result is IprevResult.TEMPERROR)
    return HelloResult.TEMPERROR if is_unknown else HelloResult.MISMATCH


def fold(name: str) -> str:
    """A name as it is compared: lower case, without the final dot."""
    return name.lower().removesuffix(".")


def is_full_name(name: str) -> bool:
    """Whether it is a fully qualified host name in ASCII, without the final dot."""
    wire = name.encode("ascii", "replace")  # what is not ASCII becomes "?", which no name has
    return len(wire) <= _NAME_LENGTH and _FULL_NAME.fullmatch(wire) is not None


def _is_ours(
    name: str, literal: IpAddress | None, own_names: Collection[str], own_addresses: Collection[IpAddress]
) -> bool:
    return literal in own_addresses or name in map(fold, own_names)


def _address_in(hello: bytes) -> IpAddress | None:
    """The address of ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]`` (RFC 5321 §4.1.3), and of one without its brackets."""
    found = _LITERAL.fullmatch(hello)
    try:
        ip = ip_address((found[1] if found else hello).decode("latin-1"))
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip


def _is_of_same_organisation(name: str, names: Collection[str]) -> bool:
    return _organisation_of(name) in map(_organisation_of, names)


def _organisation_of(name: str) -> tuple[str, ...]:
    """The last two labels; three where the last two look like ``co.uk``. A guess that needs no list of suffixes."""
    labels = tuple(name.split("."))
    has_second_level = len(labels[-1]) == 2 and len(labels[-2]) <= 3  # noqa: PLR2004  # a country, and co, com, net
    return labels[-3:] if has_second_level else labels[-2:]


async def _forward(name: str, ip: IpAddress, lookup: Lookup) -> _Forward:
    kind = RecordType.A if isinstance(ip, IPv4Address) else RecordType.AAAA
    try:
        addresses = await lookup(name, kind)
    except LookupFailedError:
        return _Forward.UNKNOWN
    return _Forward.CONFIRMED if ip in addresses else _Forward.OTHER
