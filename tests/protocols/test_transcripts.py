"""Drives every transcript through the dialogue it belongs to: whole, byte by byte, and with bytes behind its end."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import pytest
from protocols.transcripts import Event, Room, Speaker, Step, Transcript, TranscriptError, load_all, parse, unescaped

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import (
    Gate,
    GateAction,
    Hangup,
    LoggedIn,
    Login,
    LoginAction,
    MailProtocol,
    PasswordExposed,
    StartTls,
    ToBackend,
    ToClient,
    Upgrade,
    UpgradeAction,
)
from tlsproxy.protocols.registry import PROTOCOLS

# Neither POP3 nor IMAP, and with an injected command behind it.
TRAILING = b"\x00\xff{9}\r\nDELE 1\r\n"

Action = GateAction | LoginAction | UpgradeAction


class Driver:
    """One dialogue, fed as the session would feed it."""

    def __init__(self, transcript: Transcript, protocol: MailProtocol) -> None:
        self.dialogue: Gate | Login | Upgrade
        match transcript.room:
            case Room.GATE:
                self.dialogue = protocol.make_gate(transcript.limits)
            case Room.UPGRADE:
                self.dialogue = protocol.make_upgrade()
            case room:
                self.dialogue = protocol.make_login(transcript.limits, room is Room.LOGIN_IMPLICIT)
        self.is_relaying = False

    def feed(self, speaker: Speaker | None, data: bytes) -> Sequence[Action]:
        if speaker is None:
            return [ToClient(self.dialogue.greeting())]
        if self.is_relaying:
            return [ToBackend(data) if speaker is Speaker.CLIENT else ToClient(data)]
        if speaker is Speaker.BACKEND:
            actions: Sequence[Action] = self.dialogue.from_backend(data)
        elif hasattr(self.dialogue, "receive"):
            actions = self.dialogue.receive(data)
        else:
            actions = self.dialogue.from_client(data)
        self.is_relaying = any(isinstance(action, LoggedIn) for action in actions)
        return actions


def result(actions: Iterable[Action]) -> tuple[bytes, bytes, tuple[Event, ...]]:
    known = list(actions)
    return (
        b"".join(action.data for action in known if isinstance(action, ToClient)),
        b"".join(action.data for action in known if isinstance(action, ToBackend)),
        tuple(action for action in known if not isinstance(action, ToClient | ToBackend)),
    )


def expected(step: Step) -> tuple[bytes, bytes, tuple[Event, ...]]:
    return step.to_client, step.to_backend, step.events


CASES = [(PROTOCOLS[protocol], transcript) for protocol in PROTOCOLS for transcript in load_all(protocol)]


def each(applies: Callable[[Transcript], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("protocol", "transcript"),
        [pytest.param(*case, id=f"{case[0].name}/{case[1].name}") for case in CASES if applies(case[1])],
    )


@each(lambda _: True)
def test_whole(protocol: MailProtocol, transcript: Transcript) -> None:
    driver = Driver(transcript, protocol)
    for step in transcript.steps:
        assert result(driver.feed(step.speaker, step.heard)) == expected(step)


@each(lambda transcript: transcript.may_be_split)
def test_byte_by_byte(protocol: MailProtocol, transcript: Transcript) -> None:
    driver = Driver(transcript, protocol)
    for step in transcript.steps:
        feeds = [bytes([byte]) for byte in step.heard] or [b""]
        assert result(chain.from_iterable(driver.feed(step.speaker, feed) for feed in feeds)) == expected(step)


@each(lambda transcript: transcript.outcome != "open")
def test_bytes_behind_the_end(protocol: MailProtocol, transcript: Transcript) -> None:
    driver = Driver(transcript, protocol)
    *steps, last = transcript.steps
    for step in steps:
        driver.feed(step.speaker, step.heard)
    if transcript.outcome == "logged_in":
        assert last.speaker is Speaker.BACKEND
        assert list(driver.feed(Speaker.CLIENT, TRAILING)) == []
    to_client, to_backend, events = result(driver.feed(last.speaker, last.heard + TRAILING))
    match transcript.outcome, transcript.room:
        case "starttls", Room.UPGRADE:
            assert (to_client, to_backend, events) == (b"", b"", (Hangup(Reason.BACKEND_TLS_FAILED),))
        case "starttls", _:
            assert events[-1:] == (Hangup(Reason.STARTTLS_INJECTION),)
            assert StartTls() not in events
        case "logged_in", _:
            assert (to_client, to_backend) == (last.to_client + TRAILING, last.to_backend + TRAILING)
            assert events == last.events
        case _:
            assert (to_client, to_backend, events) == expected(last)


@each(lambda transcript: transcript.outcome not in {"open", "logged_in"})
def test_nothing_comes_after_the_end(protocol: MailProtocol, transcript: Transcript) -> None:
    driver = Driver(transcript, protocol)
    for step in transcript.steps:
        driver.feed(step.speaker, step.heard)
    assert list(driver.feed(transcript.steps[-1].speaker, TRAILING)) == []


HEADER = "# title: t\n# rfc: RFC 1939\n# room: gate\n# outcome: open\n"


def test_a_transcript_is_read() -> None:
    text = HEADER + "# limit: line_bytes=64\n\nS: hi\nC: a\\x00\\\\\nC| b\nS: c\n# why\n!: exposed - PASS\nC:\n"
    transcript = parse("x.txt", text)
    assert transcript.limits.line_bytes == 64
    assert [step.heard for step in transcript.steps] == [b"", b"a\x00\\\r\nb", b"\r\n"]
    assert [step.to_client for step in transcript.steps] == [b"hi\r\n", b"c\r\n", b""]
    assert transcript.steps[1].events == (PasswordExposed(user=None, mechanism="PASS"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# title: t\n", "x.txt: header is missing: outcome, rfc, room"),
        ("# colour: red\n", "x.txt:1: unknown or repeated header: colour"),
        ("# title: a\n# title: b\n", "x.txt:2: unknown or repeated header: title"),
        ("# nothing\n", "x.txt:1: not a header: '# nothing'"),
        ("# limit: luck=3\n", "x.txt:1: unknown limit: luck"),
        (HEADER + "hello\n", "x.txt:5: not a line of a transcript: 'hello'"),
        (HEADER + "C: \\q\n", "x.txt:5: unknown escape: b'q'"),
        (HEADER + "C: \\\n", "x.txt:5: unknown escape: b''"),
        (HEADER + "!: jumped\n", "x.txt:5: not an event: jumped "),
        (HEADER + "!: hangup luck\n", "x.txt:5: 'luck' is not a valid Reason"),
        (HEADER + "!: starttls\n", "x.txt: outcome is open in the header and starttls in the dialogue"),
        (HEADER.replace("gate", "hall"), "x.txt: 'hall' is not a valid Room"),
        (HEADER + "# drive: fast\n", "x.txt: drive can only be whole"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(TranscriptError) as caught:
        parse("x.txt", text)
    assert str(caught.value) == message


def test_escapes() -> None:
    assert unescaped(r"\r\n\x7F\\x é") == b"\r\n\x7f\\x \xc3\xa9"
