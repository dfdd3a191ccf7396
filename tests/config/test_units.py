"""How durations, sizes, rates and addresses are written."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsproxy.config.units import (
    InheritedSocket,
    Rate,
    TcpAddress,
    UnixAddress,
    format_duration,
    format_size,
    parse_backend,
    parse_bind,
    parse_duration,
    parse_rate,
    parse_size,
)

_LONGEST_MS = 30 * 24 * 3_600_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10),
        ("1m", 60),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1m30s", 90),
        ("1s500ms", 1.5),
        ("0s", 0),
        ("90m", 5400),
        ("720h", 30 * 86400),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10", 'a unit is missing; write "10s" for seconds or "10m" for minutes'),
        ("", 'write a duration as "500ms", "10s", "5m" or "1h30m"'),
        ("5 minutes", 'write a duration as "500ms", "10s", "5m" or "1h30m"'),
        ("1.5s", 'write a duration as "500ms", "10s", "5m" or "1h30m"'),
        ("30m1h", 'write a duration as "500ms", "10s", "5m" or "1h30m"'),
        ("-1s", 'write a duration as "500ms", "10s", "5m" or "1h30m"'),
        ("\u0661s", 'write a duration as "500ms", "10s", "5m" or "1h30m"'),
        ("721h", 'too long; at most "720h" (30 days)'),
    ],
)
def test_other_durations_are_refused(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"^\S") as caught:
        parse_duration(text)
    assert str(caught.value) == hint


@given(st.integers(0, _LONGEST_MS))
@example(_LONGEST_MS)
def test_durations_come_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512B", 512),
        ("512", 512),
        ("64KiB", 65536),
        ("64kib", 65536),
        ("25M", 25_000_000),
        ("25MB", 25_000_000),
        ("1 MiB", 1 << 20),
        ("2GiB", 2 << 30),
        ("3k", 3000),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1.5MB", "-1B", "64 kibibytes", "1TB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'^write a size as "512B", "64KiB" or "25MB"$'):
        parse_size(text)


@given(st.integers(0, 1 << 39))
def test_sizes_come_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("120/1m", Rate(120, 60)),
        ("120/m", Rate(120, 60)),
        ("5 / 500ms", Rate(5, 0.5)),
        ("1/1h30m", Rate(1, 5400)),
    ],
)
def test_rates_are_read(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("120", 'write a rate as "120/1m" (120 in one minute), or "none" for unlimited'),
        ("0/1m", 'nobody could connect; write a rate as "120/1m", or "none" for unlimited'),
        ("5/0s", 'nobody could connect; write a rate as "120/1m", or "none" for unlimited'),
        ("5/10", 'the time behind the "/": a unit is missing; write "10s" for seconds or "10m" for minutes'),
        ("5/minute", 'the time behind the "/": write a duration as "500ms", "10s", "5m" or "1h30m"'),
    ],
)
def test_other_rates_are_refused(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"^\S") as caught:
        parse_rate(text)
    assert str(caught.value) == hint


@given(st.integers(1, 999_999_999), st.integers(1, _LONGEST_MS))
def test_rates_come_back(count: int, milliseconds: int) -> None:
    rate = Rate(count, milliseconds / 1000)
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1:993", TcpAddress("192.0.2.1", 993)),
        ("[::]:993", TcpAddress("::", 993)),
        ("[2001:DB8:0::1]:1", TcpAddress("2001:db8::1", 1)),
        ("[fe80::1%eth0]:993", TcpAddress("fe80::1%eth0", 993)),
        ("localhost:0", TcpAddress("localhost", 0)),
        ("mail-1.example.org.:65535", TcpAddress("mail-1.example.org.", 65535)),
        ("fd:imaps", InheritedSocket("imaps")),
    ],
)
def test_addresses_to_listen_on_are_read(text: str, address: object) -> None:
    assert parse_bind(text) == address


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", 'write an address as "127.0.0.1:143"'),
        ("143", 'the host is missing; write "127.0.0.1:143", or "0.0.0.0:143" for every IPv4 address'),
        ("192.0.2.1", 'the port is missing; write "192.0.2.1:143"'),
        (":143", '"" is no host; write an address or a name before the ":"'),
        ("*:143", 'write two addresses: "0.0.0.0:143" for IPv4 and "[::]:143" for IPv6'),
        ("::1:143", 'an IPv6 address stands in brackets; write "[::1]:143"'),
        ("[::g]:143", 'what stands in "[ ]" is no IPv6 address'),
        ("256.0.0.1:143", '"256.0.0.1" is no IPv4 address; write four numbers from 0 to 255, as 192.0.2.1'),
        ("a b:143", '"a b" is no host; write an address or a name before the ":"'),
        ("host:imap", 'what stands behind the last ":" must be a port, 0 to 65535'),
        ("host:65536", "the port must be 0 to 65535"),
        ("unix:/s", 'mail clients come over TCP; write "0.0.0.0:993", or "fd:NAME" for a socket of systemd'),
        ("fd:", 'write "fd:NAME" with the FileDescriptorName= of the systemd socket unit'),
        ("fd:a/b", 'write "fd:NAME" with the FileDescriptorName= of the systemd socket unit'),
    ],
)
def test_other_addresses_to_listen_on_are_refused(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"^\S") as caught:
        parse_bind(text)
    assert str(caught.value) == hint


def test_backends_are_read() -> None:
    assert parse_backend("127.0.0.1:1143") == TcpAddress("127.0.0.1", 1143)
    assert parse_backend("unix:/run/imap.sock") == UnixAddress("/run/imap.sock")
    assert parse_backend("unix:" + "x" * 107) == UnixAddress("x" * 107)


@pytest.mark.parametrize("text", ["unix:", "unix:" + "x" * 108, "unix:a\0b"])
def test_paths_that_no_socket_can_have_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'^write "unix:/path" with a path of 1 to 107 bytes$'):
        parse_backend(text)


def test_a_backend_needs_a_port_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"^the port must be 1 to 65535$"):
        parse_backend("host:0")


@given(st.ip_addresses().map(str), st.integers(0, 65535))
def test_tcp_addresses_come_back(host: str, port: int) -> None:
    address = TcpAddress(host, port)
    assert parse_bind(str(address)) == address
    assert address.ip == ipaddress.ip_address(host)


@given(st.text())
def test_any_text_is_a_value_or_a_hint(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_rate, parse_bind, parse_backend):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - either is right
