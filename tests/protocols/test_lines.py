"""The line buffer: whatever the split, the same lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.protocols.lines import LineBuffer, without_line_end


def drained(buffer: LineBuffer) -> list[bytes]:
    lines = []
    while (line := buffer.line()) is not None:
        lines.append(line)
    return lines


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\x00\xff", b"word "])))
def test_any_split_gives_the_same_lines(pieces: list[bytes]) -> None:
    whole, split = LineBuffer(), LineBuffer()
    whole.feed(b"".join(pieces))
    lines: list[bytes] = []
    for piece in pieces:
        split.feed(piece)
        lines += drained(split)
    assert lines == drained(whole)
    assert len(split) == len(whole)
    assert b"".join(lines) + split.take(len(split)) == b"".join(pieces)


def test_a_line_is_found_behind_what_was_searched_before() -> None:
    buffer = LineBuffer()
    buffer.feed(b"ab")
    assert buffer.line() is None
    buffer.feed(b"c\nd\n")
    assert drained(buffer) == [b"abc\n", b"d\n"]
    assert len(buffer) == 0


def test_taking_forgets_what_was_searched() -> None:
    buffer = LineBuffer()
    buffer.feed(b"abcdef")
    assert buffer.line() is None
    assert buffer.take(4) == b"abcd"
    buffer.feed(b"\n")
    assert buffer.line() == b"ef\n"


def test_take_is_content_with_less() -> None:
    buffer = LineBuffer()
    buffer.feed(b"ab")
    assert buffer.take(9) == b"ab"
    assert buffer.take(9) == b""


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\x00\xff", b"word "])))
def test_the_next_line_is_the_line_without_its_end_and_within_the_limit(pieces: list[bytes]) -> None:
    plain, bounded = LineBuffer(), LineBuffer()
    for piece in pieces:
        plain.feed(piece)
        bounded.feed(piece)
        while not plain.is_over(4) and (line := plain.line()) is not None:
            assert bounded.next_line(4) == without_line_end(line)
        assert bounded.next_line(4) is None
        assert bounded.is_exceeded is plain.is_over(4)


def test_the_rest_is_everything() -> None:
    buffer = LineBuffer()
    buffer.feed(b"ab")
    assert buffer.line() is None
    assert buffer.rest() == b"ab"
    assert buffer.rest() == b""
    buffer.feed(b"\n")
    assert buffer.line() == b"\n"


@pytest.mark.parametrize(
    ("data", "is_over"),
    [
        (b"", False),
        (b"abc", False),
        (b"abc\n", False),
        (b"abcd", True),
        (b"abcd\n", True),
        (b"\nabcdefgh", False),
        (b"abc\nabcdefgh", False),
    ],
)
def test_a_line_is_over_when_its_end_cannot_come_in_time(data: bytes, *, is_over: bool) -> None:
    buffer = LineBuffer()
    buffer.feed(data)
    assert buffer.is_over(4) is is_over


@pytest.mark.parametrize(
    ("line", "content"),
    [
        (b"a\r\n", b"a"),
        (b"a\n", b"a"),
        (b"a", b"a"),
        (b"a\r\r\n", b"a\r"),
        (b"a\r", b"a\r"),
        (b"\r\n", b""),
        (b"", b""),
    ],
)
def test_without_line_end(line: bytes, content: bytes) -> None:
    assert without_line_end(line) == content
