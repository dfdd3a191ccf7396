"""The syntax of policies: what is right, and what makes the whole record wrong."""

from ipaddress import ip_network

import pytest

from tlsproxy.senders.spf.macros import Macro
from tlsproxy.senders.spf.record import find_policy, parse_policy
from tlsproxy.senders.spf.result import BrokenPolicyError, SpfVerdict
from tlsproxy.senders.spf.terms import All, Exists, Hosts, Include, Mechanism, Network, Ptr

D = Macro("d", 0, False, "", False)  # noqa: FBT003 - as short as it is in a record


def mechanism(term: str) -> Mechanism:
    (directive,) = parse_policy(f"v=spf1 {term}".encode()).directives
    assert directive.verdict is SpfVerdict.PASS
    return directive.mechanism


@pytest.mark.parametrize(
    ("texts", "is_found"),
    [
        ([], False),
        ([b"v=spf1"], True),
        ([b"v=spf1 "], True),
        ([b"V=SPF1 -all"], True),
        ([b"v=spf10 -all"], False),
        ([b"v=spf1\t-all"], False),
        ([b" v=spf1 -all"], False),
        ([b"v=spf2.0/pra -all"], False),
        ([b"\xff", b"v=spf1 -all", b""], True),
    ],
)
def test_which_text_is_a_policy(texts: list[bytes], is_found: bool) -> None:  # noqa: FBT001 - a table's column
    assert (find_policy(texts) is not None) == is_found


def test_there_is_one_policy_at_most() -> None:
    with pytest.raises(BrokenPolicyError, match="more than one record"):
        find_policy([b"v=spf1 -all", b"x", b"v=spf1 -all"])


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("all", All()),
        ("ALL", All()),
        ("include:a.example", Include(("a.example",))),
        ("exists:%{d}", Exists((D,))),
        ("ptr", Ptr(None)),
        ("ptr:a.example.", Ptr(("a.example.",))),
        ("a", Hosts(None, 32, 128, is_mx=False)),
        ("mx", Hosts(None, 32, 128, is_mx=True)),
        ("a/0", Hosts(None, 0, 128, is_mx=False)),
        ("a//0", Hosts(None, 32, 0, is_mx=False)),
        ("mx/24//64", Hosts(None, 24, 64, is_mx=True)),
        ("a:%{d}/24//64", Hosts((D,), 24, 64, is_mx=False)),
        ("a:foo:bar/baz.example", Hosts(("foo:bar/baz.example",), 32, 128, is_mx=False)),
        ("a:foo/24.example/24", Hosts(("foo/24.example",), 24, 128, is_mx=False)),
        ("ip4:192.0.2.1", Network(ip_network("192.0.2.1/32"))),
        ("ip4:192.0.2.1/24", Network(ip_network("192.0.2.0/24"))),
        ("ip6:2001:db8::1", Network(ip_network("2001:db8::1/128"))),
        ("IP6:2001:DB8::1/32", Network(ip_network("2001:db8::/32"))),
        ("ip6:::ffff:192.0.2.1/96", Network(ip_network("::ffff:0:0/96"))),
    ],
)
def test_mechanisms(term: str, expected: Mechanism) -> None:
    assert mechanism(term) == expected


def test_qualifiers_and_order() -> None:
    policy = parse_policy(b"v=spf1  +a -mx  ~ptr ?all ")
    assert [(directive.verdict, directive.text) for directive in policy.directives] == [
        (SpfVerdict.PASS, "+a"),
        (SpfVerdict.FAIL, "-mx"),
        (SpfVerdict.SOFTFAIL, "~ptr"),
        (SpfVerdict.NEUTRAL, "?all"),
    ]


def test_modifiers() -> None:
    policy = parse_policy(b"v=spf1 REDIRECT=a.example op=x exp=%{d} default= x.y-z_1=%{s}:/%%%_%- a=b")
    assert (policy.redirect, policy.explanation) == (("a.example",), (D,))
    assert policy.directives == ()


