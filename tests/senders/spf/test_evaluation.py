"""``check_host``: what matches, what decides, what is explained, and what trouble comes to."""

from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address

import pytest
from rig.zones import Zones, simple_zones

from tlsproxy.senders.names import Record, RecordType
from tlsproxy.senders.spf import SpfResult, SpfVerdict, check_host

V4, V6 = "192.0.2.1", "2001:db8::1"


async def check(zones: Zones, ip: str = V4, sender: str = "ann@a.example", helo: str = "mx.a.example") -> SpfResult:
    domain = sender.rpartition("@")[2] or helo
    return await check_host(ip_address(ip), domain, sender, helo, zones.look_up, receiver="me.example", now=1e9)


async def verdict_of(policy: str, ip: str = V4, **zones: str) -> SpfVerdict:
    """The verdict on a policy of a.example; other names as ``b_example="A 192.0.2.1; TXT ..."``."""
    others = {name.replace("_", "."): lines.split("; ") for name, lines in zones.items()}
    made = simple_zones({"a.example": [f"TXT v=spf1 {policy}", *others.pop("a.example", [])], **others})
    return (await check(made, ip)).verdict


@pytest.mark.parametrize(
    ("policy", "ip", "verdict"),
    [
        ("", V4, "neutral"),
        ("all", V4, "pass"),
        ("-all", V4, "fail"),
        ("~all", V4, "softfail"),
        ("?all", V4, "neutral"),
        ("ip4:192.0.2.0/24 -all", V4, "pass"),
        ("ip4:192.0.2.0/24 -all", V6, "fail"),
        ("ip4:192.0.2.0/24 -all", "::ffff:192.0.2.1", "pass"),
        ("ip6:::/0 -all", "::ffff:192.0.2.1", "fail"),
        ("ip6:2001:db8::/32 -all", V6, "pass"),
        ("a -all", V4, "pass"),
        ("a -all", V6, "pass"),
        ("a:b.example -all", V4, "fail"),
        ("a:b.example/24 -all", V4, "pass"),
        ("a:b.example/30 -all", V4, "pass"),
        ("a:b.example/31 -all", V4, "fail"),
        ("a:six.example//126 -all", V6, "pass"),
        ("a:six.example//127 -all", V6, "fail"),
        ("a:b.example//64 -all", V4, "fail"),
        ("a:b.example/24//64 -all", V6, "fail"),
        ("a:nobody.example/0 -all", V4, "fail"),
        ("mx -all", V4, "pass"),
        ("mx:b.example -all", V4, "fail"),
        ("mx:c.example -all", V4, "pass"),
        ("mx:c.example -all", V6, "fail"),
        ("mx:null.example/0 -all", V4, "fail"),
        ("ptr -all", V4, "pass"),
        ("ptr:example -all", V4, "permerror"),
        ("ptr:b.example -all", V4, "fail"),
        ("ptr -all", V6, "fail"),
        ("exists:b.example -all", V4, "pass"),
        ("exists:b.example -all", V6, "pass"),
        ("exists:six.example -all", V6, "fail"),
        ("exists:%{l}.%{o}.b.example -all", V4, "pass"),
        ("exists:%{p}.ok.example -all", V4, "pass"),
        ("include:pass.example -all", V4, "pass"),
        ("include:fail.example -all", V4, "fail"),
        ("-include:pass.example +all", V4, "fail"),
        ("include:softfail.example +all", V4, "pass"),
        ("include:nobody.example +all", V4, "permerror"),
        ("include:b.example +all", V4, "permerror"),
        ("include:broken.example +all", V4, "permerror"),
        ("include:silent.example +all", V4, "temperror"),
        ("a:silent.example +all", V4, "temperror"),
        ("mx:silent.example +all", V4, "temperror"),
        ("exists:silent.example +all", V4, "temperror"),
        ("redirect=softfail.example", V4, "softfail"),
        ("redirect=softfail.example ?all", V4, "neutral"),
        ("redirect=nobody.example", V4, "permerror"),
        ("redirect=silent.example", V4, "temperror"),
        ("redirect=%{l}..example", V4, "permerror"),
        ("a:%{l}..example -all", V4, "fail"),
    ],
)
async def test_verdicts(policy: str, ip: str, verdict: str) -> None:
    found = await verdict_of(
        policy,
        ip,
        a_example=f"A {V4}; AAAA {V6}; MX 10 out.a.example; MX 20 nobody.a.example",
        out_a_example=f"A {V4}",
        b_example="A 192.0.2.2",
        c_example="MX 20 out.a.example; MX 10 b.example",
        null_example="MX 0 ",
        six_example="AAAA 2001:db8::2",
        ann_a_example_b_example="A 127.0.0.2",
        out_a_example_ok_example="A 127.0.0.2",
        pass_example="TXT v=spf1 +all",
        fail_example="TXT v=spf1 -all",
        softfail_example="TXT v=spf1 ~all",
        broken_example="TXT v=spf1 moo",
        silent_example="TIMEOUT",
        **{"1_2_0_192_in-addr_arpa": "PTR elsewhere.example; PTR out.a.example."},
    )
    assert found == verdict


