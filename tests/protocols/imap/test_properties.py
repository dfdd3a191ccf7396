"""What holds for any bytes in any split."""

import re
from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tlsproxy.protocols.base import (
    DialogueLimits,
    GateAction,
    Hangup,
    LoggedIn,
    LoginAction,
    ToBackend,
    ToClient,
)
from tlsproxy.protocols.imap.backend_side.upgrade import ImapUpgrade
from tlsproxy.protocols.imap.gate import ImapGate
from tlsproxy.protocols.imap.login import ImapLogin

SMALL = DialogueLimits(
    line_bytes=40, sasl_line_bytes=60, literal_bytes=12, total_bytes=200, bad_commands=4, failed_logins=2
)
SECRET = b"hunter2"

ENDS = [b"\r\n", b"\n", b"", b" ", b"\r"]
WORDS = [
    *(b"a", b"b", b"NOOP", b"CAPABILITY", b"LOGOUT", b"LOGIN", b"AUTHENTICATE", b"ID", b"PLAIN", b"SELECT", b"joe"),
    *(b"{3}", b"{3+}", b"{0+}", b"{13+}", b"{13}", b'"x"', b"(", b")", b"NIL", b"AGEAYg==", b"*", b"\0", b"\xff", b"+"),
]
LINES = [
    *(b"a NOOP\r\n", b"b LOGOUT\r\n", b"a LOGIN joe hunter2\r\n", b"a LOGIN {3}\r\n", b"joe {7}\r\n", b"hunter2\r\n"),
    *(b"b LOGIN {3+}\r\njoe {7+}\r\nhunter2\r\n", b"a AUTHENTICATE PLAIN\r\n", b"b AUTHENTICATE PLAIN AGEAYg==\r\n"),
    *(b"AGEAYg==\r\n", b'a ID ("name" "x" "x-a" {1}\r\n', b"x)\r\n", b"a SELECT x\n", b"a LOGIN joe {13+}\r\n"),
]
ANSWERS = [
    *(b"a OK in\r\n", b"b OK [CAPABILITY A STARTTLS] in\r\n", b"a NO wrong\r\n", b"b NO [LIMIT] x\r\n", b"a BAD x\r\n"),
    *(b"+ go\r\n", b"+\r\n", b"* CAPABILITY LITERAL+ STARTTLS\r\n", b"* ID ({3}\r\nabc)\r\n", b"* BYE x\r\n", b"x\n"),
]
client_bytes = (
    st.sampled_from(LINES)
    | st.lists(st.sampled_from(WORDS), max_size=6)
    .map(b" ".join)
    .flatmap(lambda w: st.sampled_from(ENDS).map(w.__add__))
    | st.binary(max_size=20)
).filter(lambda data: b"STARTTLS" not in data.upper())
backend_bytes = st.sampled_from(ANSWERS) | st.lists(st.sampled_from(ANSWERS)).map(b"".join) | st.binary(max_size=20)
scripts = st.lists(st.tuples(st.just("C"), client_bytes) | st.tuples(st.just("B"), backend_bytes), max_size=12)

Said = tuple[bytes, bytes, list[object]]


def said(actions: Iterable[GateAction | LoginAction]) -> Said:
    known = list(actions)
    return (
        b"".join(action.data for action in known if isinstance(action, ToClient)),
        b"".join(action.data for action in known if isinstance(action, ToBackend)),
        [action for action in known if not isinstance(action, ToClient | ToBackend)],
    )


