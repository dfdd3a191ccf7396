"""The content of a message: one end for all servers, whatever comes and in whatever split."""

import random
import re
import time
import tracemalloc
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.kinds import BareNewline
from tlsproxy.protocols.smtp.data import Reframer

END = b"\r\n.\r\n"

# What some server or other takes for the end of data, and what none is known to. Each as a separator of two mails.
TAKEN = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r\r\n", b"\r\n.\0\r\n"]
NOT_TAKEN = [b"\r.\r", b"\r.\n", b"\n.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n. \r\n"]
# The same, as what may not stand anywhere in the output; a dot at a line's start has a second one behind it.
SOME_END = re.compile(rb"[\r\n]\.[\r\n]|\r\n\.\0\r\n")
BARE_DOT = re.compile(rb"(?:\A|[\r\n])\.(?!\.)")
BARE_NEWLINE = re.compile(rb"\r(?!\n)|(?<!\r)\n")

PIECES = [b"\r\n", b"\r", b"\n", b".", b"..", b"\0", b"a", b" ", b"word", END]
pieces = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=40)


def run(chunks: Iterable[bytes], mode: BareNewline = BareNewline.NORMALIZE) -> tuple[bytes, Reframer]:
    reframer = Reframer(mode)
    return b"".join(map(reframer.feed, chunks)), reframer


def each_byte(data: bytes) -> list[bytes]:
    return [bytes((octet,)) for octet in data]


def facts(reframer: Reframer) -> tuple[object, ...]:
    return reframer.is_over, reframer.rest, reframer.size, reframer.bare_newlines, reframer.nuls


def content_of(data: bytes) -> tuple[bytes, bytes | None, int]:
    """By the rules, octet for octet: lines of content, what is behind the end (None: no end), bare newlines."""
    content, bare, position, is_start = bytearray(), 0, 0, True
    while position < len(data):
        if is_start and data.startswith(b".\r\n", position):
            return bytes(content), data[position + 3 :], bare
        if is_start and data.startswith(b"..", position):
            position += 1
        is_start = data.startswith(b"\r\n", position)
        if is_start:
            content += b"\r\n"
            position += 2
        elif data[position] in b"\r\n":
            content += b"\r\n"
            bare += 1
            position += 1
        else:
            content.append(data[position])
            position += 1
    return bytes(content), None, bare


def stuffed(content: bytes) -> bytes:
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in content.split(b"\r\n"))


def old_server(stream: bytes, ends: Iterable[bytes]) -> tuple[list[bytes], bytes]:
    """A server that ends a message at whatever comes first: the messages it sees and what it takes for commands."""
    found = [(match.start(), match.end()) for end in ends for match in re.finditer(re.escape(end), b"\r\n" + stream)]
    assert found
    start, end = min(found)
    lines = (b"\r\n" + stream)[2 : start + 2].split(b"\r\n")
    return [b"\r\n".join(line.removeprefix(b".") for line in lines)], (b"\r\n" + stream)[end:]


@pytest.mark.parametrize("separator", TAKEN + NOT_TAKEN)
def test_smuggled_mail_stays_content(separator: bytes) -> None:
    smuggled = b"first" + separator + b"MAIL FROM:<a@b.example>\r\nDATA\r\n..x" + END
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", b"first" + separator).replace(b"\r\n.", b"\r\n..")
    expected = lines + b"MAIL FROM:<a@b.example>\r\nDATA\r\n..x\r\n"
    whole, reframer = run([smuggled + b"QUIT\r\n"])
    assert whole == expected
    assert facts(reframer)[:2] == (True, b"QUIT\r\n")
    assert reframer.bare_newlines == len(BARE_NEWLINE.findall(separator))
    for i in range(len(smuggled) + 1):
        output, split = run([smuggled[:i], smuggled[i:] + b"QUIT\r\n"])
        assert output == expected
        assert facts(split) == facts(reframer)
    assert run(each_byte(smuggled))[0] == expected


@pytest.mark.parametrize("separator", TAKEN + NOT_TAKEN)
def test_what_looks_like_an_end_is_content_as_the_first_line_too(separator: bytes) -> None:
    head = separator.lstrip(b"\r\n\0")
    for start in (head, b"\n" + head, b"\r" + head, b"\r\n" + head, b"\0" + head):
        if start.startswith((b".\r\n", b"\r\n.\r\n")):
            continue
        output, reframer = run(each_byte(start + b"x" + END))
        assert reframer.is_over
        assert not SOME_END.search(b"\r\n" + output)
        assert not BARE_DOT.search(output)


@given(pieces, st.randoms())
def test_any_octets_in_any_split_are_as_in_the_model(parts: list[bytes], chance: random.Random) -> None:
    data = b"".join(parts)
    cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randrange(6)))
    chunks = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    content, rest, bare = content_of(data)
    for output, reframer in (run(parts), run([data]), run(each_byte(data)), run(chunks)):
        assert reframer.is_over is (rest is not None)
        if rest is None:
            # What waits comes out with the end.
            assert output + reframer.feed(b"x" + END) == stuffed(content_of(data + b"x" + END)[0])
        else:
            assert output == stuffed(content)
            assert facts(reframer) == (True, rest, len(content), bare, content.count(b"\0"))


@given(pieces, st.sampled_from(BareNewline))
def test_no_output_holds_what_any_server_takes_for_an_end(parts: list[bytes], mode: BareNewline) -> None:
    reframer = Reframer(mode)
    output = b"\r\n"
    for part in parts:
        output += reframer.feed(part)
        assert not SOME_END.search(output)
        assert not BARE_DOT.search(output)
        assert not BARE_NEWLINE.search(output)


