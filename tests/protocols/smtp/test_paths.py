"""Addresses: what was read is written anew, and nothing else can be."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.protocols.smtp.syntax import FoundPath, Path, read_path


@pytest.mark.parametrize(
    ("text", "path", "is_routed", "rest"),
    [
        (b"<a@b.example>", Path(b"a", b"b.example"), False, b""),
        (b"<a.b+c=d@b> SIZE=1", Path(b"a.b+c=d", b"b"), False, b" SIZE=1"),
        (b"<>", Path(b"", b""), False, b""),
        (b"<Postmaster>", Path(b"Postmaster", b""), False, b""),
        (b"a@b SIZE=1", Path(b"a", b"b"), False, b" SIZE=1"),
        (b'"a b"@b', Path(b"a b", b"b"), False, b""),
        (b"<a@[10.1.2.3]>", Path(b"a", b"[10.1.2.3]"), False, b""),
        (b"<a@[IPv6:2001:DB8::1]>x", Path(b"a", b"[IPv6:2001:db8::1]"), False, b"x"),
        (b'<"a.b"@c>', Path(b"a.b", b"c"), False, b""),
        (b'<"a\\"\\b > <x"@c>', Path(b'a"b > <x', b"c"), False, b""),
        (b'<""@c>', Path(b"", b"c"), False, b""),
        (b"<a..b.@c>", Path(b"a..b.", b"c"), False, b""),
        ("<ä@ö.example>".encode(), Path("ä".encode(), "ö.example".encode()), False, b""),
        (b"<@x,@y.example:a@b>", Path(b"a", b"b"), True, b""),
        (b"<@[IPv6:::1]:a@[IPv6:::2]>", Path(b"a", b"[IPv6:::2]"), True, b""),
        (b"<a%x@b>", Path(b"a%x", b"b"), True, b""),
        (b"<x!a@b>", Path(b"x!a", b"b"), True, b""),
        (b'<"a@x"@b>', Path(b"a@x", b"b"), True, b""),
    ],
)
def test_path(text: bytes, path: Path, is_routed: bool, rest: bytes) -> None:  # noqa: FBT001
    assert read_path(text) == FoundPath(path, is_routed, rest)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"<", b"<a>", b"<a@>", b"<@b>", b"<a@b", b"a@b>", b"<a b@c>", b"<a@b c>", b"<a@b@c>", b"a", b"<a@b..c>"),
        *(b"<@x:>", b"< a@b>", b'<"a"b@c>', b'<"a@c>', b"<a\xff@c>", b"<a\xc2\x80@c>", b"<a@[10.1]>", b"<a,b@c>"),
        *(b"<a\0@b>", b"<a\r\n@b>", b'<"a\n"@b>', b'<"a\\\n"@b>', b"<" + b"a" * 257 + b"@b>", b"<(a)b@c>", b"<a@b_!>"),
        *(b"<@x>", b"<@x:a>", b"<@:@:@:", b"postmaster@"),
    ],
)
def test_no_path(text: bytes) -> None:
    assert read_path(text) is None


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        (Path(b"", b""), b"<>"),
        (Path(b"postmaster", b""), b"<postmaster>"),
        (Path(b"a.b", b"c"), b"<a.b@c>"),
        (Path(b"", b"c"), b'<""@c>'),
        (Path(b"a..b", b"c"), b'<"a..b"@c>'),
        (Path(b'a "\\', b"c"), b'<"a \\"\\\\"@c>'),
        (Path("ä".encode(), b"c"), "<ä@c>".encode()),
    ],
)
def test_encode(path: Path, encoded: bytes) -> None:
    assert path.encode() == encoded
    assert path.address == encoded[1:-1]
    assert path.is_null == (encoded == b"<>")


pieces = st.lists(
    st.sampled_from([*(bytes([byte]) for byte in range(0x20, 0x7F)), b'"', b"\\", b".", b"@", b":", "é".encode()])
    | st.binary(max_size=2),
    max_size=12,
).map(b"".join)
texts = st.builds(b"".join, st.tuples(st.just(b"<"), pieces, st.just(b"@b.example> X=1"))) | pieces
SAFE = re.compile(rb'<(?:"(?:[^"\\\x00-\x1f\x7f]|\\["\\])*"|[^\x00-\x20"\\<>()\[\],;:@\x7f]+)@[^\x00-\x20<>@"]+>')


@given(texts)
def test_what_is_written_is_one_safe_path_and_is_read_the_same(text: bytes) -> None:
    found = read_path(text)
    if found is None or not found.path.domain:
        return
    encoded = found.path.encode()
    assert SAFE.fullmatch(encoded)
    again = read_path(encoded)
    assert again is not None
    assert again.path == found.path
    assert again.rest == b""