def pieces(data: st.DataObject, whole: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


class Relayed:
    """A login that goes over into the relay, as a session's does."""

    def __init__(self, *, greeting_passes: bool) -> None:
        self.login = ImapLogin(SMALL, greeting_passes)
        self.is_relay = False

    def feed(self, speaker: str, data: bytes) -> Sequence[LoginAction]:
        if self.is_relay:
            return [ToBackend(data) if speaker == "C" else ToClient(data)]
        actions = self.login.from_client(data) if speaker == "C" else self.login.from_backend(data)
        self.is_relay = any(isinstance(action, LoggedIn) for action in actions)
        return actions


@given(st.lists(client_bytes, max_size=12), st.data())
@settings(max_examples=300)
def test_a_gate_answers_the_same_in_any_split(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(lines)
    if b"STARTTLS" in whole.upper():
        return  # there the split is the point
    split = ImapGate(SMALL)
    assert said(a for p in pieces(data, whole) for a in split.receive(p)) == said(ImapGate(SMALL).receive(whole))


@given(scripts, st.booleans(), st.data())
@settings(max_examples=400)
def test_a_login_answers_the_same_in_any_split(
    script: list[tuple[str, bytes]],
    passes: bool,  # noqa: FBT001 - drawn
    data: st.DataObject,
) -> None:
    whole, split = Relayed(greeting_passes=passes), Relayed(greeting_passes=passes)
    for speaker, heard in [("B", b"* OK [CAPABILITY LITERAL+] x\r\n"), *script]:
        expected = said(whole.feed(speaker, heard))
        assert said(a for p in pieces(data, heard) for a in split.feed(speaker, p)) == expected


@given(scripts)
@settings(max_examples=300)
def test_no_more_is_held_than_the_bounds(script: list[tuple[str, bytes]]) -> None:
    login = ImapLogin(SMALL, greeting_passes=True)
    endings = 0
    for speaker, heard in script:
        actions = login.from_client(heard) if speaker == "C" else login.from_backend(heard)
        endings += sum(isinstance(action, Hangup | LoggedIn) for action in actions)
        assert len(login._client.intake) <= SMALL.total_bytes
        assert len(login._client._held) <= SMALL.total_bytes
        assert len(login._reader._buffer) < 65536
    assert endings <= 1


@given(st.lists(st.binary(max_size=50)))
def test_an_upgrade_takes_anything(chunks: list[bytes]) -> None:
    upgrade = ImapUpgrade()
    actions = [action for chunk in [b"* OK x\r\n", *chunks] for action in upgrade.from_backend(chunk)]
    assert sum(isinstance(action, Hangup) for action in actions) <= 1


@given(st.lists(st.sampled_from(LINES), max_size=12))
@settings(max_examples=200)
def test_a_gate_never_says_a_password(lines: list[bytes]) -> None:
    gate = ImapGate(SMALL)
    actions = gate.receive(b"".join(lines))
    to_client, _, events = said(actions)
    assert SECRET not in to_client
    assert b"AGEAYg" not in to_client
    assert SECRET.decode() not in repr([gate, actions, events])


@given(scripts)
@settings(max_examples=300)
def test_only_whole_commands_of_the_six_reach_the_backend(script: list[tuple[str, bytes]]) -> None:
    """Without literals every write is one line: one of the six commands, or a response where one was asked for."""
    login = ImapLogin(SMALL, greeting_passes=False)
    login.from_backend(b"* OK x\r\n")
    for speaker, heard in script:
        was_asked = login._client.exchange is not None
        actions = login.from_client(heard.replace(b"{", b"")) if speaker == "C" else login.from_backend(heard)
        if any(isinstance(action, LoggedIn) for action in actions):
            return
        for sent in (action.data for action in actions if isinstance(action, ToBackend)):
            assert sent.endswith(b"\r\n")
            assert sent.count(b"\n") == 1
            is_command = re.match(rb"[^ ]+ (?:CAPABILITY|NOOP|ID|LOGIN|AUTHENTICATE|LOGOUT)[ \r]", sent, re.IGNORECASE)
            assert is_command or was_asked


@given(
    st.binary(max_size=30), st.sampled_from([b" x y\r\n", b"\r\n", b' "x\r\n', b" x\0\r\n", b" x y {3+}\r\nabc\r\n"])
)
def test_nothing_of_a_refused_login_reaches_the_backend(user: bytes, rest: bytes) -> None:
    login = ImapLogin(SMALL, greeting_passes=False)
    login.from_backend(b"* OK [CAPABILITY LITERAL+] x\r\n")
    said_user = b"{%d+}\r\n%b" % (len(user), user)
    _, to_backend, _ = said(login.from_client(b"a LOGIN " + said_user + rest))
    assert to_backend == b""
