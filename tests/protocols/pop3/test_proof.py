"""Our own login to a POP3 server: what is said, and what is made of the answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Disproven, Hangup, ProofAction, Proven, ToBackend
from tlsproxy.protocols.pop3 import POP3
from tlsproxy.protocols.pop3.proof import Pop3Proof

QUIT = ToBackend(b"QUIT\r\n")
YES: list[ProofAction] = [Proven(), QUIT]
NO: list[ProofAction] = [Disproven(), QUIT]


def hangup(reason: Reason) -> list[ProofAction]:
    return [Hangup(reason)]


def asked() -> Pop3Proof:
    """One that waits for the answer to PASS."""
    proof = Pop3Proof(b"anna", b"se cret")
    assert proof.from_backend(b"+OK old <1@old>\r\n") == [ToBackend(b"USER anna\r\n")]
    assert proof.from_backend(b"+OK\r\n") == [ToBackend(b"PASS se cret\r\n")]
    return proof


def test_login() -> None:
    proof = asked()
    assert proof.from_backend(b"+OK 3 mails\r\n") == YES
    assert proof.from_backend(b"+OK bye\r\n") == []


@pytest.mark.parametrize(
    ("answer", "actions"),
    [
        (b"-ERR wrong\r\n", NO),
        (b"-ERR [AUTH] wrong\r\n", NO),
        (b"-ERR [SYS/TEMP] directory is down\r\n", hangup(Reason.BACKEND_REFUSED)),
        (b"-ERR [IN-USE] locked\r\n", hangup(Reason.BACKEND_REFUSED)),
        (b"-ERR [LOGIN-DELAY] too early\r\n", hangup(Reason.BACKEND_REFUSED)),
        (b"+ \r\n", hangup(Reason.BACKEND_GARBAGE)),
        (b"* OK imap\r\n", hangup(Reason.BACKEND_GARBAGE)),
        (b"x" * 8192, hangup(Reason.BACKEND_GARBAGE)),
    ],
)
def test_answers(answer: bytes, actions: list[ProofAction]) -> None:
    assert asked().from_backend(answer) == actions


def test_unknown_user() -> None:
    proof = Pop3Proof(b"anna", b"secret")
    proof.from_backend(b"+OK\r\n")
    assert proof.from_backend(b"-ERR who\r\n") == NO


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"-ERR too many\r\n", Reason.BACKEND_REFUSED),
        (b"* OK imap\r\n", Reason.BACKEND_GARBAGE),
    ],
)
def test_greeting_that_is_none(greeting: bytes, reason: Reason) -> None:
    proof = Pop3Proof(b"anna", b"secret")
    assert proof.from_backend(greeting) == hangup(reason)
    assert proof.from_backend(b"+OK\r\n") == []


@pytest.mark.parametrize("bad", [b"", b"a\r\nDELE 1", b"a\rb", b"a\nb", b"a\0b", b"x" * 4097])
def test_what_cannot_be_right_is_not_asked(bad: bytes) -> None:
    assert Pop3Proof(bad, b"secret").from_backend(b"+OK\r\n") == NO
    assert Pop3Proof(b"anna", bad).from_backend(b"+OK\r\n") == NO


def test_a_yes_too_many_is_not_taken_for_the_next_answer() -> None:
    proof = Pop3Proof(b"anna", b"secret")
    assert proof.from_backend(b"+OK hi\r\n+OK more\r\n") == hangup(Reason.BACKEND_GARBAGE)
    assert asked().from_backend(b"+OK user\r\n-ERR wrong\r\n") == hangup(Reason.BACKEND_GARBAGE)


def test_nothing_secret_is_shown() -> None:
    proof = POP3.make_proof(b"anna", b"secret")
    actions = [*proof.from_backend(b"+OK\r\n"), *proof.from_backend(b"+OK\r\n")]
    assert "secret" not in repr([proof, *actions])


lines = st.sampled_from([b"+OK\r\n", b"-ERR\n", b"-ERR [IN-USE]\r\n", b"+ \r\n", b"x" * 9000, b"+OKAY\r\n"])
credentials = st.binary(max_size=6) | st.just(b"anna")


@given(credentials, credentials, st.lists(lines | st.binary(max_size=6), max_size=9))
def test_any_bytes_give_actions_and_nothing_after_the_end(user: bytes, password: bytes, feeds: list[bytes]) -> None:
    proof = Pop3Proof(user, password)
    actions = [action for feed in feeds for action in proof.from_backend(feed)]
    ends = [n for n, action in enumerate(actions) if not isinstance(action, ToBackend)]
    assert len(ends) <= 1
    if ends:
        assert actions[ends[0] + 1 :] == ([] if isinstance(actions[ends[0]], Hangup) else [QUIT])
    assert all(action.data.count(b"\n") == 1 for action in actions if isinstance(action, ToBackend))