@pytest.mark.parametrize(
    ("term", "why"),
    [
        ("moo", "moo: unknown mechanism"),
        ("moo:a.example", "unknown mechanism"),
        ("-", "unknown mechanism"),
        ("+-all", "unknown mechanism"),
        ("=all", "unknown mechanism"),
        ("1up=foo", "unknown mechanism"),
        ("a\ta", "unknown mechanism"),
        ("redirect:a.example", "unknown mechanism"),
        ("all.", "unknown mechanism"),
        ("all:a.example", "takes no argument"),
        ("all/8", "takes no argument"),
        ("include", "argument is missing"),
        ("include/24", "argument is missing"),
        ("include:", "domain is missing"),
        ("include:a.example/24", "is no domain"),
        ("exists", "argument is missing"),
        ("exists:", "domain is missing"),
        ("ptr/0", "argument is missing"),
        ("ptr:", "domain is missing"),
        ("a:", "domain is missing"),
        ("a:/24", "domain is missing"),
        ("a/", "argument is missing"),
        ("a//", "argument is missing"),
        ("a/x", "argument is missing"),
        ("a/24/64", "argument is missing"),
        ("a///64", "argument is missing"),
        ("a:a.example/24/64", "is no domain"),
        ("a:a.example//", "is no domain"),
        ("a/33", "bad prefix length 33"),
        ("a//129", "bad prefix length 129"),
        ("a/032", "bad prefix length 032"),
        ("a/" + "9" * 5000, "bad prefix length 999"),
        ("ip4", "argument is missing"),
        ("ip4:", "no IPv4 address"),
        ("ip4:1.2.3", "no IPv4 address"),
        ("ip4:1.2.3.04", "no IPv4 address"),
        ("ip4:1.2.3.4:25", "no IPv4 address"),
        ("ip4:::1", "no IPv4 address"),
        ("ip4:1.2.3.4/", "bad prefix length"),
        ("ip4:1.2.3.4/33", "bad prefix length"),
        ("ip4:1.2.3.4/ 2", "bad prefix length"),
        ("ip4:1.2.3.4//32", "bad prefix length"),
        ("ip4:1.2.3.4/+8", "bad prefix length"),
        ("ip6", "argument is missing"),
        ("ip6:1.2.3.4", "no IPv6 address"),
        ("ip6:fe80::1%eth0", "no IPv6 address"),
        ("ip6::a::b", "no IPv6 address"),
        ("ip6:::1/129", "bad prefix length"),
        ("a:museum", "museum is no domain"),
        ("a:museum.", "is no domain"),
        ("a:abc.123", "is no domain"),
        ("a:1.2.3.4", "is no domain"),
        ("a:a.example..", "is no domain"),
        ("a:a.-example", "is no domain"),
        ("a:a.example-", "is no domain"),
        ("a:%{d}example", "is no domain"),
        ("a:%{x}.example", "bad character or macro"),
        ("a:%(d).example", "bad character or macro"),
        ("a:100%.example", "bad character or macro"),
        ("a:a.example\x00", "bad character or macro"),
        ("a:%{d", "bad character or macro"),
        ("a:%{d1x}", "bad character or macro"),
        ("a:%{d0}", "macro %{d0} keeps no part"),
        ("a:%{d00}", "keeps no part"),
        ("exp=%{c}", "macro %{c} is for explanations only"),
        ("exp=%{R}", "for explanations only"),
        ("exp=%{t}", "for explanations only"),
        ("x=%{t}", "for explanations only"),
        ("x=%x", "bad character or macro"),
        ("exp=", "domain is missing"),
        ("exp=-all", "is no domain"),
        ("redirect=", "domain is missing"),
        ("redirect=a.example redirect=b.example", "redirect occurs twice"),
        ("exp=a.example EXP=a.example", "exp occurs twice"),
    ],
)
def test_a_mistake_breaks_the_whole_record(term: str, why: str) -> None:
    for record in (f"v=spf1 {term}", f"v=spf1 +all {term} -all"):
        with pytest.raises(BrokenPolicyError) as error:
            parse_policy(record.encode())
        assert why in str(error.value)
        assert len(str(error.value)) < 130


def test_what_no_record_is() -> None:
    with pytest.raises(BrokenPolicyError, match="record is not ASCII"):
        parse_policy("v=spf1 a:ü.example".encode())
    with pytest.raises(BrokenPolicyError, match="record is too long"):
        parse_policy(b"v=spf1 " + b"a " * 4096)


@pytest.mark.parametrize("tail", ["%{d}", "%%", "%_", "%-", ".example", ".xn--p1ai", ".a-1", ".1a", ".e", "%{d}.e."])
def test_a_domain_ends_in_a_macro_or_a_top_label(tail: str) -> None:
    assert mechanism(f"exists:a{tail}") is not None
