"""Our own login to an IMAP server: what is said, and what is made of the answers."""

import base64
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Disproven, Hangup, ProofAction, Proven, ToBackend
from tlsproxy.protocols.imap import IMAP
from tlsproxy.protocols.imap.backend_side.proof import ImapProof

GREETING = b"* OK old\r\n"
LOGOUT = ToBackend(b"T2 LOGOUT\r\n")
YES: list[ProofAction] = [Proven(), LOGOUT]
NO: list[ProofAction] = [Disproven(), LOGOUT]


def hangup(reason: Reason) -> list[ProofAction]:
    return [Hangup(reason)]


def greeted(user: bytes = b"anna", password: bytes = b"secret", greeting: bytes = GREETING) -> ImapProof:
    proof = ImapProof(user, password)
    assert said(proof.from_backend(greeting))
    return proof


def said(actions: Iterable[ProofAction]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, ToBackend))


@pytest.mark.parametrize(
    ("user", "password", "pieces"),
    [
        (b"anna", b"secret", [b'T1 LOGIN "anna" "secret"\r\n']),
        (b"an na", b'se"c\\ret', [b'T1 LOGIN "an na" "se\\"c\\\\ret"\r\n']),
        (b"anna", b"gr\xc3\xbcn", [b'T1 LOGIN "anna" {5}\r\n', b"gr\xc3\xbcn\r\n"]),
        (b"j\xfcrgen", b"secret", [b"T1 LOGIN {6}\r\n", b'j\xfcrgen "secret"\r\n']),
        (b"j\xfcrgen", b"a\r\nb NOOP", [b"T1 LOGIN {6}\r\n", b"j\xfcrgen {9}\r\n", b"a\r\nb NOOP\r\n"]),
    ],
)
def test_login(user: bytes, password: bytes, pieces: list[bytes]) -> None:
    proof = ImapProof(user, password)
    heard = GREETING
    for piece in pieces:
        assert proof.from_backend(heard) == [ToBackend(piece)]
        heard = b"+ go on\r\n"
    assert proof.from_backend(b"T1 OK [CAPABILITY IMAP4rev1] in\r\n") == YES
    assert proof.from_backend(b"* BYE\r\nT2 OK\r\n") == []


def test_login_disabled() -> None:
    proof = ImapProof(b"anna", b"gr\xc3\xbcn")
    assert proof.from_backend(b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN] old\r\n") == [
        ToBackend(b"T1 AUTHENTICATE PLAIN\r\n")
    ]
    message = base64.b64encode(b"\0anna\0gr\xc3\xbcn")
    assert proof.from_backend(b"+ \r\n") == [ToBackend(message + b"\r\n")]
    assert proof.from_backend(b"T1 OK in\r\n") == YES


@pytest.mark.parametrize(
    ("user", "password"),
    [(b"", b"x"), (b"x", b""), (b"a\0b", b"x"), (b"x", b"\0"), (b"x" * 4097, b"x"), (b"x", b"x" * 4097)],
)
def test_what_cannot_be_right_is_not_asked(user: bytes, password: bytes) -> None:
    assert ImapProof(user, password).from_backend(GREETING) == NO


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"* PREAUTH in\r\n", Reason.BACKEND_PREAUTH),
        (b"* BYE full\r\n", Reason.BACKEND_REFUSED),
        (b"+OK pop3\r\n", Reason.BACKEND_GARBAGE),
        (b"x" * 8192, Reason.BACKEND_GARBAGE),
    ],
)
def test_greeting_that_is_none(greeting: bytes, reason: Reason) -> None:
    proof = ImapProof(b"anna", b"secret")
    assert proof.from_backend(greeting) == hangup(reason)
    assert proof.from_backend(GREETING) == []


@pytest.mark.parametrize(
    ("answer", "actions"),
    [
        (b"T1 NO wrong\r\n", NO),
        (b"T1 NO [AUTHENTICATIONFAILED] wrong\r\n", NO),
        (b"* BYE too often\r\nT1 NO wrong\r\n", NO),
        (b"* 3 EXISTS\r\n* OK {3}\r\n* LIST x {3}\r\na\r\n done\r\nT1 OK in\r\n", YES),
        (b"T1 NO [UNAVAILABLE] directory is down\r\n", hangup(Reason.BACKEND_REFUSED)),
        (b"T1 NO [INUSE] locked\r\n", hangup(Reason.BACKEND_REFUSED)),
        (b"T1 NO [LIMIT] too many\r\n", hangup(Reason.BACKEND_REFUSED)),
        (b"T1 NO [CONTACTADMIN] x\r\n", hangup(Reason.BACKEND_REFUSED)),
        (b"T1 BAD what\r\n", hangup(Reason.BACKEND_REFUSED)),
        (b"T1 BYE what\r\n", hangup(Reason.BACKEND_GARBAGE)),
        (b"T1\r\n", hangup(Reason.BACKEND_GARBAGE)),
        (b"T0 OK who\r\n", hangup(Reason.BACKEND_GARBAGE)),
        (b"+ more\r\n", hangup(Reason.BACKEND_GARBAGE)),
        (b"* PREAUTH\r\n", hangup(Reason.BACKEND_PREAUTH)),
        (b"* LIST {99999}\r\n", hangup(Reason.BACKEND_GARBAGE)),
    ],
)
def test_answers(answer: bytes, actions: list[ProofAction]) -> None:
    assert greeted().from_backend(answer) == actions


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"T1 OK in\r\n", Reason.BACKEND_GARBAGE),
        (b"T1 NO literals\r\n", Reason.BACKEND_REFUSED),
        (b"T1 BAD literals\r\n", Reason.BACKEND_REFUSED),
    ],
)
def test_answer_before_the_password_was_said(answer: bytes, reason: Reason) -> None:
    assert greeted(user=b"\xe4").from_backend(answer) == hangup(reason)


def test_an_endless_talker_ends_it() -> None:
    proof = greeted()
    line = b"* OK still busy\r\n"
    count = (65536 - len(GREETING)) // len(line)
    for _ in range(count):
        assert proof.from_backend(line) == []
    assert proof.from_backend(line) == hangup(Reason.BACKEND_GARBAGE)


def test_nothing_secret_is_shown() -> None:
    proof = IMAP.make_proof(b"anna", b"secret")
    actions = proof.from_backend(GREETING)
    assert "secret" not in repr([proof, *actions])


lines = st.sampled_from(
    [GREETING, b"T1 OK\r\n", b"T1 NO\r\n", b"+ \r\n", b"* LIST {3}\r\n", b"* PREAUTH\r\n", b"x" * 9000, b"* OK\r\n"]
)
credentials = st.binary(max_size=6) | st.just(b"anna")


@given(credentials, credentials, st.lists(lines | st.binary(max_size=6), max_size=9), st.integers(1, 40))
def test_any_bytes_in_any_split_give_the_same(user: bytes, password: bytes, parts: list[bytes], size: int) -> None:
    heard = b"".join(parts)
    whole = list(ImapProof(user, password).from_backend(heard))
    proof = ImapProof(user, password)
    split = [action for at in range(0, len(heard), size) for action in proof.from_backend(heard[at : at + size])]
    assert whole == split
    ends = [n for n, action in enumerate(whole) if not isinstance(action, ToBackend)]
    assert len(ends) <= 1
    if ends:
        assert whole[ends[0] + 1 :] == ([] if isinstance(whole[ends[0]], Hangup) else [LOGOUT])
