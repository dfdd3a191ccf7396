"""Lines of a client, and what is no line of a mail client."""

import pytest

from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.syntax import Command, is_foreign, parse_command, parse_domain, parse_hello


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"ehlo a.example", b"EHLO", b"a.example"),
        (b"MAIL FROM:<a@b> SIZE=1 ", b"MAIL", b"FROM:<a@b> SIZE=1"),
        (b"QUIT", b"QUIT", b""),
        (b"NOOP \t ", b"NOOP", b""),
        (b"RCPT\tTO:<a@b>", b"RCPT", b"TO:<a@b>"),
    ],
)
def test_command(line: bytes, verb: bytes, argument: bytes) -> None:
    assert parse_command(line) == Command(verb, argument)


@pytest.mark.parametrize("line", [b"", b" QUIT", b"QU\xc3\x8fT", b"*", b"\x16\x03\x01", b"a:b", b"1A"])
def test_no_command(line: bytes) -> None:
    assert parse_command(line) is None


def test_an_argument_is_not_in_a_repr() -> None:
    assert "secret" not in repr(parse_command(b"AUTH PLAIN secret"))


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1", b"post /", b"CONNECT a:25 HTTP/1.1", b"Host: a", b"Subject:", b"x-y:z"]
)
def test_foreign(line: bytes) -> None:
    assert is_foreign(line)


@pytest.mark.parametrize("line", [b"EHLO a", b"MAIL FROM:<a@b>", b"GETTING", b"", b"a b: c"])
def test_not_foreign(line: bytes) -> None:
    assert not is_foreign(line)


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        (b"mail.example.org", b"mail.example.org"),
        (b"mail.example.org.", b"mail.example.org"),
        (b"DESKTOP_3507-CDS", b"DESKTOP_3507-CDS"),
        (b"10.1.2.3", b"10.1.2.3"),
        (b"[10.1.2.3]", b"[10.1.2.3]"),
        (b"[ipv6:2001:DB8:0::1]", b"[IPv6:2001:db8::1]"),
        (b"[2001:db8::1]", b"[IPv6:2001:db8::1]"),
        (b"a" * 63, b"a" * 63),
    ],
)
def test_hello(argument: bytes, name: bytes) -> None:
    assert parse_hello(argument) == name


@pytest.mark.parametrize(
    "argument",
    [
        *(b"", b".", b"a..b", b"a b", b"[10.1.2]", b"[10.1.2.300]", b"[10.01.2.3]", b"[]", b"[IPv6:1:2]", b"[a]"),
        *(b"a@b", b"<a>", b"\xc3\xa9.example", b"\xff", b"a" * 64, b"a." * 130 + b"a", b"a\nb", b"[fe80::1%eth0]"),
        *(b"[IPv6:10.1.2.3]", b"a/b", b"*"),
    ],
)
def test_no_hello(argument: bytes) -> None:
    said = parse_hello(argument)
    assert isinstance(said, Reply)
    assert said.encode() == b"501 5.5.4 EHLO needs a host name or an address literal\r\n"


def test_a_domain_may_be_in_utf8() -> None:
    assert parse_domain("bücher.example".encode()) == "bücher.example".encode()
    assert parse_domain(b"b\xfccher.example") is None
    assert parse_domain(b"\xc2\x85.example") is None


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        (b"M\xfcller PC", b"M-ller-PC"),
        (b"[fe80::1%eth0]", b"-fe80-1-eth0-"),
        (b"<pc>", b"-pc-"),
        ("Jürgen".encode(), b"J-rgen"),
        (b"pc.example", b"pc.example"),
        (b"[10.1.2.3]", b"[10.1.2.3]"),
    ],
)
def test_a_users_computer_may_have_any_name(argument: bytes, name: bytes) -> None:
    assert parse_hello(argument, is_tolerant=True) == name


@pytest.mark.parametrize("argument", [b"", b"..", b"a" * 64])
def test_but_it_must_have_one(argument: bytes) -> None:
    assert isinstance(parse_hello(argument, is_tolerant=True), Reply)
