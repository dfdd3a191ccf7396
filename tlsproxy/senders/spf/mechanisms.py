"""The syntax of mechanisms (RFC 7208 §5); must not look at qualifiers or evaluate."""

import re
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Final

from tlsproxy.senders.spf.domains import parse_domain_spec
from tlsproxy.senders.spf.result import BrokenPolicyError
from tlsproxy.senders.spf.terms import All, Exists, Hosts, Include, Mechanism, Network, Ptr

_IP4_BITS: Final = 32
_IP6_BITS: Final = 128

# A name, and what follows from the first ":" or "/" on.
_MECHANISM: Final = re.compile(r"([A-Za-z0-9]+)((?:[:/].*)?)", re.ASCII | re.DOTALL)


def parse_mechanism(raw: str) -> Mechanism:
    """Parse a mechanism without its qualifier.

    Raises:
        BrokenPolicyError: It is unknown, or its syntax is wrong.
    """
    found = _MECHANISM.fullmatch(raw)
    parse = _PARSERS.get(found[1].lower()) if found else None
    if found is None or parse is None:
        raise BrokenPolicyError("unknown mechanism")
    return parse(found[2])


def _all(rest: str) -> All:
    if rest:
        raise BrokenPolicyError("takes no argument")
    return All()


def _include(rest: str) -> Include:
    return Include(parse_domain_spec(_argument(rest)))


def _exists(rest: str) -> Exists:
    return Exists(parse_domain_spec(_argument(rest)))


def _ptr(rest: str) -> Ptr:
    return Ptr(parse_domain_spec(_argument(rest)) if rest else None)


def _a(rest: str) -> Hosts:
    return _hosts(rest, is_mx=False)


def _mx(rest: str) -> Hosts:
    return _hosts(rest, is_mx=True)


def _hosts(rest: str, *, is_mx: bool) -> Hosts:
    # RFC 7208 §5.3, dual-cidr-length; a domain-spec may hold a "/" as well, so the lengths are taken from the end.
    rest, ip6_digits = _cut_length(rest, "//")
    rest, ip4_digits = _cut_length(rest, "/")
    return Hosts(
        target=parse_domain_spec(_argument(rest)) if rest else None,
        ip4_prefix=_prefix(ip4_digits, _IP4_BITS),
        ip6_prefix=_prefix(ip6_digits, _IP6_BITS),
        is_mx=is_mx,
    )


def _cut_length(rest: str, mark: str) -> tuple[str, str | None]:
    head, _, digits = rest.rpartition(mark)
    return (head, digits) if digits.isdigit() and digits != rest else (rest, None)


def _ip4(rest: str) -> Network:
    address, slash, length = _argument(rest).partition("/")
    try:
        # The library refuses a short form and leading zeros, as RFC 7208 §5.6 wants it.
        ip = IPv4Address(address)
    except AddressValueError as error:
        raise BrokenPolicyError("no IPv4 address") from error
    return Network(IPv4Network((ip, _prefix(length if slash else None, _IP4_BITS)), strict=False))


def _ip6(rest: str) -> Network:
    address, slash, length = _argument(rest).partition("/")
    try:
        ip = IPv6Address(address)
    except AddressValueError as error:
        raise BrokenPolicyError("no IPv6 address") from error
    if ip.scope_id is not None:  # the library takes a zone (RFC 4007 §11), SPF does not
        raise BrokenPolicyError("no IPv6 address")
    return Network(IPv6Network((ip, _prefix(length if slash else None, _IP6_BITS)), strict=False))


def _argument(rest: str) -> str:
    if not rest.startswith(":"):
        raise BrokenPolicyError("argument is missing")
    return rest[1:]


def _prefix(digits: str | None, bits: int) -> int:
    """A prefix length; without one the whole address counts."""
    if digits is None:
        return bits
    # RFC 7208 §5.6 has it "0" or without a leading zero, and no longer than an address. Never int() of a long string.
    if not re.fullmatch(r"0|[1-9][0-9]{0,2}", digits, re.ASCII) or int(digits) > bits:
        raise BrokenPolicyError(f"bad prefix length {digits}")
    return int(digits)


_PARSERS: Final[Mapping[str, Callable[[str], Mechanism]]] = MappingProxyType(
    {"all": _all, "include": _include, "a": _a, "mx": _mx, "ptr": _ptr, "ip4": _ip4, "ip6": _ip6, "exists": _exists}
)
