"""Forged header fields: gone, and nothing else with them."""

import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.protocols.smtp.content import HeaderFilter

OWN = b"MX.example"
RESULTS = b"Authentication-Results:"

FORGED = [
    b"Authentication-Results: mx.example; spf=pass\r\n",
    b"Authentication-Results:mx.example;spf=pass\r\n",
    b"AUTHENTICATION-results: Mx.Example; spf=pass\r\n",
    b"Authentication-Results \t : mx.example; none\r\n",
    b"Authentication-Results\0: mx.example; none\r\n",
    b"Authentication-Results: mx.example\r\n",
    b"Authentication-Results: mx.example 1; spf=pass\r\n",
    b"Authentication-Results: mx.example(we) 1 (two); spf=pass\r\n",
    b"Authentication-Results: mx.example\0; spf=pass\r\n",
    b"Authentication-Results:\r\n mx.example;\r\n\tspf=pass\r\n \r\n smtp.mailfrom=x\r\n",
    b"Authentication-Results:\r\n\t(a\r\n (b) \\) c)\r\n () mx.example\r\n ; spf=pass\r\n",
    b'Authentication-Results: "mx.example"; spf=pass\r\n',
    b'Authentication-Results: (x) "mx\\.exa\\mple" 1; spf=pass\r\n',
    b"Authentication-Results: (((((mx)))))mx.example; spf=pass\r\n",
    # In whose name these are, nobody knows.
    b"Authentication-Results:\r\n",
    b"Authentication-Results: \r\n \r\n",
    b"Authentication-Results: ; spf=pass\r\n",
    b"Authentication-Results: (open mx.example; spf=pass\r\n",
    b'Authentication-Results: "open mx.example; spf=pass\r\n',
    b"Authentication-Results: (((((((deep))))))) other.example; spf=pass\r\n",
    b"X-Tlsproxy: helo=match\r\n",
    b"x-tlsproxy :\r\n helo=match\r\n",
    b"X-TLSPROXY:\r\n",
]
HONEST = [
    b"Authentication-Results: other.example; spf=pass (mx.example)\r\n",
    b"Authentication-Results: other.example 1;\r\n spf=pass\r\n mx.example; dkim=pass\r\n",
    b"Authentication-Results: (mx.example) a.mx.example; none\r\n",
    b"Authentication-Results: mx.example.org; none\r\n",
    b"Authentication-Results: mx.exampl; none\r\n",
    b'Authentication-Results: "other \\" example"; none\r\n',
    b'Authentication-Results: "";\r\n none\r\n',
    b"Authentication-Results-Of: mx.example; none\r\n",
    b"Authentication-Result: mx.example; none\r\n",
    b"Authentication-Results\r\n",
    b"Authentication-Results x: mx.example\r\n",
    b"ARC-Authentication-Results: i=1; mx.example; none\r\n",
    b"Subject: a\r\n Authentication-Results: mx.example; none\r\n",
    b"Subject: a\r\n\tX-Tlsproxy: none\r\n",
    b"X-Tlsproxy-More: a\r\n",
    b"X-Tlsproxy\r\n",
    b"X: \xff\0\r\n",
    b"..dot: a\r\n",
    b"no field\r\n",
    b":\r\n",
    b"From a@b.example Thu Jan 1\r\n",
]
BODY = b"\r\n" + b"".join(FORGED) + b"\r\nend\r\n"


def run(chunks: Iterable[bytes]) -> bytes:
    header_filter = HeaderFilter(OWN)
    return b"".join(map(header_filter.feed, chunks)) + header_filter.finish()


def assert_in_every_split(data: bytes, expected: bytes) -> None:
    assert run([data]) == expected
    assert run(bytes((octet,)) for octet in data) == expected
    for i in range(len(data) + 1):
        assert run([data[:i], data[i:]]) == expected


@pytest.mark.parametrize("body", [BODY, b"\r\n", b""], ids=["body", "empty", "none"])
@pytest.mark.parametrize("field", FORGED)
def test_a_forged_field_goes(field: bytes, body: bytes) -> None:
    other = b"From: a@b.example\r\n"
    for before, after in ((b"", b""), (other, b""), (b"", other), (other, other), (field, field + other)):
        expected = (before + after).replace(field, b"") + body
        assert run([before + field + after + body]) == expected
    assert_in_every_split(other + field + other + body[:40], other + other + body[:40])


@pytest.mark.parametrize("body", [BODY, b""], ids=["body", "none"])
@pytest.mark.parametrize("field", HONEST)
def test_an_honest_field_stays(field: bytes, body: bytes) -> None:
    for before, after in ((b"", b""), (FORGED[0], b""), (b"", FORGED[0]), (b"To: a\r\n", b"To: b\r\n")):
        expected = (before + field + after).replace(FORGED[0], b"") + body
        assert run([before + field + after + body]) == expected
    assert_in_every_split(FORGED[0] + field + body[:40], field + body[:40])


