"""Every ending has a side and a level."""

import pytest

from tlsproxy.core.kinds import LogLevel, Side
from tlsproxy.core.outcome import Outcome, Phase, Reason

PROXY = {
    Reason.TOTAL_FULL,
    Reason.ADDRESS_FULL,
    Reason.RATE_EXCEEDED,
    Reason.UNAUTHENTICATED_FULL,
    Reason.UNAUTHENTICATED_ADDRESS_FULL,
    Reason.SHUTDOWN,
    Reason.WORKER_LOST,
    Reason.INTERNAL_ERROR,
}
BACKEND = {
    Reason.BACKEND_CLOSED,
    Reason.BACKEND_RESET,
    Reason.BACKEND_DOWN,
    Reason.BACKEND_TIMEOUT,
    Reason.BACKEND_REFUSED,
    Reason.BACKEND_GARBAGE,
    Reason.BACKEND_PREAUTH,
    Reason.BACKEND_TLS_FAILED,
}
ERRORS = {Reason.INTERNAL_ERROR, Reason.WORKER_LOST}
WARNINGS = (BACKEND - {Reason.BACKEND_CLOSED}) | {
    Reason.TOTAL_FULL,
    Reason.ADDRESS_FULL,
    Reason.UNAUTHENTICATED_FULL,
    Reason.UNAUTHENTICATED_ADDRESS_FULL,
    Reason.PASSWORDS_EXPOSED,
    Reason.STARTTLS_INJECTION,
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_side_and_level_whatever_the_phase(phase: Phase, reason: Reason) -> None:
    outcome = Outcome(phase=phase, reason=reason)
    expected = Side.PROXY if reason in PROXY else Side.BACKEND if reason in BACKEND else Side.CLIENT
    assert outcome.side is expected
    grave = LogLevel.ERROR if reason in ERRORS else LogLevel.WARNING if reason in WARNINGS else LogLevel.INFO
    assert outcome.level is grave


def test_a_flood_by_rate_does_not_ask_an_operator_to_look() -> None:
    assert Outcome(phase=Phase.ADMIT, reason=Reason.RATE_EXCEEDED).level is LogLevel.INFO


@pytest.mark.parametrize("choice", [*Phase, *Reason])
def test_names_can_be_counted_in_any_metrics_system(choice: str) -> None:
    assert choice.isascii()
    assert choice.replace("_", "a").isalpha()
    assert choice.islower()
