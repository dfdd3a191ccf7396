"""What counts as one client."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.addresses import is_within, peer_from


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("192.0.2.1", "192.0.2.1:5"),
        ("::ffff:192.0.2.1", "192.0.2.1:5"),
        ("2001:DB8::1", "[2001:db8::1]:5"),
        ("fe80::1%eth0", "[fe80::1]:5"),
        ("::1", "[::1]:5"),
    ],
)
def test_peer_is_written_as_in_a_url(host: str, text: str) -> None:
    assert str(peer_from(host, 5)) == text


@pytest.mark.parametrize("host", ["", "localhost", "1.2.3", "%eth0", "::1::", "192.0.2.1 "])
def test_what_is_no_numeric_address_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        peer_from(host, 5)


def test_key_is_the_address_or_its_64() -> None:
    assert peer_from("192.0.2.1", 5).key == bytes([192, 0, 2, 1])
    assert peer_from("2001:db8:1:2:3:4:5:6", 5).key == bytes.fromhex("20010db800010002")


def test_port_is_no_part_of_the_key() -> None:
    assert peer_from("192.0.2.1", 5).key == peer_from("192.0.2.1", 6).key


@given(first=st.ip_addresses(v=6), second=st.ip_addresses(v=6))
def test_ipv6_keys_are_equal_within_a_64_only(first: IPv6Address, second: IPv6Address) -> None:
    peers = peer_from(str(first), 1), peer_from(str(second), 1)
    if not any(peer.ip.version == 4 for peer in peers):
        assert (peers[0].key == peers[1].key) is (int(first) >> 64 == int(second) >> 64)


@given(ip=st.ip_addresses(v=4))
def test_mapped_is_the_same_client(ip: IPv4Address) -> None:
    assert peer_from(f"::ffff:{ip}", 1) == peer_from(str(ip), 1)


def test_networks_hold_addresses_of_their_own_version() -> None:
    networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    assert is_within(ip_address("192.0.2.200"), networks)
    assert is_within(ip_address("2001:db8:ffff::1"), networks)
    assert not is_within(ip_address("192.0.3.1"), networks)
    assert not is_within(ip_address("::ffff:192.0.2.1"), networks)
    assert not is_within(ip_address("192.0.2.1"), ())
