"""STARTTLS towards an old server: nothing that was heard before TLS comes through, and nothing may stand behind it."""

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Hangup, StartTls, ToBackend, UpgradeAction
from tlsproxy.protocols.smtp.backend_side.upgrade import SmtpUpgrade

HELLO: Final = ToBackend(b"EHLO localhost\r\n")
START: Final = ToBackend(b"STARTTLS\r\n")
WHOLE: Final = (
    b"220-old.example\r\n220 ESMTP\r\n",
    b"250-old.example\r\n250-SIZE 1\r\n250 STARTTLS\r\n",
    b"220 go\r\n",
)

answers = st.sampled_from([*WHOLE, b"220 x\r\n", b"250 STARTTLS\r\n", b"421 no\r\n", b"2", b"20 \r\n", b"x" * 9000])


def fed(*answers: bytes) -> list[UpgradeAction]:
    upgrade = SmtpUpgrade()
    return [action for answer in answers for action in upgrade.from_backend(answer)]


def test_upgrade() -> None:
    assert fed(*WHOLE) == [HELLO, START, StartTls()]


def test_any_split_gives_the_same() -> None:
    assert fed(*(bytes([byte]) for answer in WHOLE for byte in answer)) == [HELLO, START, StartTls()]


def test_the_session_goes_on_from_a_greeting_of_ours() -> None:
    upgrade = SmtpUpgrade()
    upgrade.from_backend(b"220 forged.example\r\n")
    assert upgrade.greeting == b"220 ready\r\n"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((b"421 busy\r\n",), Reason.BACKEND_REFUSED),
        ((b"554 no\r\n",), Reason.BACKEND_REFUSED),
        ((b"250 odd\r\n",), Reason.BACKEND_REFUSED),
        ((b"SSH-2.0-x\r\n",), Reason.BACKEND_GARBAGE),
        ((b"2" * 70_000,), Reason.BACKEND_GARBAGE),
        ((b"220 hi\r\n", b"550 no\r\n"), Reason.BACKEND_TLS_FAILED),
        ((b"220 hi\r\n", b"250 old.example\r\n"), Reason.BACKEND_TLS_FAILED),
        ((b"220 hi\r\n", b"250-STARTTLS\r\n250 SIZE\r\n"), Reason.BACKEND_TLS_FAILED),
        ((*WHOLE[:2], b"454 not now\r\n"), Reason.BACKEND_TLS_FAILED),
        ((*WHOLE[:2], b"250 odd\r\n"), Reason.BACKEND_TLS_FAILED),
    ],
)
def test_what_ends_it(answers: Sequence[bytes], reason: Reason) -> None:
    assert fed(*answers)[-1] == Hangup(reason)
    assert StartTls() not in fed(*answers)


@pytest.mark.parametrize("step", range(3))
@given(behind=st.binary(min_size=1, max_size=9))
def test_any_byte_behind_an_answer_ends_it(step: int, behind: bytes) -> None:
    assert fed(*WHOLE[:step], WHOLE[step] + behind)[-1] == Hangup(Reason.BACKEND_TLS_FAILED)


@given(st.lists(answers | st.binary(max_size=5), max_size=8))
def test_any_bytes_give_actions_and_nothing_after_the_end(feeds: list[bytes]) -> None:
    upgrade = SmtpUpgrade()
    actions: list[UpgradeAction] = []
    for feed in feeds:
        is_over = any(isinstance(action, Hangup | StartTls) for action in actions)
        came = list(upgrade.from_backend(feed))
        assert not (is_over and came)
        actions += came
    assert sum(isinstance(action, Hangup | StartTls) for action in actions) <= 1
    assert StartTls() not in actions or actions == [HELLO, START, StartTls()]
