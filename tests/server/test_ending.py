"""A deadline that moves, on a real loop."""

import asyncio
from typing import Final

import pytest

from tlsproxy.core.outcome import Reason
from tlsproxy.server.ending import Deadline

SOON_S: Final = 0.01


@pytest.fixture
async def told() -> list[Reason]:
    return []


async def pass_time(seconds: float = 3 * SOON_S) -> None:
    await asyncio.sleep(seconds)


def soon(times: int = 1) -> float:
    return asyncio.get_running_loop().time() + times * SOON_S


async def test_late_once(told: list[Reason]) -> None:
    deadline = Deadline(told.append)
    deadline.move(soon(), Reason.LOGIN_TIMEOUT)
    assert deadline.is_set
    await pass_time()
    assert told == [Reason.LOGIN_TIMEOUT]
    assert not deadline.is_set


async def test_moved_away(told: list[Reason]) -> None:
    deadline = Deadline(told.append)
    deadline.move(soon(), Reason.HANDSHAKE_TIMEOUT)
    timer = deadline._timer
    deadline.move(soon(6), Reason.LOGIN_TIMEOUT)
    assert deadline._timer is timer, "that costs nothing"
    await pass_time()
    assert told == []
    await pass_time(6 * SOON_S)
    assert told == [Reason.LOGIN_TIMEOUT]


async def test_moved_nearer(told: list[Reason]) -> None:
    deadline = Deadline(told.append)
    deadline.move(soon(1000), Reason.LOGIN_TIMEOUT)
    deadline.move(soon(), Reason.HANDSHAKE_TIMEOUT)
    await pass_time()
    assert told == [Reason.HANDSHAKE_TIMEOUT]


async def test_lifted_and_set_again(told: list[Reason]) -> None:
    deadline = Deadline(told.append)
    deadline.move(soon(), Reason.LOGIN_TIMEOUT)
    deadline.lift()
    await pass_time()
    assert told == []
    deadline.move(soon(), Reason.LOGIN_TIMEOUT)
    await pass_time()
    assert told == [Reason.LOGIN_TIMEOUT]


async def test_closed(told: list[Reason]) -> None:
    deadline = Deadline(told.append)
    deadline.close()
    deadline.move(soon(), Reason.LOGIN_TIMEOUT)
    deadline.close()
    assert deadline._timer is None
    await pass_time()
    deadline.move(soon(), Reason.LOGIN_TIMEOUT)
    await pass_time()
    assert told == [], "nobody is there to be told"
