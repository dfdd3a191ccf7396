"""Polite refusals: a budget in all and one per address."""

import pytest

from tlsproxy.admission.courtesy import Courtesy
from tlsproxy.core.outcome import Reason


def key(number: int) -> bytes:
    return number.to_bytes(4, "big")


@pytest.mark.parametrize("reason", [Reason.TOTAL_FULL, Reason.RATE_EXCEEDED, Reason.UNAUTHENTICATED_FULL])
def test_what_a_flood_can_cause_is_never_told(reason: Reason) -> None:
    assert not Courtesy().may_tell(reason, key(1), 5.0)


@pytest.mark.parametrize("reason", [Reason.ADDRESS_FULL, Reason.UNAUTHENTICATED_ADDRESS_FULL])
def test_an_address_is_told_once_in_ten_seconds(reason: Reason) -> None:
    courtesy = Courtesy()
    assert courtesy.may_tell(reason, key(1), 5.0)
    assert not courtesy.may_tell(reason, key(1), 14.9)
    assert courtesy.may_tell(reason, key(1), 15.0)


def test_twenty_a_second_in_all() -> None:
    courtesy = Courtesy()
    told = [courtesy.may_tell(Reason.ADDRESS_FULL, key(n), 5.0) for n in range(100)]
    assert told == [True] * 20 + [False] * 80
    assert courtesy.may_tell(Reason.ADDRESS_FULL, key(99), 5.05)
    assert not courtesy.may_tell(Reason.ADDRESS_FULL, key(98), 5.05)


def test_an_address_does_not_pay_for_a_refusal_that_was_not_told() -> None:
    courtesy = Courtesy()
    assert all(courtesy.may_tell(Reason.ADDRESS_FULL, key(n), 5.0) for n in range(20))
    assert not courtesy.may_tell(Reason.ADDRESS_FULL, key(50), 5.0)
    assert courtesy.may_tell(Reason.ADDRESS_FULL, key(50), 6.0)


def test_everybody_does_not_pay_for_an_address_that_asks_again() -> None:
    courtesy = Courtesy()
    told = [courtesy.may_tell(Reason.ADDRESS_FULL, key(1), 5.0) for _ in range(100)]
    assert told.count(True) == 1
    assert sum(courtesy.may_tell(Reason.ADDRESS_FULL, key(n), 5.0) for n in range(2, 100)) == 19


def test_its_memory_is_bounded_and_nobody_is_forgotten_too_soon() -> None:
    courtesy = Courtesy()
    told: dict[int, float] = {}
    for turn in range(20_000):
        number, now = turn % 400, 5.0 + turn / 500
        if courtesy.may_tell(Reason.ADDRESS_FULL, key(number), now):
            assert now - told.get(number, -10.0) >= 10.0
            told[number] = now
    assert len(courtesy._by_address) <= 256
    assert len(told) > 200
