"""Answers: ours are whole and safe, those of old servers are bounded and cleaned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.protocols.smtp.reply import Reply, ReplyFault, ReplyReader, reply


def read(data: bytes) -> Reply | ReplyFault | None:
    reader = ReplyReader()
    reader.feed(data)
    return reader.take()


def test_encode() -> None:
    assert reply(250, "2.1.0", "fine").encode() == b"250 2.1.0 fine\r\n"
    assert reply(220, "", "mx.example ESMTP").encode() == b"220 mx.example ESMTP\r\n"
    assert Reply(250, (b"mx.example", b"SIZE 10", b"")).encode() == b"250-mx.example\r\n250-SIZE 10\r\n250 \r\n"


@pytest.mark.parametrize(("code", "kinds"), [(235, "1000"), (334, "0100"), (354, "0100"), (421, "0010"), (550, "0001")])
def test_kinds(code: int, kinds: str) -> None:
    said = reply(code, "", "x")
    found = (said.is_positive, said.is_intermediate, said.is_transient, said.is_permanent)
    assert "".join(str(int(kind)) for kind in found) == kinds


def test_text_is_that_of_the_first_line() -> None:
    assert Reply(550, (b"5.1.1 one", b"5.1.1 two")).text == b"5.1.1 one"


@given(st.text())
def test_our_own_line_is_printable_and_no_longer_than_the_rfc_allows(text: str) -> None:
    line = reply(550, "5.7.1", text).encode()
    assert len(line) <= 512
    assert line.endswith(b"\r\n")
    assert line[:-2].decode("ascii").isprintable()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"250 ok\r\n", Reply(250, (b"ok",))),
        (b"250\r\n", Reply(250, (b"",))),
        (b"250 \n", Reply(250, (b"",))),
        (b"250-a\n250-\r\n250 b\n", Reply(250, (b"a", b"", b"b"))),
        (b"550 a\rb\0c\td \xc3\xa9\r\n", Reply(550, (b"a?b?c\td \xc3\xa9",))),
        (b"250-a\r\n", None),
        (b"250 a", None),
        (b"250-a\r\n251 b\r\n", ReplyFault.CODES_DIFFER),
        (b"hello\r\n", ReplyFault.MALFORMED),
        (b"\r\n", ReplyFault.MALFORMED),
        (b"150 a\r\n", ReplyFault.MALFORMED),
        (b"250a\r\n", ReplyFault.MALFORMED),
        (b"* OK IMAP\r\n", ReplyFault.MALFORMED),
        (b"250 " + b"x" * 4090 + b"\r\n", Reply(250, (b"x" * 4090,))),
        (b"250 " + b"x" * 4091 + b"\r\n", ReplyFault.TOO_LONG),
        (b"250 " + b"x" * 5000, ReplyFault.TOO_LONG),
        (b"250-x\r\n" * 127 + b"250 x\r\n", Reply(250, (b"x",) * 128)),
        (b"250-x\r\n" * 128, ReplyFault.TOO_LONG),
        (b"250-" + b"x" * 4000, None),
        ((b"250-" + b"x" * 4000 + b"\r\n") * 17, ReplyFault.TOO_LONG),
    ],
)
def test_read(data: bytes, expected: Reply | ReplyFault | None) -> None:
    assert read(data) == expected


def test_answers_follow_each_other() -> None:
    reader = ReplyReader()
    reader.feed(b"250-a\r\n250 b\r\n354 go\r\n4")
    assert reader.take() == Reply(250, (b"a", b"b"))
    assert reader.take() == Reply(354, (b"go",))
    assert reader.take() is None
    assert len(reader) == 1


def test_nothing_is_read_behind_a_fault() -> None:
    reader = ReplyReader()
    reader.feed(b"nonsense\r\n250 ok\r\n")
    assert reader.take() is ReplyFault.MALFORMED
    reader.feed(b"250 ok\r\n")
    assert reader.take() is ReplyFault.MALFORMED
    assert len(reader) == 0


replies = st.lists(
    st.sampled_from([b"250 ok\r\n", b"250-a\r\n", b"250-\n", b"354\r\n", b"421 x\r", b"\n", b"2", b"\xff"])
)


@given(replies)
def test_any_split_gives_the_same(pieces: list[bytes]) -> None:
    whole, split = ReplyReader(), ReplyReader()
    whole.feed(b"".join(pieces))
    found = []
    for piece in b"".join(pieces):
        split.feed(bytes([piece]))
        while isinstance(said := split.take(), Reply):
            found.append(said)
    expected = []
    while isinstance(last := whole.take(), Reply):
        expected.append(last)
    assert found == expected
    assert split.take() == last
    assert len(split) == len(whole)


@given(st.lists(st.binary(max_size=3000) | st.just(b"250-" + b"x" * 2000 + b"\r\n"), max_size=60))
def test_no_more_is_kept_than_the_limit(pieces: list[bytes]) -> None:
    reader = ReplyReader()
    for piece in pieces:
        reader.feed(piece)
        while isinstance(reader.take(), Reply):
            pass
        assert len(reader) < 65536 + 4096


@given(st.integers(200, 599), st.lists(st.binary(max_size=50).filter(lambda text: b"\n" not in text), min_size=1))
def test_what_was_written_is_read(code: int, texts: list[bytes]) -> None:
    said = read(Reply(code, tuple(texts[:128])).encode())
    assert isinstance(said, Reply)
    assert said.code == code
    assert len(said.lines) == len(texts[:128])
    assert read(said.encode()) == said
