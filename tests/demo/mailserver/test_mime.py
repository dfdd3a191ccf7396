"""Messages taken apart, and what FETCH tells of them."""

from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.demo.letters import letters
from tlsproxy.demo.mailserver import mime
from tlsproxy.demo.mailserver.imap import fetch
from tlsproxy.demo.mailserver.mailbox import Mailbox

NESTED = (
    b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\npreamble\r\n"
    b'--out\r\nContent-Type: multipart/alternative;\r\n boundary="in"\r\n\r\n'
    b"--in\r\n\r\nplain\r\n--in\r\nContent-Type: text/html\r\n\r\n<p>\r\n--in--\r\n"
    b"--out\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n--out--\r\nepilogue\r\n"
)


def fetched(raw: bytes, item: bytes) -> bytes:
    message = Mailbox([raw]).messages[0]
    items = fetch.wanted([item])
    assert items
    return fetch.answer(message, items)


def section(raw: bytes, name: bytes) -> bytes:
    told = fetched(raw, b"BODY[" + name + b"]")
    return told[told.index(b"}\r\n") + 3 :]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"", NESTED),
        (b"HEADER", NESTED[: NESTED.index(b"preamble")]),
        (b"TEXT", NESTED[NESTED.index(b"preamble") :]),
        (b"1.1", b"plain"),
        (b"1.1.1", b"plain"),
        (b"1.2", b"<p>"),
        (b"1.2.MIME", b"Content-Type: text/html\r\n\r\n"),
        (b"2", b"Subject: inner\r\n\r\nx"),
        (b"0", b""),
        (b"1.3", b""),
        (b"9.9", b""),
        (b"HEADER.FIELDS (from)", b"From: a@b.example\r\n\r\n"),
        (b'HEADER.FIELDS.NOT ("FROM")', b"Content-Type: multipart/mixed; boundary=out\r\n\r\n"),
    ],
)
def test_sections(name: bytes, data: bytes) -> None:
    assert section(NESTED, name) == data


def test_partial() -> None:
    assert fetched(NESTED, b"BODY.PEEK[TEXT]<3.5>") == b"BODY[TEXT]<3> {5}\r\namble"
    assert fetched(NESTED, b"BODY[TEXT]<999999.5>") == b"BODY[TEXT]<999999> {0}\r\n"


def test_structure_names_every_part() -> None:
    told = fetched(NESTED, b"BODYSTRUCTURE")
    assert told == (
        b'BODYSTRUCTURE ((("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 0)("TEXT" "HTML" NIL NIL NIL "7BIT" 3 0) "ALTERNATIVE"'
        b' ("boundary" "in"))("APPLICATION" "OCTET-STREAM" NIL NIL NIL "7BIT" 19) "MIXED" ("boundary" "out"))'
    )
    assert b"boundary" not in fetched(NESTED, b"BODY")


def test_envelope_of_odd_headers() -> None:
    raw = b'From: "A \\"B\\" C" <a@b>, d@e (f)\r\nSubject: caf\xe9\r\n folded\r\nCc:\r\n\r\n'
    told = fetched(raw, b"ENVELOPE")
    assert told.startswith(b'ENVELOPE (NIL {11}\r\ncaf\xe9 folded (("A \\"B\\" C" NIL "a" "b")("f" NIL "d" "e")) ')
    assert told.endswith(b" NIL NIL NIL NIL NIL)")


def test_comments_without_end_are_no_address() -> None:
    assert b"NIL NIL NIL" in fetched(b"From: " + b"(" * 5000 + b"\r\n\r\n", b"ENVELOPE")


@pytest.mark.parametrize("letter", letters())
def test_parts_of_the_letters_agree_with_the_library(letter: bytes) -> None:
    ours = mime.parse(letter)
    theirs = message_from_bytes(letter)
    assert b"/".join(ours.content_type).decode() == theirs.get_content_type()
    if ours.children:
        assert len(ours.children) == len(theirs.get_payload())


def test_depth_and_number_of_parts_are_bounded() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(50))
    depth, part = 0, mime.parse(deep)
    while part.children:
        depth, part = depth + 1, part.children[0]
    assert depth == 8
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 500
    assert len(mime.parse(many).children) == 100


def test_headers_are_looked_at_up_to_a_bound() -> None:
    assert len(mime.fields(b"A: b\r\n" + b" c\r\n" * 1_000_000)[0][1]) == 65536


_WORDS = [
    b"Content-Type: multipart/mixed; boundary=x\r\n",
    b"From: ",
    b"a@b",
    b"\r\n",
    b"\n",
    b"--x",
    b"--",
    b":",
    b" ",
]


@given(st.lists(st.sampled_from(_WORDS) | st.binary(max_size=6), max_size=30).map(b"".join))
def test_any_bytes_can_be_fetched(raw: bytes) -> None:
    for item in (b"ENVELOPE", b"BODYSTRUCTURE", b"BODY", b"BODY[1]", b"BODY[1.MIME]", b"RFC822.HEADER", b"RFC822.TEXT"):
        assert fetched(raw, item).startswith(item.split(b"[")[0])
    part = mime.parse(raw)
    assert part.head + part.body == raw
