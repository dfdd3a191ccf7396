"""The filter: what the proxy cannot keep goes, all else stays byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.protocols.imap.capabilities import filter_capabilities, shown_capabilities, sift


@pytest.mark.parametrize(
    ("line", "filtered"),
    [
        (b"* CAPABILITY", b"* CAPABILITY"),
        (b"* CAPABILITY STARTTLS", b"* CAPABILITY"),
        (b"* CAPABILITY IMAP4rev1  StartTLS X ", b"* CAPABILITY IMAP4rev1  X "),
        (b"* capability AUTH=external auth=PLAIN", b"* capability auth=PLAIN"),
        (b"* CAPABILITY AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS", b"* CAPABILITY AUTH=SCRAM-SHA-256"),
        (b"* CAPABILITY STLS LOGINDISABLED LOGIN-REFERRALS MAILBOX-REFERRALS A", b"* CAPABILITY A"),
        (b"* CAPABILITY STARTTLSX XSTARTTLS EXTERNAL", b"* CAPABILITY STARTTLSX XSTARTTLS EXTERNAL"),
        (b"* OK [CAPABILITY A STARTTLS B] STARTTLS] x", b"* OK [CAPABILITY A B] STARTTLS] x"),
        (b"a ok [Capability STARTTLS] x", b"a ok [Capability] x"),
        (b"a NO [CAPABILITY A LOGINDISABLED]", b"a NO [CAPABILITY A]"),
        (b"a OK [CAPABILITY A STARTTLS", b"a OK [CAPABILITY A"),
        (b"* OK STARTTLS", b"* OK STARTTLS"),
        (b"* OK [ALERT] [CAPABILITY STARTTLS]", b"* OK [ALERT] [CAPABILITY STARTTLS]"),
        (b"* LIST STARTTLS", b"* LIST STARTTLS"),
        (b"+ STARTTLS", b"+ STARTTLS"),
        (b"", b""),
    ],
)
def test_filter(line: bytes, filtered: bytes) -> None:
    assert filter_capabilities(line) == filtered


def test_shown() -> None:
    assert shown_capabilities(b"* CAPABILITY imap4rev1 Literal+") == {b"IMAP4REV1", b"LITERAL+"}
    assert shown_capabilities(b"a OK [CAPABILITY LITERAL-] LITERAL+") == {b"LITERAL-"}
    assert shown_capabilities(b"* OK LITERAL+") == frozenset()


def test_a_list_too_long_to_be_remembered_is_read_all_the_same() -> None:
    words = [b"X%d" % number for number in range(300)]
    line = b"* OK [CAPABILITY " + b" ".join([*words, b"STARTTLS"]) + b"] x"
    assert sift(line) == (b"* OK [CAPABILITY " + b" ".join(words) + b"] x", {*words, b"STARTTLS"})


@pytest.mark.parametrize("condition", [b"OK", b"NO", b"BAD", b"BYE"])
def test_what_is_remembered_of_a_list_is_nothing_of_its_line(condition: bytes) -> None:
    line = b"%b " + condition + b" [CAPABILITY A%b] %b"
    for tag, text in ((b"*", b"ready"), (b"a1", b"joe logged in"), (b"a2", b"jane logged in")):
        assert filter_capabilities(line % (tag, b" STARTTLS", text)) == line % (tag, b"", text)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(b"* OK [CAPABILITY ".__add__))
def test_nothing_is_ever_added(line: bytes) -> None:
    filtered = filter_capabilities(line)
    assert shown_capabilities(filtered) <= shown_capabilities(line)
    assert filter_capabilities(filtered) == filtered
    assert b"STARTTLS" not in shown_capabilities(filtered)
