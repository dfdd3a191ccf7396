"""The gate beyond what its transcripts show."""

from dataclasses import replace

import pytest

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits, Hangup, PasswordExposed, StartTls, ToClient
from tlsproxy.protocols.imap.gate import ImapGate


def test_the_greeting_offers_no_login(limits: DialogueLimits) -> None:
    assert ImapGate(limits).greeting() == b"* OK [CAPABILITY IMAP4rev1 ID STARTTLS LOGINDISABLED] ready\r\n"


def test_a_gate_keeps_nothing_of_a_password(limits: DialogueLimits) -> None:
    gate = ImapGate(limits)
    gate.receive(b"a LOGIN joe {9+}\r\nhunter")
    assert len(gate._intake) == 0
    assert gate._kept == b""


def test_a_user_with_nul_is_no_user(limits: DialogueLimits) -> None:
    actions = ImapGate(limits).receive(b"a LOGIN {3+}\r\nj\0e secret\r\n")
    assert actions == [ToClient(b"a BAD Not understood before TLS\r\n")]


def test_the_bound_is_reached_behind_starttls(limits: DialogueLimits) -> None:
    """Bytes that were dropped for the total still show that something followed."""
    line = b"a STARTTLS\r\n"
    actions = ImapGate(replace(limits, total_bytes=len(line))).receive(line + b"x")
    assert actions[-1] == Hangup(Reason.STARTTLS_INJECTION)


def test_no_more_is_held_than_the_total(limits: DialogueLimits) -> None:
    gate = ImapGate(replace(limits, line_bytes=10**6, total_bytes=1000))
    actions = [action for _ in range(30) for action in gate.receive(b"a LOGIN " + b"x" * 60)]
    assert actions[-1] == Hangup(Reason.TOO_MUCH_BEFORE_LOGIN)
    assert sum(isinstance(action, Hangup) for action in actions) == 1
    assert len(gate._intake) <= 1000


@pytest.mark.parametrize("said", [b"a LOGIN joe s3cret\r\n", b"a AUTHENTICATE PLAIN AGpvZQBzM2NyZXQ=\r\n"])
def test_no_action_shows_a_password(limits: DialogueLimits, said: bytes) -> None:
    actions = ImapGate(limits).receive(said)
    assert any(isinstance(action, PasswordExposed) for action in actions)
    sent = b"".join(action.data for action in actions if isinstance(action, ToClient))
    assert b"s3cret" not in sent
    assert b"AGpvZQ" not in sent
    assert "s3cret" not in repr(actions)


def test_starttls_comes_once(limits: DialogueLimits) -> None:
    gate = ImapGate(limits)
    assert StartTls() in gate.receive(b"a STARTTLS\r\n")
    assert list(gate.receive(b"b STARTTLS\r\n")) == []
