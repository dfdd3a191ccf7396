"""Policies of people who mean harm: whatever is published, the answer comes soon and asks little."""

import time
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.zones import Zones, simple_zones

from tlsproxy.senders.spf import SpfResult, SpfVerdict, check_host

V4 = "192.0.2.1"
# One policy, ten terms of one look-up for the exchanges and ten for their addresses, the client's names and their
# addresses, one explanation.
MOST_ASKED = 1 + 10 * 11 + 11 + 1


async def check(zones: Zones, ip: str = V4, sender: str = "ann@a.example") -> SpfResult:
    return await check_host(ip_address(ip), "a.example", sender, "h.example", zones.look_up, receiver="me", now=1e9)


@pytest.mark.parametrize(
    ("terms", "verdict"),
    [
        ("a " * 10 + "-all", "fail"),
        ("a " * 11 + "-all", "permerror"),
        ("a mx ptr -exists:x.b.example include:b.example " * 2 + "-all", "fail"),
        ("a mx ptr -exists:x.b.example include:b.example " * 2 + "a -all", "permerror"),
        ("a " * 9 + "redirect=b.example", "softfail"),
        ("a " * 10 + "redirect=b.example", "permerror"),
        ("include:nine.example " + "-all", "fail"),
        ("include:nine.example " + "a -all", "permerror"),
        ("ip4:198.51.100.1 ip6:::1 " * 20 + "-all", "fail"),
        ("redirect=a.example", "permerror"),
        ("include:a.example", "permerror"),
        ("exists:%{d}.b.example " * 2 + "-all", "fail"),
        ("exists:%{d}.b.example " * 3 + "-all", "permerror"),
        ("a:x.b.example mx:x.b.example -all", "fail"),
        ("a:x.b.example mx:x.b.example a:..b.example -all", "permerror"),
        ("mx:dead.example -all", "fail"),
        ("mx:dead.example mx:dead.example -all", "fail"),
        ("mx:dead.example mx:dead.example mx:dead.example -all", "permerror"),
        ("mx:eleven.example +all", "permerror"),
        ("ptr:b.example " * 5 + "-all", "fail"),
        ("a:%{p}.ok.example " * 3 + "-all exp=%{p}.nobody.example", "fail"),
    ],
)
async def test_limits(terms: str, verdict: str) -> None:
    zones = simple_zones(
        {
            "a.example": [f"TXT v=spf1 {terms}", "A 192.0.2.9", "MX 1 a.example"],
            "b.example": ["TXT v=spf1 ~all"],
            "nine.example": ["TXT v=spf1 a:a.example a:a.example a:a.example mx:a.example " + "ptr " * 5],
            "dead.example": [f"MX {number} {number}.b.example" for number in range(10)],
            "eleven.example": [f"MX {number} a.example" for number in range(11)],
            "unknown.ok.example": ["A 192.0.2.9"],
        }
    )
    found = await check(zones)
    assert found.verdict == verdict, found
    assert len(zones.asked) <= MOST_ASKED


async def test_ten_times_ten_exchanges_are_the_most_that_is_asked() -> None:
    zones = simple_zones(
        {
            "a.example": [
                "TXT v=spf1 " + " ".join(f"mx:%{{p}}.{n}.example" for n in range(10)) + " -all exp=e.example"
            ],
            **{f"unknown.{n}.example": [f"MX {number} {n}{number}.example" for number in range(10)] for n in range(10)},
            **{f"{number}.example": ["A 192.0.2.9"] for number in range(100)},
            **{f"0{number}.example": ["A 192.0.2.9"] for number in range(10)},
            "1.2.0.192.in-addr.arpa": [f"PTR {number}.example" for number in range(50)],
        }
    )
    assert (await check(zones)).verdict is SpfVerdict.FAIL
    assert len(zones.asked) == MOST_ASKED


async def test_deep_includes_and_wide_trees_end() -> None:
    deep = {f"{n}.example": [f"TXT v=spf1 include:{n + 1}.example -all"] for n in range(50)}
    wide = {f"w{n}.example": [f"TXT v=spf1 include:w{n + 1}.example include:w{n + 1}.example -all"] for n in range(50)}
    for zones, first in ((deep, "0"), (wide, "w0")):
        made = simple_zones({**zones, "a.example": [f"TXT v=spf1 include:{first}.example -all"]})
        found = await check(made)
        assert (found.verdict, found.problem) == (SpfVerdict.PERMERROR, "more than 10 terms with look-ups")
        assert len(made.asked) == 11


@pytest.mark.parametrize(
    ("policy", "sender"),
    [
        ("%{s}" * 1500, "x" * 2000 + "@a.example"),
        ("%{s1=}" * 1000, "=" * 2000 + "@a.example"),
        ("".join(f"%{{s{n}=-}}" for n in range(1, 900)), "=" * 2000 + "@a.example"),
        ("%{S}" * 1500, "ü" * 1000 + "@a.example"),
        ("%{d9999999999}" * 500, "ann@a.example"),
    ],
)
async def test_macro_bombs(policy: str, sender: str) -> None:
    """A policy includes another with the bomb ten times; a bomb explains the fail."""
    zones = simple_zones(
        {
            "a.example": ["TXT v=spf1 " + "include:b.example " * 5 + "-all exp=exp.example"],
            "b.example": [f"TXT v=spf1 exists:{policy}.example -all"],
            "exp.example": [f"TXT {policy}"],
        }
    )
    start = time.process_time()
    found = await check(zones, sender=sender)
    assert time.process_time() - start < 1.0
    assert found.verdict in {SpfVerdict.FAIL, SpfVerdict.PERMERROR}
    assert len(found.explanation) <= 512
    assert all(len(name) <= 254 for name, _ in zones.asked)


WORDS = "a mx ptr all include exists redirect= exp= ip4: ip6: %{d} %{p} %{ir} %{l0} /24 //64 / : . - ~ ? + ="
TERMS = st.sampled_from([*WORDS.split(), " ", "  ", "\t", "a.example", "b.example", "192.0.2.1", "::1"])
RECORDS = st.one_of(
    st.binary(max_size=80),
    st.lists(TERMS, max_size=30).map("".join).map(str.encode),
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=80).map(str.encode),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    record=RECORDS.map(b"v=spf1 ".__add__),
    other=RECORDS,
    sender=st.text(max_size=20),
    helo=st.text(max_size=20),
    ip=st.ip_addresses(),
)
async def test_no_record_raises(record: bytes, other: bytes, sender: str, helo: str, ip: object) -> None:
    zones = simple_zones({"b.example": ["A 192.0.2.1", "MX 10 a.example"], "a.example": ["A 192.0.2.1"]})
    for name, text in (("a.example", record), ("b.example", b"v=spf1 " + other), ("b.example", other)):
        zones.add_policy(name, text.decode("latin-1"))
    found = await check_host(ip, "a.example", sender, helo, zones.look_up, receiver="", now=0)  # type: ignore[arg-type] # hypothesis does not tell
    assert isinstance(found.verdict, SpfVerdict)
    assert found.verdict not in {SpfVerdict.NONE, SpfVerdict.TEMPERROR}
    for text in (found.mechanism, found.explanation, found.problem):
        assert text.isascii()
        assert text.isprintable() or not text
    assert len(zones.asked) <= MOST_ASKED