@given(st.lists(st.sampled_from(FORGED + HONEST)), st.booleans(), st.data())
def test_any_header_in_any_split_keeps_what_is_honest(fields: list[bytes], has_body: bool, data: st.DataObject) -> None:  # noqa: FBT001 - from hypothesis
    message = b"".join(fields) + (BODY if has_body else b"")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=8)))
    chunks = [message[start:end] for start, end in zip([0, *cuts], [*cuts, len(message)], strict=True)]
    expected = b"".join(field for field in fields if field in HONEST) + (BODY if has_body else b"")
    assert run(chunks) == expected


@given(st.lists(st.sampled_from([b"\r\n", b" ", b"X-Tlsproxy", RESULTS, b":", b"mx.example", b"(", b")", b'"', b"a"])))
def test_any_split_of_anything_gives_the_same(parts: list[bytes]) -> None:
    data = b"".join(parts) + b"\r\n"
    assert run([*parts, b"\r\n"]) == run([data]) == run(bytes((octet,)) for octet in data)


@pytest.mark.parametrize("message", [b"", b"\r\n", b"\r\n\r\n", BODY, b"hello\r\nworld\r\n", b"hello", b"a: b\r"])
def test_a_message_without_header_or_body_stays(message: bytes) -> None:
    assert_in_every_split(message, message)


@pytest.mark.parametrize("blank", [b" ", b"\t"])
def test_a_first_line_cannot_continue_what_we_put_before_it(blank: bytes) -> None:
    message = blank + b"; dkim=pass\r\n" + FORGED[0] + b"\r\n"
    assert_in_every_split(message, b"\r\n" + message)


def test_the_header_does_not_end_at_a_line_that_is_no_field() -> None:
    assert run([b"no field\r\n" + FORGED[0] + b"\r\n"]) == b"no field\r\n\r\n"


def test_the_body_goes_on_as_it_is() -> None:
    header_filter = HeaderFilter(OWN)
    header_filter.feed(b"a: b\r\n\r\n")
    chunk = b"x" * 1_000
    assert header_filter.feed(chunk) is chunk
    assert header_filter.finish() == b""


LONG = [
    (b"Authentication-Results: mx.example; ", True),
    (b"X-Tlsproxy: ", True),
    (b"X-Tlsproxy", True),
    (b"Authentication-Results", True),
    (b"Authentication-Results: other.example; ", False),
    (b"Subject: ", False),
    (b"Subject", False),
]


@pytest.mark.parametrize(("start", "is_forged"), LONG)
@pytest.mark.parametrize("fill", [b" " * 16_384, b"\r\n " * 8_192])
def test_a_field_of_any_length_does_not_wait_for_its_end(start: bytes, fill: bytes, *, is_forged: bool) -> None:
    header_filter = HeaderFilter(OWN)
    output = header_filter.feed(b"A: b\r\n" + start)
    for _ in range(20):
        output += header_filter.feed(fill)
        assert len(header_filter._held) < 5_000
    output += header_filter.feed(b"x\r\nC: d\r\n\r\n" + FORGED[0]) + header_filter.finish()
    # A name that the line ends behind has no colon, so that is no field of that name.
    is_field = start.endswith(b" ") or not fill.startswith(b"\r")
    field = b"" if is_forged and is_field else start + fill * 20 + b"x\r\n"
    assert output == b"A: b\r\n" + field + b"C: d\r\n\r\n" + FORGED[0]


@pytest.mark.parametrize("value", [b"(" * 9_000, b"(a" * 9_000, b"()" * 9_000, b"x" * 9_000, b'"' + b"x" * 9_000])
def test_what_has_no_name_in_its_first_pages_goes(value: bytes) -> None:
    message = b"Authentication-Results:" + value + b"\r\nA: b\r\n\r\n"
    for chunks in ([message], [message[:5_000], message[5_000:]], [message[i : i + 7] for i in range(0, 20_000, 7)]):
        assert run(chunks) in {b"A: b\r\n\r\n", message}


HOSTILE = [b"\r\n", b"\r\n\t", b"a\r\n", b"X-Tlsproxy:\r\n", b"X-Tlsproxy", RESULTS + b"((((((((", RESULTS + b"()\r\n"]


@pytest.mark.parametrize("unit", [*HOSTILE, RESULTS + b"(\\" * 400 + b"\r\n", RESULTS + b"a\r\n", RESULTS + b" "])
def test_four_times_the_octets_take_about_four_times_as_long(unit: bytes) -> None:
    def cpu_s(size: int) -> float:
        data = b"A: b" + unit * (size // len(unit))
        times = []
        for _ in range(3):
            start = time.process_time()
            run(data[i : i + 65_536] for i in range(0, len(data), 65_536))
            times.append(time.process_time() - start)
        return min(times)

    assert cpu_s(4_000_000) < 8 * cpu_s(1_000_000) + 0.05
