"""What an old server is told before any mail, driven by hand: each line that is said, and what comes of the answers."""

import base64
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.addresses import peer_from
from tlsproxy.protocols.smtp.backend_side.introduction import (
    UNKNOWN_FOR_NOW,
    UNKNOWN_NAME,
    Dialogue,
    Guest,
    Refusal,
    Replayed,
    introduce,
    replay,
    say_hello,
    xtext,
)
from tlsproxy.protocols.smtp.capabilities import Capabilities
from tlsproxy.protocols.smtp.reply import Reply, reply
from tlsproxy.protocols.smtp.syntax import Extension

OK: Final = reply(250, "2.0.0", "OK")
GREETING: Final = reply(220, "2.0.0", "again")
NO: Final = reply(550, "5.7.0", "no")
BAD_ADDRESS: Final = reply(501, "5.5.4", "Bad ADDR syntax")
UNKNOWN: Final = reply(500, "5.5.1", "unknown command")
LATER: Final = reply(421, "4.3.2", "later")
ALL: Final = b"NAME ADDR PROTO HELO PORT LOGIN"
XCLIENT_LIMIT_BYTES: Final = 512


def hello(*lines: bytes) -> Reply:
    return Reply(250, (b"old.example", *lines))


def guest(ip: str = "192.0.2.7", **changes: Any) -> Guest:
    facts: dict[str, Any] = {
        "name": b"client.example",
        "hello": b"helo.example",
        "is_esmtp": True,
        "user": None,
        **changes,
    }
    return Guest(peer=peer_from(ip, 4321), destination=peer_from("192.0.2.1", 25), **facts)


def drive(dialogue: Dialogue[Any], *answers: Reply) -> tuple[list[bytes], Any]:
    """The lines that were said, and what came of it; every answer must have been asked for."""
    said: list[bytes] = []
    left = list(answers)
    try:
        line = next(dialogue)
        while True:
            said.append(line)
            line = dialogue.send(left.pop(0))
    except StopIteration as end:
        assert left == []
        return said, end.value


# EHLO and HELO.


def test_ehlo() -> None:
    said, known = drive(say_hello(b"mx.example"), hello(b"SIZE 1000", b"8BITMIME", b"XCLIENT NAME ADDR"))
    assert said == [b"EHLO mx.example\r\n"]
    assert known == Capabilities(
        extensions=frozenset({Extension.SIZE, Extension.EIGHT_BIT_MIME}),
        size=1000,
        xclient=frozenset({b"NAME", b"ADDR"}),
    )


@pytest.mark.parametrize("answer", [UNKNOWN, reply(502, "", "not implemented"), NO])
def test_helo_where_ehlo_is_not_understood(answer: Reply) -> None:
    said, known = drive(say_hello(b"mx.example"), answer, OK)
    assert said == [b"EHLO mx.example\r\n", b"HELO mx.example\r\n"]
    assert known == Capabilities()


@pytest.mark.parametrize("answers", [(LATER,), (reply(334, "", "odd"),), (UNKNOWN, NO), (UNKNOWN, LATER)])
def test_no_hello(answers: Sequence[Reply]) -> None:
    assert drive(say_hello(b"mx.example"), *answers)[1] is Refusal.NO_HELLO


# XCLIENT.


def test_xclient_tells_what_is_offered_and_then_ehlo_is_the_clients() -> None:
    said, known = drive(introduce(b"mx", guest(), is_required=True), hello(b"XCLIENT " + ALL), GREETING, hello(b"DSN"))
    assert said == [
        b"EHLO mx\r\n",
        b"XCLIENT HELO=helo.example PROTO=ESMTP PORT=4321 NAME=client.example ADDR=192.0.2.7\r\n",
        b"EHLO helo.example\r\n",
    ]
    assert known == Capabilities(extensions=frozenset({Extension.DSN})), "what was said before XCLIENT holds no more"


@pytest.mark.parametrize(
    ("offer", "said"),
    [
        (b"ADDR", b"XCLIENT ADDR=192.0.2.7\r\n"),
        (b"ADDR NAME", b"XCLIENT NAME=client.example ADDR=192.0.2.7\r\n"),
        (b"addr Helo DESTADDR", b"XCLIENT HELO=helo.example ADDR=192.0.2.7\r\n"),
        (b"LOGIN ADDR", b"XCLIENT ADDR=192.0.2.7\r\n"),
    ],
)
def test_nothing_is_told_that_is_not_offered(offer: bytes, said: bytes) -> None:
    lines, _ = drive(introduce(b"mx", guest(), is_required=True), hello(b"XCLIENT " + offer), GREETING, OK)
    assert lines[1] == said


