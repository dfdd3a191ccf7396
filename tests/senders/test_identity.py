"""Reverse DNS and HELO over a zone that is a mapping."""

import asyncio
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.senders.identity import (
    Gather,
    HelloResult,
    IpAddress,
    Iprev,
    IprevResult,
    check_hello,
    confirm_names,
    fold,
    is_full_name,
    one_by_one,
)
from tlsproxy.senders.names import Lookup, LookupFailedError, Record, RecordType

V4 = ip_address("192.0.2.7")
V6 = ip_address("2001:db8::7")
OTHER = ip_address("192.0.2.8")
POINTER = "7.2.0.192.in-addr.arpa"

Zone = Mapping[tuple[str, RecordType], Sequence[Record] | None]
"""None stands for a name server that does not answer."""


def lookup_in(zone: Zone, asked: list[tuple[str, RecordType]] | None = None) -> Lookup:
    async def lookup(name: str, kind: RecordType) -> Sequence[Record]:
        if asked is not None:
            asked.append((name, kind))
        found = zone.get((name, kind), ())
        if found is None:
            raise LookupFailedError(name)
        return found

    return lookup


def pointer(*names: str) -> dict[tuple[str, RecordType], Sequence[Record] | None]:
    return {(POINTER, RecordType.PTR): names}


A, AAAA, PTR = RecordType.A, RecordType.AAAA, RecordType.PTR


@pytest.mark.parametrize("gather", [one_by_one, asyncio.gather])
@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ({}, Iprev(IprevResult.PERMERROR)),
        ({(POINTER, PTR): None}, Iprev(IprevResult.TEMPERROR)),
        (pointer("a.example"), Iprev(IprevResult.FAIL)),
        (pointer("a.example") | {("a.example", A): [OTHER]}, Iprev(IprevResult.FAIL)),
        (pointer("a.example") | {("a.example", A): [OTHER, V4]}, Iprev(IprevResult.PASS, ("a.example",))),
        (pointer("A.Example.") | {("a.example", A): [V4]}, Iprev(IprevResult.PASS, ("a.example",))),
        (pointer("a.example") | {("a.example", A): None}, Iprev(IprevResult.TEMPERROR)),
        (
            pointer("a.example", "b.example", "c.example") | {("a.example", A): None, ("c.example", A): [V4]},
            Iprev(IprevResult.PASS, ("c.example",)),
        ),
        (pointer("a.example", "b.example") | {("b.example", A): None}, Iprev(IprevResult.TEMPERROR)),
        (pointer("evil\r\nname.example", "localhost", "") | {("localhost", A): [V4]}, Iprev(IprevResult.FAIL)),
    ],
)
async def test_names_are_confirmed_by_forward_dns(zone: Zone, expected: Iprev, gather: Gather) -> None:
    assert await confirm_names(V4, lookup_in(zone), gather) == expected


async def test_ipv6_is_asked_for_its_own_family() -> None:
    zone: Zone = {(V6.reverse_pointer, PTR): ["a.example"], ("a.example", AAAA): [V6], ("a.example", A): [V4]}
    assert await confirm_names(V6, lookup_in(zone)) == Iprev(IprevResult.PASS, ("a.example",))


async def test_no_more_than_ten_names_are_asked_for_and_none_twice() -> None:
    asked: list[tuple[str, RecordType]] = []
    names = [f"h{n}.example" for n in range(20)]
    zone = pointer("H0.example", "h0.example.", *names) | {("h10.example", A): [V4]}
    assert await confirm_names(V4, lookup_in(zone, asked)) == Iprev(IprevResult.FAIL)
    assert asked == [(POINTER, PTR), *((name, A) for name in names[:10])]


NAMED = Iprev(IprevResult.PASS, ("mx1.mail.example",))
UNNAMED = Iprev(IprevResult.PERMERROR)
UNKNOWN = Iprev(IprevResult.TEMPERROR)
FORWARD: Zone = {
    ("mail.other.example", A): [V4],
    ("mail.other.example", AAAA): [V6],
    ("foreign.example", A): [OTHER],
    ("slow.example", A): None,
    ("shop.co.uk", A): [OTHER],
}

MATCH, MISMATCH, TEMPERROR = HelloResult.MATCH, HelloResult.MISMATCH, HelloResult.TEMPERROR
OURS, SHORT = HelloResult.IMPERSONATION, HelloResult.NOT_FQDN


