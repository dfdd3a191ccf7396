"""Deadlines that move, and the one timer that looks at them all."""

import asyncio
import time
from typing import Final

import pytest

from tlsproxy.core.outcome import Reason
from tlsproxy.net.clocks.deadlines import Deadline, DeadlineClock

PERIOD_S: Final = 0.1
LATER_S: Final = 1000.0


@pytest.fixture
def clock() -> DeadlineClock:
    return DeadlineClock()


@pytest.fixture
def told() -> list[Reason]:
    return []


async def looked(times: int = 2) -> None:
    """Some looks later."""
    await asyncio.sleep(times * PERIOD_S)


def now() -> float:
    return time.monotonic()


async def test_late_once(clock: DeadlineClock, told: list[Reason]) -> None:
    deadline = Deadline(clock, told.append)
    assert not deadline.is_set
    deadline.move(now(), Reason.LOGIN_TIMEOUT)
    assert deadline.is_set
    await looked()
    assert told == [Reason.LOGIN_TIMEOUT]
    assert not deadline.is_set
    deadline.move(now(), Reason.IDLE_TIMEOUT)
    await looked()
    assert told == [Reason.LOGIN_TIMEOUT, Reason.IDLE_TIMEOUT]
    deadline.close()


async def test_never_early(clock: DeadlineClock) -> None:
    at: list[float] = []
    deadline = Deadline(clock, lambda _reason: at.append(now()))
    until = now() + 1.5 * PERIOD_S
    deadline.move(until, Reason.LOGIN_TIMEOUT)
    await looked(4)
    deadline.close()
    assert at[0] >= until


async def test_moved_away_and_nearer(clock: DeadlineClock, told: list[Reason]) -> None:
    deadline = Deadline(clock, told.append)
    deadline.move(now(), Reason.HANDSHAKE_TIMEOUT)
    deadline.move(now() + LATER_S, Reason.LOGIN_TIMEOUT)
    await looked()
    assert told == []
    deadline.move(now(), Reason.BACKEND_TIMEOUT)
    await looked()
    assert told == [Reason.BACKEND_TIMEOUT]
    deadline.close()


async def test_lifted_and_closed(clock: DeadlineClock, told: list[Reason]) -> None:
    lifted, closed = Deadline(clock, told.append), Deadline(clock, told.append)
    for deadline in (lifted, closed):
        deadline.move(now(), Reason.LOGIN_TIMEOUT)
    lifted.lift()
    closed.close()
    closed.close()
    closed.move(now(), Reason.LOGIN_TIMEOUT)
    assert not closed.is_set
    await looked()
    assert told == [], "nobody is there to be told"
    lifted.close()


async def test_one_that_closes_another(clock: DeadlineClock) -> None:
    """Both are late at one look: who was told of first may have ended the other."""
    deadlines: list[Deadline] = []
    late: list[int] = []

    def end_all(number: int) -> None:
        late.append(number)
        for deadline in deadlines:
            deadline.close()

    for number in range(2):
        deadlines.append(Deadline(clock, lambda _reason, number=number: end_all(number)))  # type: ignore[misc] # bound now
        deadlines[-1].move(now(), Reason.LOGIN_TIMEOUT)
    await looked()
    assert len(late) == 1


async def test_timer_rests_while_there_is_none(clock: DeadlineClock, told: list[Reason]) -> None:
    for _ in range(2):
        deadline = Deadline(clock, told.append)
        deadline.move(now() + LATER_S, Reason.LOGIN_TIMEOUT)
        await looked()
        assert clock._timer is not None
        deadline.close()
        await looked()
        assert clock._timer is None


async def test_one_that_fails_stops_nobody_else(clock: DeadlineClock, told: list[Reason]) -> None:
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context["exception"]))

    def fail(_reason: Reason) -> None:
        raise KeyError("bug")

    broken, other = Deadline(clock, fail), Deadline(clock, told.append)
    broken.move(now(), Reason.LOGIN_TIMEOUT)
    await looked()
    other.move(now(), Reason.IDLE_TIMEOUT)
    await looked()
    assert [type(error) for error in errors] == [KeyError]
    assert told == [Reason.IDLE_TIMEOUT]
    broken.close()
    other.close()
