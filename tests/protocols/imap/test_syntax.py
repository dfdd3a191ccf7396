"""Words: what is a command line, a literal, a token, and what is nonsense from its first bytes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.protocols.imap.syntax import (
    Literal,
    Token,
    TokenKind,
    is_nonsense,
    parse_command,
    quoted,
    split_literal,
    tag_of,
    tokens,
)


@pytest.mark.parametrize(
    ("line", "tag", "name", "rest"),
    [
        (b"a1 noop", b"a1", b"NOOP", b""),
        (b"]<>.=~}| LOGIN  x", b"]<>.=~}|", b"LOGIN", b"  x"),
        (b"a LOGIN joe \x00\xff", b"a", b"LOGIN", b" joe \x00\xff"),
        (b"a" * 64 + b" " + b"X" * 32, b"a" * 64, b"X" * 32, b""),
    ],
)
def test_command(line: bytes, tag: bytes, name: bytes, rest: bytes) -> None:
    assert parse_command(line) == (tag, name, rest)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"a",
        b"a ",
        b" NOOP",
        b"a  NOOP",
        b"a NOOP\t",
        b"a NO2P",
        b"a NOOP\xff",
        b"* OK",
        b"+ OK",
        b"a%b NOOP",
        b'a"b NOOP',
        b"a\\b NOOP",
        b"a(b NOOP",
        b"a{b NOOP",
        b"a\x7fb NOOP",
        b"a" * 65 + b" NOOP",
        b"a " + b"X" * 33,
    ],
)
def test_no_command(line: bytes) -> None:
    assert parse_command(line) is None


@pytest.mark.parametrize(
    ("line", "tag"), [(b"a ", b"a"), (b"a", None), (b"a+ x", None), (b"", None), (b"a1 \x00", b"a1"), (b"* x", None)]
)
def test_tag(line: bytes, tag: bytes | None) -> None:
    assert tag_of(line) == tag


@pytest.mark.parametrize(
    "head",
    [b"", b"a", b"a ", b"a NO", b"a NOOP\r", b"a NOOP \xff\r\r", b"a NOOP\r\n", b"a NOOP\nGET /", b"GETA ", b"GET"],
)
def test_may_be_mail(head: bytes) -> None:
    assert not is_nonsense(head)


@pytest.mark.parametrize(
    "head",
    [
        b"\x16",
        b"\x80",
        b"\r",
        b"\n",
        b" ",
        b"GET ",
        b"PRI ",
        b"OPTIONS * HTTP/1.1\r\n",
        b"a /",
        b"a\n",
        b"a \n",
        b"a NOOP\rx",
        b"a" * 65,
        b"a " + b"x" * 33,
        b"EHLO example.org",
    ],
)
def test_is_nonsense(head: bytes) -> None:
    assert is_nonsense(head)


@given(st.binary(max_size=40) | st.from_regex(rb"\A[a-z]{1,3} ?[A-Z]{0,5}[ -~]{0,9}\r?\n?\Z"))
def test_nonsense_stays_nonsense(line: bytes) -> None:
    """Once told of a beginning, nothing that follows takes it back; a whole line is judged as the grammar says."""
    verdicts = [is_nonsense(line[:size]) for size in range(len(line) + 1)]
    assert verdicts == sorted(verdicts)


@pytest.mark.parametrize(
    ("line", "text", "literal"),
    [
        (b"x {3}", b"x ", Literal(3, is_synchronizing=True)),
        (b"x {0+}", b"x ", Literal(0, is_synchronizing=False)),
        (b"{0004096}", b"", Literal(4096, is_synchronizing=True)),
        (b"{" + b"9" * 5000 + b"+}", b"", Literal(10**10, is_synchronizing=False)),
        (b"x {3} ", b"x {3} ", None),
        (b"x {-3}", b"x {-3}", None),
        (b"x {3-}", b"x {3-}", None),
        (b"x {}", b"x {}", None),
        (b"x {3}\n", b"x {3}\n", None),
    ],
)
def test_literal(line: bytes, text: bytes, literal: Literal | None) -> None:
    assert split_literal(line) == (text, literal)


def test_tokens() -> None:
    assert tokens(rb' (a]+ "b \" \\ ) (") x') == [
        Token(TokenKind.SPACE),
        Token(TokenKind.OPEN),
        Token(TokenKind.ATOM, b"a]+"),
        Token(TokenKind.SPACE),
        Token(TokenKind.QUOTED, rb'b " \ ) ('),
        Token(TokenKind.CLOSE),
        Token(TokenKind.SPACE),
        Token(TokenKind.ATOM, b"x"),
    ]


@pytest.mark.parametrize("text", [b'"a', b'"a\\b"', b"\xff", b"{", b"\\", b'"\x00"', b'"\r"', b"%", b"*"])
def test_junk(text: bytes) -> None:
    assert tokens(b"a" + text + b"b")[-1] == Token(TokenKind.JUNK)


def test_a_token_does_not_show_its_value() -> None:
    assert "secret" not in repr(tokens(b'secret "secret"'))


@given(st.binary(max_size=30))
def test_quoted_is_read_back(value: bytes) -> None:
    written = quoted(value)
    if written is None:
        assert any(byte < 0x20 or byte > 0x7E for byte in value)
    else:
        assert tokens(written) == [Token(TokenKind.QUOTED, value)]