def test_who_has_logged_in_is_told() -> None:
    visitor = guest(user=b"an na=+\xc3\xa9@example.org")
    lines, _ = drive(introduce(b"mx", visitor, is_required=True), hello(b"XCLIENT LOGIN ADDR"), GREETING, OK)
    assert lines[1] == b"XCLIENT LOGIN=an+20na+3D+2B+C3+A9@example.org ADDR=192.0.2.7\r\n"
    assert "an na" not in repr(visitor)


@pytest.mark.parametrize("is_required", [True, False])
@pytest.mark.parametrize("offer", [b"SIZE", b"XCLIENT ADDR NAME"])
def test_a_user_who_cannot_be_told_sends_nothing(offer: bytes, *, is_required: bool) -> None:
    lines, outcome = drive(introduce(b"mx", guest(user=b"anna"), is_required=is_required), hello(offer))
    assert lines == [b"EHLO mx\r\n"]
    assert outcome is Refusal.NO_XCLIENT_LOGIN


def test_a_user_whose_name_is_too_long_for_a_line_sends_nothing() -> None:
    lines, outcome = drive(introduce(b"mx", guest(user=b"a" * 600), is_required=False), hello(b"XCLIENT " + ALL))
    assert lines == [b"EHLO mx\r\n"]
    assert outcome is Refusal.LOGIN_TOO_LONG


def test_what_is_not_known() -> None:
    visitor = guest(name=UNKNOWN_FOR_NOW, hello=b"", is_esmtp=False)
    lines, _ = drive(introduce(b"mx", visitor, is_required=True), hello(b"XCLIENT " + ALL), GREETING, OK)
    assert lines[1:] == [
        b"XCLIENT HELO=[UNAVAILABLE] PROTO=SMTP PORT=4321 NAME=[TEMPUNAVAIL] ADDR=192.0.2.7\r\n",
        b"EHLO mx\r\n",
    ]
    assert UNKNOWN_NAME == b"[UNAVAILABLE]"


def test_ipv6() -> None:
    visitor = guest("2001:db8::7")
    lines, _ = drive(introduce(b"mx", visitor, is_required=True), hello(b"XCLIENT ADDR"), GREETING, OK)
    assert lines[1] == b"XCLIENT ADDR=IPV6:2001:db8::7\r\n"


def test_a_server_that_knows_no_ipv6_is_of_no_use() -> None:
    dialogue = introduce(b"mx", guest("2001:db8::7"), is_required=True)
    assert drive(dialogue, hello(b"XCLIENT ADDR"), BAD_ADDRESS)[1] is Refusal.XCLIENT_REFUSED


def test_or_is_told_of_a_client_without_an_address() -> None:
    dialogue = introduce(b"mx", guest("2001:db8::7"), is_required=False)
    lines, known = drive(dialogue, hello(b"XCLIENT ADDR NAME"), BAD_ADDRESS, GREETING, hello(b"DSN"))
    assert lines[2] == b"XCLIENT NAME=client.example ADDR=[UNAVAILABLE]\r\n"
    assert known == Capabilities(extensions=frozenset({Extension.DSN}))


def test_a_server_that_refuses_xclient_altogether_is_of_no_use_at_all() -> None:
    dialogue = introduce(b"mx", guest(), is_required=False)
    assert drive(dialogue, hello(b"XCLIENT ADDR"), NO, NO)[1] is Refusal.XCLIENT_REFUSED


@pytest.mark.parametrize("answer", [OK, LATER, reply(354, "", "odd")])
def test_only_a_greeting_is_a_yes(answer: Reply) -> None:
    dialogue = introduce(b"mx", guest(), is_required=True)
    assert drive(dialogue, hello(b"XCLIENT ADDR"), answer)[1] is Refusal.XCLIENT_REFUSED


def test_no_xclient() -> None:
    assert drive(introduce(b"mx", guest(), is_required=True), hello(b"DSN"))[1] is Refusal.NO_XCLIENT
    known = drive(introduce(b"mx", guest(), is_required=False), hello(b"DSN"))[1]
    assert known == Capabilities(extensions=frozenset({Extension.DSN}))


def test_no_hello_no_xclient() -> None:
    assert drive(introduce(b"mx", guest(), is_required=False), LATER)[1] is Refusal.NO_HELLO


def test_the_first_refused_line_ends_it() -> None:
    visitor = guest(user=b"u" * 300, hello=b"h" * 255, name=b"n" * 253)
    dialogue = introduce(b"mx", visitor, is_required=True)
    lines, outcome = drive(dialogue, hello(b"XCLIENT " + ALL), GREETING, NO)
    assert len(lines) == 3
    assert outcome is Refusal.XCLIENT_REFUSED