@pytest.mark.parametrize("domain", ["", "example", "[192.0.2.1]", "192.0.2.1", "a..example", f"{'a' * 64}.example"])
async def test_what_is_no_domain_has_no_policy(domain: str) -> None:
    zones = simple_zones({domain: ["TXT v=spf1 -all"]})
    result = await check_host(ip_address(V4), domain, "", domain, zones.look_up, receiver="", now=0)
    assert (result.verdict, zones.asked) == (SpfVerdict.NONE, [])


@pytest.mark.parametrize(
    ("sender", "said"),
    [
        ("ann@a.example", "ann@a.example ann a.example"),
        ("", "postmaster@a.example postmaster a.example"),
        ("@b.example", "postmaster@b.example postmaster b.example"),
        ("b.example", "postmaster@b.example postmaster b.example"),
        ('"x y"@b.example', '"x y"@b.example "x y" b.example'),
    ],
)
async def test_a_sender_without_local_part_is_the_postmaster(sender: str, said: str) -> None:
    zones = simple_zones({"a.example": ["TXT v=spf1 -all exp=exp.example"], "exp.example": ["TXT %{s} %{l} %{o}"]})
    result = await check_host(ip_address(V4), "a.example.", sender, "x", zones.look_up, receiver="", now=0)
    assert (result.domain, result.explanation) == ("a.example", said)


async def test_what_the_result_tells() -> None:
    zones = simple_zones(
        {
            "a.example": ["TXT v=spf1 ip4:198.51.100.1 redirect=b.example exp=unused.example"],
            "b.example": ["TXT v=spf1 include:c.example -ip4:192.0.2.0/24 exp=%{d}.exp.example"],
            "c.example": ["TXT v=spf1 -all exp=unused.example"],
            "b.example.exp.example": ["TXT No %{c} for %{d}. %{p} %{h} at %{r}, %{t}"],
        }
    )
    assert await check(zones) == SpfResult(
        verdict=SpfVerdict.FAIL,
        domain="a.example",
        mechanism="-ip4:192.0.2.0/24",
        explanation="No 192.0.2.1 for b.example. unknown mx.a.example at me.example, 1000000000",
    )
    zones.silent.add("c.example")
    zones.records["c.example"].clear()
    assert await check(zones) == SpfResult(
        verdict=SpfVerdict.TEMPERROR, domain="a.example", problem="c.example does not answer"
    )
    zones.silent.clear()
    zones.add_policy("c.example", "v=spf1 moo\x07")
    assert await check(zones) == SpfResult(
        verdict=SpfVerdict.PERMERROR, domain="a.example", problem="moo\\x07: unknown mechanism"
    )


