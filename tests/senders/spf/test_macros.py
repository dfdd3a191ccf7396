"""The macro language: the RFC's own examples, and texts that stand for more than anybody wants."""

from collections.abc import Mapping
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.senders.spf.domains import NAME_LIMIT, fit, is_askable, is_domain, is_within
from tlsproxy.senders.spf.macros import expand, has_letter, macro_values, parse_macros


def values(**changed: str) -> Mapping[str, str]:
    """RFC 7208 §7.4: the sender is strong-bad@email.example.com at 192.0.2.3."""
    asked = {
        "ip": "192.0.2.3",
        "domain": "email.example.com",
        "sender": "strong-bad@email.example.com",
        "helo": "mx.example.org",
        "receiver": "mx.example.net",
        "ptr_name": "unknown",
    } | changed
    return macro_values(ip=ip_address(asked.pop("ip")), now=1234567890.9, **asked)


def expanded(text: str, **changed: str) -> str:
    return expand(parse_macros(text, is_explanation=True), values(**changed), 1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
    ],
)
def test_the_examples_of_the_rfc(text: str, expected: str) -> None:
    assert expanded(text) == expected


def test_the_ipv6_example_of_the_rfc() -> None:
    expected = "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com"
    assert expanded("%{ir}.%{v}._spf.%{d2}", ip="2001:db8::cb01") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%{c} %{r} %{t} %{h} %{p}", "192.0.2.3 mx.example.net 1234567890 mx.example.org unknown"),
        ("%{L}%{S}", "strong-badstrong-bad%40email.example.com"),
        ("%{D2R}", "example.email"),
        ("100%%%_%-.", "100% %20."),
        ("%{d9999999999}%{d0002}", "email.example.comexample.com"),
        ("", ""),
        ("no macro  at all", "no macro  at all"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expanded(text) == expected


def test_expansion_of_oddities() -> None:
    assert expanded("%{c}", ip="2001:DB8:0::1") == "2001:db8::1"
    assert expanded("%{r}", receiver="") == "unknown"
    assert expanded("%{l}|%{o}", sender='"a@b"@c.example') == '"a@b"|c.example'
    assert expanded("%{L}", sender="ü&x/~@c.example") == "%C3%BC%26x%2F~"
    assert expanded("%{l2+-}", sender="a-b+c@c.example") == "b.c"


def test_p_is_seen() -> None:
    assert has_letter(parse_macros("a%{P}"), "p")
    assert not has_letter(parse_macros("p%{d}"), "p")


def test_no_more_is_expanded_than_enough() -> None:
    text = parse_macros("%{s}" * 2000)
    found = expand(text, values(sender=f"{'x' * 2000}@a.example"), 253)
    assert 253 < len(found) < 2300
    assert found.endswith("x@a.example")


@given(st.lists(st.sampled_from(["a", "bc", ".", "%{d}", "%{l}", "%{d1}", "%%"]), max_size=60), st.integers(0, 300))
def test_the_right_end_is_exact(parts: list[str], enough: int) -> None:
    text = parse_macros("".join(parts))
    whole = expand(text, values(), 100_000)
    part = expand(text, values(), enough)
    assert part == whole if len(part) <= enough else whole.endswith(part)
    assert fit(expand(text, values(), NAME_LIMIT + 1)) == fit(whole)


def test_a_long_name_loses_labels_on_the_left() -> None:
    assert fit("a.example.") == "a.example"
    label = "a" * 60
    assert fit(f"{label}." * 4 + "b.example") == f"{label}." * 4 + "b.example"  # 253
    assert fit(f"{label}." * 4 + "bc.example") == f"{label}." * 3 + "bc.example"
    assert fit(f"{label}." * 9 + "b.example.") == f"{label}." * 4 + "b.example"
    assert fit("a" * 254) == ""


@pytest.mark.parametrize(
    ("name", "is_host", "can_be_asked"),
    [
        ("a.example", True, True),
        ("_spf.a-b.example", True, True),
        ("example", False, True),
        ("", False, False),
        ("a..example", False, False),
        (".example", False, False),
        (f"{'a' * 63}.example", True, True),
        (f"{'a' * 64}.example", False, False),
        (f"{'a.' * 123}example", True, True),
        (f"{'a.' * 124}example", False, False),
        ("192.0.2.1", False, True),
        ("[192.0.2.1]", False, True),
        ("foo:bar/b z.example", False, True),
        ("a\x00.example", False, False),
        ("ü.example", False, False),
    ],
)
def test_names(name: str, is_host: bool, can_be_asked: bool) -> None:  # noqa: FBT001 - a table's columns
    assert (is_domain(name), is_askable(name)) == (is_host, can_be_asked)


def test_names_below_names() -> None:
    assert is_within("A.Example", "example")
    assert is_within("a.example", "A.EXAMPLE")
    assert not is_within("ba.example", "a.example")
    assert not is_within("example", "a.example")