def test_a_thousand_mails_arrive_at_servers_of_every_kind() -> None:
    chance = random.Random(3207)
    words = [b"\r\n", b"\n", b"\r", b".", b"..", b"a", b"text", b" ", b"\r\n.", b"\n.", b"\r.\r\n", b"\0", b"\r\n\r\n"]
    for _ in range(1_000):
        original = b"".join(chance.choices(words, k=chance.randrange(60))) + b"\r\n"
        sent = stuffed(original) + b".\r\n"
        # A lone CR before the end would be a line end there as well, but this sender's last is CRLF.
        split = chance.randrange(len(sent) + 1)
        output, reframer = run([sent[:split], sent[split:] + b"RSET\r\n"])
        normal = re.sub(rb"\r\n|\r|\n", b"\r\n", original)
        assert reframer.size == len(normal)
        assert reframer.rest == b"RSET\r\n"
        stream = output + reframer.finish()
        for ends in ([END], [END, *TAKEN], *([END, end] for end in TAKEN)):
            assert old_server(stream, ends) == ([normal], b"")


@pytest.mark.parametrize("chunks", [[b".\r\n"], [b".", b"\r\n"], [b".\r", b"\n"], [b".", b"\r", b"\n"]])
def test_an_empty_message_ends_at_once(chunks: list[bytes]) -> None:
    output, reframer = run([*chunks, b"QUIT\r\n"])
    assert output == b""
    assert facts(reframer) == (True, b"QUIT\r\n", 0, 0, 0)
    assert reframer.finish() == b".\r\n"


def test_what_comes_behind_the_end_is_left_alone() -> None:
    output, reframer = run([b"a\r\n.\r\nRS", b"ET\r\n.\r\n", b""])
    assert output == b"a\r\n"
    assert facts(reframer) == (True, b"RSET\r\n.\r\n", 3, 0, 0)


def test_the_end_comes_on_a_line_of_its_own() -> None:
    reframer = Reframer(BareNewline.NORMALIZE)
    assert reframer.finish() == b".\r\n"
    assert reframer.feed(b"a") == b"a"
    assert reframer.finish() == b"\r\n.\r\n"
    assert reframer.feed(b"\n") == b"\r\n"
    assert reframer.finish() == b".\r\n"


@pytest.mark.parametrize("data", [b"a", b"a\n", b"a\r\n", b"a\r\n..", b"a\r\n.b", b"\n."])
def test_nothing_waits_that_can_be_judged(data: bytes) -> None:
    output, _ = run([data])
    assert output == stuffed(content_of(data)[0])


@pytest.mark.parametrize(("data", "ready"), [(b"a\r", b"a"), (b"a\r\n.", b"a\r\n"), (b"a\r\n.\r", b"a\r\n")])
def test_what_may_be_the_end_waits(data: bytes, ready: bytes) -> None:
    output, reframer = run([data])
    assert output == ready
    assert (output + reframer.feed(b"x")).startswith(ready)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"ab\r\n", 4),
        (b"a\nb\r\n", 6),
        (b"ab\rc\r\n", 7),
        (b"..\r\n", 3),
        (b".x\r\n", 4),
        (b"a\r\n..b\r\n", 7),
        (b"", 0),
    ],
)
def test_the_size_is_that_of_the_normal_content(data: bytes, size: int) -> None:
    ended = data + b".\r\n"
    for chunks in ([ended], each_byte(ended)):
        assert run(chunks)[1].size == size


@pytest.mark.parametrize("mode", BareNewline)
@pytest.mark.parametrize(("data", "is_bare"), [(b"a\nb", True), (b"a\rb", True), (b"a\r\n..b\0", False)])
def test_the_mode_changes_the_verdict_only(data: bytes, mode: BareNewline, *, is_bare: bool) -> None:
    output, reframer = run([data + END], mode)
    assert output == run([data + END])[0]
    assert reframer.is_refused is (is_bare and mode is BareNewline.REJECT)


def test_a_clean_chunk_goes_on_as_it_is() -> None:
    reframer = Reframer(BareNewline.NORMALIZE)
    reframer.feed(b"a")
    chunk = b"text\r\n..dot\r\nmore"
    assert reframer.feed(chunk) is chunk


# The fourth ends at once, and all that follows is the rest.
HOSTILE = [b"\r", b"\n", b".", b"\r\n.", b"\n.\n", b"\r\n..", b"\0", b"\r\n.\r"]


def cpu_s(work: Callable[[], object]) -> float:
    """The CPU of the quickest of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("chunk_bytes", [65_536, 10_000_000])
def test_four_times_the_octets_take_about_four_times_as_long(unit: bytes, chunk_bytes: int) -> None:
    data = unit * (10_000_000 // len(unit))

    def reframed(size: int) -> Callable[[], object]:
        chunks = [data[start : min(start + chunk_bytes, size)] for start in range(0, size, chunk_bytes)]
        return lambda: [reframer.feed(chunk) for reframer in (Reframer(BareNewline.NORMALIZE),) for chunk in chunks]

    assert cpu_s(reframed(len(data))) < 8 * cpu_s(reframed(len(data) // 4)) + 0.05


@pytest.mark.parametrize("unit", [b"\r", b".", b"\r\n.x", b"\n.\n", b"text\r\n"])
def test_memory_is_that_of_a_few_chunks(unit: bytes) -> None:
    chunk = unit * (65_536 // len(unit))
    reframer = Reframer(BareNewline.NORMALIZE)
    tracemalloc.start()
    try:
        for _ in range(100):
            reframer.feed(chunk)
        assert tracemalloc.get_traced_memory()[1] < 8 * 65_536
    finally:
        tracemalloc.stop()
