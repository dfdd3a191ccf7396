"""PROXY headers, octet by octet as HAProxy's specification has them."""

import pytest

from tlsproxy.core.addresses import Peer, peer_from
from tlsproxy.protocols.proxy_header import LOCAL_V1, LOCAL_V2, proxy_v1, proxy_v2

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
IPV4 = peer_from("192.0.2.7", 56324), peer_from("203.0.113.1", 443)
IPV6 = peer_from("2001:db8::7", 1), peer_from("::1", 65535)


def test_version_1() -> None:
    assert proxy_v1(*IPV4) == b"PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r\n"
    assert proxy_v1(*IPV6) == b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n"


def test_version_2() -> None:
    ipv4 = b"\x21\x11\x00\x0c" + b"\xc0\x00\x02\x07" + b"\xcb\x00\x71\x01" + b"\xdc\x04" + b"\x01\xbb"
    assert proxy_v2(*IPV4) == SIGNATURE + ipv4
    source, destination = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x07", bytes(15) + b"\x01"
    assert proxy_v2(*IPV6) == SIGNATURE + b"\x21\x21\x00\x24" + source + destination + b"\x00\x01" + b"\xff\xff"


@pytest.mark.parametrize(("source", "destination"), [(IPV4[0], IPV6[1]), (IPV6[0], IPV4[1])])
def test_addresses_of_two_families_cannot_be_told(source: Peer, destination: Peer) -> None:
    assert proxy_v1(source, destination) == b"PROXY UNKNOWN\r\n"
    assert proxy_v2(source, destination) == SIGNATURE + b"\x21\x00\x00\x00"


def test_an_ipv4_mapped_address_is_an_ipv4_one() -> None:
    assert proxy_v1(peer_from("::ffff:192.0.2.7", 56324), IPV4[1]) == proxy_v1(*IPV4)


def test_the_longest_line_of_version_1_fits() -> None:
    longest = peer_from("1111:2222:3333:4444:5555:6666:7777:8888", 65535)
    assert len(proxy_v1(longest, longest)) <= 107, "section 2.1: a receiver need not read more"


def test_a_connection_of_our_own() -> None:
    assert LOCAL_V1 == b"PROXY TCP4 127.0.0.1 127.0.0.1 25 25\r\n", "Postfix does not understand UNKNOWN"
    assert LOCAL_V2 == SIGNATURE + b"\x20\x00\x00\x00"