@pytest.mark.parametrize(
    ("hello", "ip", "iprev", "relaxed", "exact"),
    [
        # literals
        (b"[192.0.2.7]", V4, UNNAMED, MATCH, MATCH),
        (b"[192.0.2.8]", V4, NAMED, MISMATCH, MISMATCH),
        (b"[IPv6:2001:db8::7]", V6, UNNAMED, MATCH, MATCH),
        (b"[ipv6:2001:DB8:0::7]", V6, UNNAMED, MATCH, MATCH),
        (b"[2001:db8::7]", V6, UNNAMED, MATCH, MATCH),
        (b"[IPv6:::ffff:192.0.2.7]", V4, UNNAMED, MATCH, MATCH),
        (b"[IPv6:2001:db8::8]", V6, NAMED, MISMATCH, MISMATCH),
        (b"[nonsense]", V4, NAMED, MISMATCH, MISMATCH),
        (b"[1.2.3.4.5]", V4, NAMED, MISMATCH, MISMATCH),
        # confirmed names
        (b"mx1.mail.example", V4, NAMED, MATCH, MATCH),
        (b"MX1.Mail.Example.", V4, NAMED, MATCH, MATCH),
        # forward DNS
        (b"mail.other.example", V4, UNNAMED, MATCH, MATCH),
        (b"mail.other.example", V6, UNNAMED, MATCH, MATCH),
        (b"mail.other.example", OTHER, UNNAMED, MISMATCH, MISMATCH),
        (b"foreign.example", V4, NAMED, MISMATCH, MISMATCH),
        (b"nothing.example", V4, UNNAMED, MISMATCH, MISMATCH),
        (b"slow.example", V4, NAMED, TEMPERROR, TEMPERROR),
        # the same organisation
        (b"mx2.mail.example", V4, NAMED, MATCH, MISMATCH),
        (b"mail.example", V4, NAMED, MATCH, MISMATCH),
        (b"xmail.example", V4, NAMED, MISMATCH, MISMATCH),
        (b"mx2.shop.co.uk", V4, Iprev(IprevResult.PASS, ("mx1.shop.co.uk",)), MATCH, MISMATCH),
        (b"mx1.other.co.uk", V4, Iprev(IprevResult.PASS, ("mx1.shop.co.uk",)), MISMATCH, MISMATCH),
        (b"co.uk", V4, Iprev(IprevResult.PASS, ("mx1.shop.co.uk",)), MISMATCH, MISMATCH),
        (b"mx1.other.com.au", V4, Iprev(IprevResult.PASS, ("mx1.shop.com.au",)), MISMATCH, MISMATCH),
        (b"mx2.shop.de", V4, Iprev(IprevResult.PASS, ("mx1.shop.de",)), MATCH, MISMATCH),
        # nobody knows the names, so nobody knows the organisation
        (b"foreign.example", V4, UNKNOWN, TEMPERROR, MISMATCH),
        (b"mail.other.example", V4, UNKNOWN, MATCH, MATCH),
        # not fully qualified
        (b"DESKTOP3507CDS", V4, NAMED, SHORT, SHORT),
        (b"localhost", V4, NAMED, SHORT, SHORT),
        (b"192.0.2.7", V4, NAMED, SHORT, SHORT),
        (b"", V4, NAMED, SHORT, SHORT),
        (b"a..example", V4, NAMED, SHORT, SHORT),
        ("bücher.example".encode(), V4, NAMED, SHORT, SHORT),
        (b"a." * 127 + b"example", V4, NAMED, SHORT, SHORT),
        # ours
        (b"mx.here.example", V4, NAMED, OURS, OURS),
        (b"MX.HERE.EXAMPLE.", V4, UNNAMED, OURS, OURS),
        (b"[198.51.100.1]", V4, NAMED, OURS, OURS),
        (b"198.51.100.1", V4, NAMED, OURS, OURS),
        (b"[IPv6:2001:db8::1]", V6, NAMED, OURS, OURS),
        (b"www.mx.here.example", V4, UNNAMED, MISMATCH, MISMATCH),
        # whoever is at our address is us
        (b"[198.51.100.1]", ip_address("198.51.100.1"), UNNAMED, MATCH, MATCH),
        (b"mx.here.example", ip_address("198.51.100.1"), UNNAMED, MISMATCH, MISMATCH),
    ],
)
async def test_hello_goes_with_the_address(
    hello: bytes, ip: IpAddress, iprev: Iprev, relaxed: HelloResult, exact: HelloResult
) -> None:
    for is_relaxed, expected in ((True, relaxed), (False, exact)):
        found = await check_hello(
            hello,
            ip,
            iprev,
            lookup_in(FORWARD),
            is_relaxed=is_relaxed,
            own_names=["Mx.Here.Example."],
            own_addresses=[ip_address("198.51.100.1"), ip_address("2001:db8::1")],
        )
        assert found is expected


async def test_a_confirmed_name_is_not_asked_for_again() -> None:
    asked: list[tuple[str, RecordType]] = []
    lookup = lookup_in({}, asked)
    await check_hello(b"mx1.mail.example", V4, NAMED, lookup, is_relaxed=False, own_names=[], own_addresses=[])
    assert asked == []


@given(st.binary(max_size=300))
def test_any_hello_has_a_result(hello: bytes) -> None:
    found = check_hello(hello, V4, NAMED, lookup_in({}), is_relaxed=True, own_names=[], own_addresses=[])
    assert asyncio.run(found) in HelloResult


@pytest.mark.parametrize(
    ("name", "is_full"),
    [
        ("a.example", True),
        ("_dmarc.a.example", True),
        ("a.b-c.example", True),
        ("xn--bcher-kva.example", True),
        ("a", False),
        ("a.example.", False),
        ("-a.example", False),
        ("a-.example", False),
        ("a.123", False),
        ("a.1x", True),
        ("a b.example", False),
        ("a.example\n", False),
        ("x" * 63 + ".example", True),
        ("x" * 64 + ".example", False),
        ("bücher.example", False),
    ],
)
def test_full_names(name: str, *, is_full: bool) -> None:
    assert is_full_name(name) is is_full


def test_names_are_folded() -> None:
    assert fold("A.Example.") == fold("a.example") == "a.example"