@given(
    user=st.binary(max_size=160) | st.none(),
    hello_name=st.text("ab.-", max_size=255).map(str.encode),
    name=st.text("xy.", min_size=1, max_size=253).map(str.encode),
    ip=st.ip_addresses().map(str),
    offer=st.sets(st.sampled_from(ALL.split())),
)
def test_lines_are_short_and_name_and_address_come_last(
    user: bytes | None, hello_name: bytes, name: bytes, ip: str, offer: set[bytes]
) -> None:
    offer |= {b"ADDR", b"LOGIN"}
    visitor = guest(ip, user=user, hello=hello_name, name=name)
    dialogue = introduce(b"mx", visitor, is_required=True)
    next(dialogue)
    line = dialogue.send(hello(b"XCLIENT " + b" ".join(offer)))
    lines: list[bytes] = []
    while line.startswith(b"XCLIENT"):
        lines.append(line)
        line = dialogue.send(GREETING)
    assert all(len(each) <= XCLIENT_LIMIT_BYTES and each.endswith(b"\r\n") for each in lines)
    pairs = [pair.partition(b"=")[::2] for each in lines for pair in each.split()[1:]]
    keys = [key for key, _ in pairs]
    assert set(keys) == (offer if user is not None else offer - {b"LOGIN"})
    assert keys[-1] == b"ADDR"
    assert b"NAME" not in keys or keys[-2:] == [b"NAME", b"ADDR"]
    assert b"NAME" not in keys or b" NAME=" in lines[-1]
    assert len(keys) == len(set(keys))


@given(st.binary())
def test_xtext_is_one_printable_word_that_can_be_read_back(data: bytes) -> None:
    word = xtext(data)
    assert word.split() == [word] * bool(data)
    assert word.decode("ascii").isprintable()
    assert b"=" not in word
    first, *rest = word.split(b"+")
    assert first + b"".join(bytes([int(each[:2], 16)]) + each[2:] for each in rest) == data


# AUTH.


def test_plain_goes_before_login() -> None:
    lines, outcome = drive(replay(b"anna", b"word", frozenset({b"LOGIN", b"PLAIN"})), reply(235, "2.7.0", "in"))
    assert lines == [b"AUTH PLAIN " + base64.b64encode(b"\0anna\0word") + b"\r\n"]
    assert outcome is Replayed.OK


def test_login_where_there_is_no_plain() -> None:
    asked = reply(334, "", "VXNlcm5hbWU6"), reply(334, "", "UGFzc3dvcmQ6")
    lines, outcome = drive(replay(b"anna", b"word", frozenset({b"LOGIN"})), *asked, reply(235, "2.7.0", "in"))
    assert lines == [b"AUTH LOGIN\r\n", b"YW5uYQ==\r\n", b"d29yZA==\r\n"]
    assert outcome is Replayed.OK


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (reply(235, "2.7.0", "in"), Replayed.OK),
        (reply(535, "5.7.8", "wrong"), Replayed.WRONG),
        (reply(454, "4.7.0", "not now"), Replayed.UNAVAILABLE),
        (reply(534, "5.7.9", "too weak"), Replayed.UNAVAILABLE),
        (LATER, Replayed.UNAVAILABLE),
        (OK, Replayed.UNAVAILABLE),
        (reply(334, "", "more?"), Replayed.UNAVAILABLE),
    ],
)
def test_what_the_answer_means(answer: Reply, outcome: Replayed) -> None:
    assert drive(replay(b"anna", b"word", frozenset({b"PLAIN"})), answer)[1] is outcome
    asked = reply(334, "", ""), reply(334, "", "")
    assert drive(replay(b"anna", b"word", frozenset({b"LOGIN"})), *asked, answer)[1] is outcome


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ((reply(535, "5.7.8", "wrong"),), Replayed.WRONG),
        ((LATER,), Replayed.UNAVAILABLE),
        ((reply(334, "", ""), reply(535, "5.7.8", "no such user")), Replayed.WRONG),
    ],
)
def test_no_secret_is_said_that_is_not_asked_for(answers: Sequence[Reply], outcome: Replayed) -> None:
    lines, found = drive(replay(b"anna", b"word", frozenset({b"LOGIN"})), *answers)
    assert found is outcome
    assert base64.b64encode(b"word") + b"\r\n" not in lines


@pytest.mark.parametrize("mechanisms", [frozenset[bytes](), frozenset({b"CRAM-MD5"})])
def test_no_mechanism(mechanisms: frozenset[bytes]) -> None:
    assert drive(replay(b"anna", b"word", mechanisms)) == ([], Refusal.NO_MECHANISM)
