"""The questions about a client: whose answers are late are temporary errors, and nobody asks without end."""

import asyncio
from ipaddress import ip_address
from typing import Final

import pytest
from rig.zones import Zones, simple_zones

from tlsproxy.senders.identity import HelloResult, Iprev, IprevResult
from tlsproxy.senders.local import KnownClients
from tlsproxy.senders.policy import PolicySettings
from tlsproxy.senders.spf import SpfVerdict
from tlsproxy.server.smtp.desks.questions import Checks, ask_hello, ask_names, ask_spf

IP: Final = ip_address("192.0.2.7")
ZONES: Final = {
    "7.2.0.192.in-addr.arpa": ["PTR mx1.b.example"],
    "mx1.b.example": ["A 192.0.2.7"],
    "b.example": ["TXT v=spf1 -all"],
}


def _checks(zones: Zones, seconds: float = 5.0, clients: KnownClients | None = None) -> Checks:
    return Checks(
        lookup=zones.look_up,
        settings=PolicySettings(),
        clients=clients or KnownClients(),
        hostname="mx.example.org",
        identity_s=seconds,
        spf_s=seconds,
    )


async def test_answers_in_time() -> None:
    checks = _checks(simple_zones(ZONES))
    names = asyncio.create_task(ask_names(checks, IP))
    hello = await ask_hello(checks, IP, b"mx1.b.example", names, None, is_relaxed=False)
    assert (names.result(), hello) == (Iprev(IprevResult.PASS, ("mx1.b.example",)), HelloResult.MATCH)
    spf = await ask_spf(checks, IP, b"mx1.b.example", domain=b"b.example", sender=b"a@b.example", names=None)
    assert (spf.verdict, spf.mechanism) == (SpfVerdict.FAIL, "-all")


async def test_answers_that_are_late() -> None:
    zones = simple_zones(ZONES)
    zones.delay_s = 60.0
    checks = _checks(zones, 0.01)
    assert await ask_names(checks, IP) == Iprev(IprevResult.TEMPERROR)
    names = asyncio.create_task(ask_names(_checks(zones), IP))
    assert await ask_hello(checks, IP, b"mx1.b.example", names, None, is_relaxed=True) is HelloResult.TEMPERROR
    spf = await ask_spf(checks, IP, b"mx1.b.example", domain=b"b.example", sender=b"a@b.example", names=names)
    assert (spf.verdict, spf.domain, spf.problem) == (
        SpfVerdict.TEMPERROR,
        "b.example",
        "no answer within the deadline",
    )
    assert not names.done(), "others may still want it"
    names.cancel()


async def test_our_own_address_is_no_name_for_others() -> None:
    checks = _checks(simple_zones(ZONES))
    names = asyncio.create_task(ask_names(checks, IP))
    own = ip_address("192.0.2.2")
    assert await ask_hello(checks, IP, b"[192.0.2.2]", names, own, is_relaxed=True) is HelloResult.IMPERSONATION


@pytest.mark.parametrize(
    ("clients", "verdict"),
    [
        (KnownClients(forwarder_names=("b.example",)), SpfVerdict.NONE),
        (KnownClients(forwarder_names=("c.example",)), SpfVerdict.FAIL),
        (KnownClients(forwarders=()), SpfVerdict.FAIL),
    ],
)
async def test_a_forwarder_is_known_by_its_names(clients: KnownClients, verdict: SpfVerdict) -> None:
    checks = _checks(simple_zones(ZONES), clients=clients)
    names = asyncio.create_task(ask_names(checks, IP))
    spf = await ask_spf(checks, IP, b"x.example", domain=b"b.example", sender=b"a@b.example", names=names)
    assert spf.verdict is verdict
