"""Who skips the checks, and which recipients are ours."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.senders.local import ExemptRecipients, KnownClients, LocalDomains, Recipients, Skip, domain_name

KNOWN = KnownClients(
    exempt=(ip_network("198.51.100.0/24"), ip_network("10.1.0.0/16")),
    forwarders=(ip_network("203.0.113.0/24"),),
    forwarder_names=(".Forward.example", "list.example."),
)


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("127.0.0.1", Skip.PRIVATE),
        ("10.0.0.1", Skip.PRIVATE),
        ("172.31.255.255", Skip.PRIVATE),
        ("172.32.0.0", None),
        ("192.168.224.1", Skip.PRIVATE),
        ("169.254.1.1", Skip.PRIVATE),
        ("100.64.0.1", Skip.PRIVATE),
        ("100.128.0.1", None),
        ("::1", Skip.PRIVATE),
        ("fe80::1", Skip.PRIVATE),
        ("fd00::1", Skip.PRIVATE),
        ("2001:db8::1", None),
        ("192.0.2.1", None),
        ("198.51.100.9", Skip.EXEMPT),
        ("10.1.2.3", Skip.EXEMPT),
        ("203.0.113.9", None),
    ],
)
def test_who_is_not_checked(ip: str, expected: Skip | None) -> None:
    assert KNOWN.skip(ip_address(ip)) is expected


@pytest.mark.parametrize(
    ("ip", "names", "expected"),
    [
        ("203.0.113.9", (), True),
        ("192.0.2.1", (), False),
        ("192.0.2.1", ("mx.forward.example",), True),
        ("192.0.2.1", ("forward.example",), True),
        ("192.0.2.1", ("a.example", "b.list.example"), True),
        ("192.0.2.1", ("evilforward.example",), False),
        ("192.0.2.1", ("forward.example.evil.example",), False),
    ],
)
def test_who_is_a_forwarder(ip: str, names: tuple[str, ...], *, expected: bool) -> None:
    assert KNOWN.is_forwarder(ip_address(ip), names) is expected


OURS = Recipients(
    domains=LocalDomains.read(
        ["Example.org", ".sub.example", "*.wild.example", "bücher.example", "strasse.example", "intern", "[192.0.2.1]"]
    ),
    exempt=ExemptRecipients.read(
        ["Postmaster", "abuse", "Help@Example.ORG", "help@a.sub.example", "x@elsewhere.example"]
    ),
)


@pytest.mark.parametrize(
    ("address", "is_local", "is_exempt"),
    [
        (b"anna@example.org", True, False),
        (b"anna@EXAMPLE.ORG.", True, False),
        (b"anna@www.example.org", False, False),
        (b"anna@xexample.org", False, False),
        (b"anna@sub.example", False, False),
        (b"anna@a.sub.example", True, False),
        (b"anna@b.a.Sub.Example", True, False),
        (b"anna@asub.example", False, False),
        (b"anna@a.wild.example", True, False),
        (b"anna@wild.example", False, False),
        (b"anna@xn--bcher-kva.example", True, False),
        (b"anna@XN--BCHER-KVA.example", True, False),
        ("anna@bücher.example".encode(), True, False),
        ("anna@BÜCHER.example".encode(), True, False),
        (b"anna@b\xfccher.example", False, False),
        (b"anna@strasse.example", True, False),
        ("anna@straße.example".encode(), False, False),
        ("anna@\uff45xample.org".encode(), False, False),
        ("anna@example\u3002org".encode(), False, False),
        ("anna@ex\u00adample.org".encode(), False, False),
        ("anna@example\u200d.org".encode(), False, False),
        ("anna@bu\u0308cher.example".encode(), False, False),
        (b"anna@intern", True, False),
        (b"anna@[192.0.2.1]", True, False),
        (b"anna@[192.0.2.2]", False, False),
        (b"anna@" + b"a." * 150 + b"sub.example", False, False),
        (b"anna@.sub.example", False, False),
        (b"postmaster@", True, True),
        (b"POSTMASTER@", True, True),
        (b"anna@", False, False),
        (b"abuse@", False, False),
        (b"PostMaster@example.org", True, True),
        (b"abuse@a.sub.example", True, True),
        (b"abuse@elsewhere.example", False, False),
        (b"HELP@example.org", True, True),
        (b"help@A.SUB.example", True, True),
        (b"help@b.sub.example", True, False),
        (b"x@elsewhere.example", False, False),
    ],
)
def test_recipients(address: bytes, *, is_local: bool, is_exempt: bool) -> None:
    local, _, domain = address.rpartition(b"@")
    assert OURS.is_local(local, domain) is is_local
    assert OURS.is_exempt(local, domain) is is_exempt


@pytest.mark.parametrize(
    "value", ["", ".", "*", "*.", "a..b", "*.*.example", "a b.example", "a@b.example", "-", "x" * 64]
)
def test_what_is_no_domain(value: str) -> None:
    with pytest.raises(ValueError, match="no domain name"):
        LocalDomains.read([value])


@pytest.mark.parametrize("value", ["", "@", "@example.org", "a@", "a@b c"])
def test_what_is_no_recipient(value: str) -> None:
    with pytest.raises(ValueError, match="neither a local part nor an address"):
        ExemptRecipients.read([value])


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_recipient_is_judged(local: bytes, domain: bytes) -> None:
    if OURS.is_exempt(local, domain):
        assert OURS.is_local(local, domain)


@given(st.text(max_size=300))
def test_a_domain_name_is_its_own(text: str) -> None:
    name = domain_name(text)
    assert name.isascii()
    assert domain_name(name) == name