@pytest.mark.parametrize("local", ["b\u00fc", "b\x1b"])
@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["TXT one", "TXT two"],
        ["TIMEOUT"],
        ["TXT %{x}"],
        ["TXT \xfc"],
        ["TXT tab\there"],
        [f"TXT {'x' * 513}"],
        ["TXT " + "%{s}" * 200],
        ["TXT %{l}"],
    ],
)
async def test_a_bad_explanation_is_none(texts: Sequence[str], local: str) -> None:
    zones = simple_zones({"a.example": ["TXT v=spf1 -all exp=exp.example"], "exp.example": texts})
    result = await check(zones, sender=f"{local}@a.example")
    assert (result.verdict, result.explanation) == (SpfVerdict.FAIL, "")


@pytest.mark.parametrize("verdict", ["~", "?", "+"])
async def test_only_a_fail_is_explained(verdict: str) -> None:
    zones = simple_zones({"a.example": [f"TXT v=spf1 {verdict}all exp=exp.example"], "exp.example": ["TXT why"]})
    assert (await check(zones)).explanation == ""
    assert len(zones.asked) == 1


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["z.example", "b.a.example", "A.example"], "A.example"),
        (["z.example", "b.a.example"], "b.a.example"),
        (["z.example"], "z.example"),
        (["other.example", "silent.example"], "unknown"),
        (["silent.example", "z.example"], "z.example"),
        ([], "unknown"),
    ],
)
async def test_which_confirmed_name_is_said(names: list[str], said: str) -> None:
    zones = simple_zones(
        {
            "a.example": ["TXT v=spf1 -all exp=exp.example", f"A {V4}"],
            "exp.example": ["TXT %{p}"],
            "1.2.0.192.in-addr.arpa": [f"PTR {name}" for name in names],
            "z.example": [f"A {V4}"],
            "b.a.example": [f"A {V4}"],
            "other.example": ["A 192.0.2.9"],
            "silent.example": ["TIMEOUT"],
        }
    )
    assert (await check(zones)).explanation == said


async def test_trouble_with_the_clients_names_is_no_match() -> None:
    zones = simple_zones(
        {"a.example": ["TXT v=spf1 ptr ptr:b.example -all"], "1.2.0.192.in-addr.arpa": ["TIMEOUT"]},
    )
    assert (await check(zones)).verdict is SpfVerdict.FAIL
    assert zones.asked.count(("1.2.0.192.in-addr.arpa", RecordType.PTR)) == 1


async def test_ten_names_of_the_client_count() -> None:
    names = [f"{number}.a.example" for number in range(11)]
    zones = simple_zones({"a.example": ["TXT v=spf1 ptr -all"], "1.2.0.192.in-addr.arpa": [f"PTR {n}" for n in names]})
    zones.add(names[10], RecordType.A, IPv4Address(V4))
    assert (await check(zones)).verdict is SpfVerdict.FAIL
    zones.add(names[9], RecordType.A, IPv4Address(V4))
    assert (await check(zones)).verdict is SpfVerdict.PASS


async def test_records_of_another_kind_are_passed_over() -> None:
    """A look-up function that mixes things in does no harm."""

    async def lookup(name: str, record_type: RecordType) -> Sequence[Record]:
        texts = [b"v=spf1 mx a -all"] if name == "a.example" and record_type is RecordType.TXT else []
        return [ip_address(V6), "a name", *texts]

    result = await check_host(ip_address(V4), "a.example", "ann@a.example", "h", lookup, receiver="", now=0)
    assert result.verdict is SpfVerdict.FAIL


async def test_a_local_part_beyond_ascii_is_never_asked_for() -> None:
    zones = simple_zones({"a.example": ["TXT v=spf1 exists:%{l}.b.example -all"]})
    assert (await check(zones, sender="j\u00fcrgen@a.example")).verdict is SpfVerdict.FAIL
    assert len(zones.asked) == 1


async def test_a_long_name_is_asked_for_without_its_left_end() -> None:
    zones = simple_zones({"a.example": ["TXT v=spf1 exists:" + "%{d}." * 30 + "b.example -all"]})
    await check(zones)
    name, _ = zones.asked[1]
    assert name == "a.example." * 24 + "b.example"
    assert 253 - len("example.") <= len(name) + len("example.") <= 253 + len("a.example.")
