"""No address has all the places at a judge."""

import asyncio

import pytest

from tlsproxy.server.judges.base import Verdict
from tlsproxy.server.judges.fair import FairJudge


class _Slow:
    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.release = asyncio.Event()

    async def judge(self, user: bytes, password: bytes, client_key: bytes) -> Verdict:  # noqa: ARG002 - see PasswordJudge
        self.asked.append(client_key)
        await self.release.wait()
        return Verdict.OK if password == b"right" else Verdict.WRONG


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_many_of_one_address_hold_up_nobody_else() -> None:
    slow = _Slow()
    fair = FairJudge(slow, at_once=2)
    guesses = [asyncio.create_task(fair.judge(b"u", b"wrong", b"guesser")) for _ in range(5)]
    await _settle()
    other = asyncio.create_task(fair.judge(b"u", b"right", b"other"))
    await _settle()
    assert slow.asked == [b"guesser", b"guesser", b"other"]
    assert len(fair) == 2
    slow.release.set()
    assert await other is Verdict.OK
    assert set(await asyncio.gather(*guesses)) == {Verdict.WRONG}
    assert slow.asked.count(b"guesser") == 5
    assert not len(fair)


async def test_who_gives_up_in_the_queue_leaves_nothing() -> None:
    slow = _Slow()
    fair = FairJudge(slow, at_once=1)
    first, second = (asyncio.create_task(fair.judge(b"u", b"wrong", b"one")) for _ in range(2))
    await _settle()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    slow.release.set()
    assert await first is Verdict.WRONG
    assert slow.asked == [b"one"]
    assert not len(fair)
