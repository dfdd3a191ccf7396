"""The backend's lines: parsed, bounded, literals streamed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.imap.responses import (
    Passing,
    Response,
    ResponseReader,
    is_about_credentials,
    is_between_responses,
    parse_response,
    with_failure_code,
)


@pytest.mark.parametrize(
    ("line", "tag", "condition", "code"),
    [
        (b"* OK", b"*", b"OK", b""),
        (b"* ok [alert] x", b"*", b"OK", b"ALERT"),
        (b"a NO [CAPABILITY A B] x", b"a", b"NO", b"CAPABILITY"),
        (b"a NO [AUTH", b"a", b"NO", b""),
        (b"a BAD x [ALERT]", b"a", b"BAD", b""),
        (b"* BYE ", b"*", b"BYE", b""),
        (b"* PREAUTH x", b"*", b"PREAUTH", b""),
        (b"* OKAY x", b"*", b"", b""),
        (b"* 5 EXISTS", b"*", b"", b""),
        (b"+ OK x", b"+", b"", b""),
        (b"+", b"+", b"", b""),
        (b"+OK x", b"+OK", b"", b""),
        (b"", b"", b"", b""),
        (b" OK", b"", b"", b""),
    ],
)
def test_parse(line: bytes, tag: bytes, condition: bytes, code: bytes) -> None:
    response = parse_response(line)
    assert (response.line, response.tag, response.condition, response.code) == (line, tag, condition, code)


@pytest.mark.parametrize(
    ("line", "coded", "is_credential"),
    [
        (b"a NO x", b"a NO [AUTHENTICATIONFAILED] x", True),
        (b"a NO", b"a NO [AUTHENTICATIONFAILED] Login failed", True),
        (b"a no ", b"a no [AUTHENTICATIONFAILED] Login failed", True),
        (b"a NO NO", b"a NO [AUTHENTICATIONFAILED] NO", True),
        (b"a NO [ALERT] x", b"a NO [ALERT] x", True),
        (b"a NO [AUTHORIZATIONFAILED] x", b"a NO [AUTHORIZATIONFAILED] x", True),
        (b"a NO [Unavailable] x", b"a NO [Unavailable] x", False),
        (b"a NO [LIMIT]", b"a NO [LIMIT]", False),
    ],
)
def test_failures(line: bytes, coded: bytes, *, is_credential: bool) -> None:
    response = parse_response(line)
    assert with_failure_code(response) == coded
    assert is_about_credentials(response) == is_credential


@pytest.mark.parametrize(
    "tail",
    [
        b"a1 OK done\r\n",
        b"body\r\n)\r\na1 OK FETCH done\r\n",
        b"a1 NO\r\n",
        b"+ idling\r\n",
        b"+\r\n",
        b"* 5 EXISTS\r\n",
        b"* OK Still here\r\n",
        b"* 3 FETCH (FLAGS (\\Seen))\r\n",
    ],
)
def test_whole_responses(tail: bytes) -> None:
    assert is_between_responses(tail)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\n",
        b"\r\n",
        b"a1 OK done",
        b"a1 OK done\r",
        b"a1 OK done\n",
        b"* 3 FETCH (BODY[] {5}\r\n",
        b"* 3 FETCH (BODY[] {5}\r\nabc\r\n",
        b"* a list in a mail\r\n",
        b"a1 OK done\r\n* 5 EX",
        b"K done\r\n",
    ],
)
def test_half_responses(tail: bytes) -> None:
    assert not is_between_responses(tail)


def parts(chunks: list[bytes]) -> list[Response | bytes | Reason]:
    """All that is read, the runs of passing bytes joined."""
    reader, found = ResponseReader(), []
    for chunk in chunks:
        reader.feed(chunk)
        while (part := reader.read()) is not None:
            if isinstance(part, Passing) and found and isinstance(found[-1], bytes):
                found[-1] += part.data
            else:
                found.append(part.data if isinstance(part, Passing) else part)
            if isinstance(part, Reason):
                return found
    return found


def test_literals_pass() -> None:
    said = b'* ID ("name" {4}\r\na\r\nb "os" {0}\r\n NIL)\r\n* OK {9}\r\n'
    first, passing, last = parts([said])
    assert isinstance(first, Response)
    assert first.line == b'* ID ("name" {4}'
    assert passing == b'a\r\nb "os" {0}\r\n NIL)\r\n'
    assert isinstance(last, Response)
    assert last.line == b"* OK {9}"


def test_inside_until_the_end_of_the_response() -> None:
    reader = ResponseReader()
    seen = []
    for byte in b"* ID ({1}\r\nx)\r\n":
        reader.feed(bytes([byte]))
        reader.read()
        seen.append(reader.is_inside)
    assert seen == [False] * 10 + [True] * 4 + [False]
    reader.feed(b"rest")
    assert reader.rest() == b"rest"


@pytest.mark.parametrize("said", [b"x" * 65536, b"x" * 65535 + b"\n" + b"y" * 65536, b"* ID ({65537}\r\n"])
def test_bounds(said: bytes) -> None:
    assert parts([said])[-1] is Reason.BACKEND_GARBAGE


def test_within_the_bounds() -> None:
    assert parts([b"* ID ({65536}\r\n", b"x" * 65536])[-1] == b"x" * 65536
    assert len(parts([b"x" * 65534 + b"\r\n"])) == 1


PIECES = st.sampled_from(
    [b"* ID ({3}\r\n", b"a OK x\r\n", b"* OK {3}\r\n", b"{2}\n", b"abc", b"\r\n", b"+ \r\n", b"{99999}"]
)


@given(st.lists(PIECES, max_size=8), st.data())
def test_any_split_reads_the_same(said: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    split = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert parts(split) == parts([whole])
