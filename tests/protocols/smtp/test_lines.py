"""A client's lines: ended by CRLF alone, bounded, the same in any split."""

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.protocols.smtp.lines import CommandReader, LineFault


def drained(reader: CommandReader) -> list[bytes | LineFault]:
    lines = []
    while (line := reader.take()) is not None:
        lines.append(line)
    return lines


def lines_of(data: bytes, limit_bytes: int = 16, sasl_limit_bytes: int | None = None) -> list[bytes | LineFault]:
    reader = CommandReader(limit_bytes, sasl_limit_bytes)
    reader.feed(data)
    return drained(reader)


def test_lines() -> None:
    assert lines_of(b"EHLO a\r\n\r\nQUIT\r\nNO") == [b"EHLO a", b"", b"QUIT"]


def test_a_newline_that_is_no_crlf_spoils_its_line() -> None:
    assert lines_of(b"a\nb\rc\r\nd\0\r\ne\r\r\nf\r\n") == [*[LineFault.BARE_NEWLINE] * 4, b"f"]


def test_the_limit_counts_the_line_end() -> None:
    assert lines_of(b"x" * 14 + b"\r\n") == [b"x" * 14]
    assert lines_of(b"x" * 15 + b"\r\n" + b"a\r\n") == [LineFault.TOO_LONG, b"a"]


def test_the_rest_of_a_long_line_is_dropped_as_it_comes() -> None:
    reader = CommandReader(16)
    reader.feed(b"x" * 16)
    assert drained(reader) == [LineFault.TOO_LONG]
    for _ in range(10):
        reader.feed(b"y" * 100)
        assert drained(reader) == []
        assert len(reader) == 0
    reader.feed(b"\r\nNOOP\r\n")
    assert drained(reader) == [b"NOOP"]


def test_auth_may_be_longer() -> None:
    assert lines_of(b"auth PLAIN " + b"x" * 16 + b"\r\nAUTHPLAIN " + b"x" * 16 + b"\r\n", 16, 32) == [
        b"auth PLAIN " + b"x" * 16,
        LineFault.TOO_LONG,
    ]
    assert lines_of(b"AUTH PLAIN " + b"x" * 30 + b"\r\n", 16, 32) == [LineFault.SASL_TOO_LONG]


def test_a_line_of_an_exchange_may_be_longer() -> None:
    reader = CommandReader(16, 32)
    reader.feed(b"x" * 20 + b"\r\n" + b"y" * 40 + b"\r\n")
    assert reader.take(is_sasl=True) == b"x" * 20
    assert reader.take(is_sasl=True) is LineFault.SASL_TOO_LONG


def test_rest_is_everything_unread() -> None:
    reader = CommandReader(16)
    reader.feed(b"DATA\r\nmessage\r\n")
    assert reader.take() == b"DATA"
    assert reader.rest() == b"message\r\n"
    assert len(reader) == 0


said = st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\0", b"NOOP\r\n", b"AUTH x", b"x" * 10]))


@given(said)
def test_any_split_gives_the_same_and_no_more_is_kept_than_the_limit(pieces: list[bytes]) -> None:
    split = CommandReader(16, 32)
    lines: list[bytes | LineFault] = []
    for byte in b"".join(pieces):
        split.feed(bytes([byte]))
        lines += drained(split)
        assert len(split) < 32
    assert lines == lines_of(b"".join(pieces), 16, 32)
