"""Coroutines without tasks: when they go on, how they are stopped, and that asyncio's own may still be awaited."""

import asyncio
from typing import Any

import pytest
from rig.planes import until

from tlsproxy.net.strand import Strand, apart


@pytest.fixture
def strand() -> Strand:
    return Strand()


@pytest.fixture
def told() -> list[Any]:
    return []


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_goes_on_within_the_call(strand: Strand, told: list[Any]) -> None:
    async def work() -> None:
        for number in range(3):
            told.append(number)
            await strand.rest()
        told.append("end")

    strand.run(work())
    assert told == [0]
    strand.wake()
    assert told == [0, 1]
    strand.wake()
    strand.wake()
    assert told == [0, 1, 2, "end"]
    strand.wake()
    strand.stop()


def test_woken_by_itself(strand: Strand, told: list[Any]) -> None:
    """It runs already; whoever waits looks again by himself before he rests."""

    async def work() -> None:
        strand.wake()
        told.append("on")
        await strand.rest()
        told.append("woken")

    strand.run(work())
    assert told == ["on"]
    strand.wake()
    assert told == ["on", "woken"]


def test_stopped_at_rest(strand: Strand, told: list[Any]) -> None:
    async def work() -> None:
        try:
            await strand.rest()
        except asyncio.CancelledError:
            told.append("stopped")
        await strand.rest()
        told.append("and on")

    strand.run(work())
    strand.stop()
    assert told == ["stopped"]
    strand.wake()
    assert told == ["stopped", "and on"]


def test_stopped_while_it_runs(strand: Strand, told: list[Any]) -> None:
    async def work() -> None:
        strand.stop()
        told.append("on")
        try:
            await strand.rest()
        except asyncio.CancelledError:
            told.append("stopped")

    strand.run(work())
    assert told == ["on", "stopped"]


async def test_waits_for_a_future(strand: Strand, told: list[Any]) -> None:
    future = asyncio.get_running_loop().create_future()

    async def work() -> None:
        told.append(await future)
        await strand.rest()
        told.append("woken")

    strand.run(work())
    strand.wake()
    assert told == [], "it does not rest: it waits for something else"
    future.set_result("found")
    await turn()
    assert told == ["found"]
    strand.wake()
    assert told == ["found", "woken"]


async def test_stopped_while_it_waits_for_a_future(strand: Strand, told: list[Any]) -> None:
    future = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            await future
        except asyncio.CancelledError:
            told.append("stopped")

    strand.run(work())
    strand.stop()
    await turn()
    assert told == ["stopped"]
    assert future.cancelled()


async def test_apart_is_a_task(strand: Strand, told: list[Any]) -> None:
    async def inner() -> str:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return "done"

    async def fail() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    async def work() -> None:
        told.append(await apart(inner()))
        try:
            await apart(fail())
        except TimeoutError:
            told.append("late")

    strand.run(work())
    await until(lambda: len(told) == 2)
    assert told == ["done", "late"]


async def test_stop_reaches_what_is_apart(strand: Strand, told: list[Any]) -> None:
    async def inner() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("inner")

    async def work() -> None:
        try:
            await apart(inner())
        except asyncio.CancelledError:
            told.append("outer")

    strand.run(work())
    await turn()
    strand.stop()
    await turn()
    assert told == ["inner", "outer"]


async def test_bug_is_told(strand: Strand, told: list[Any]) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    bug = KeyError("bug")

    async def work() -> None:
        await strand.rest()
        raise bug

    strand.run(work())
    strand.wake()
    assert told == [bug]
    strand.wake()
    strand.stop()


async def test_stopped_when_the_future_is_done(strand: Strand, told: list[Any]) -> None:
    """What it brought is taken, and the stop comes at the next wait."""
    future = asyncio.get_running_loop().create_future()

    async def work() -> None:
        told.append(await future)
        try:
            await strand.rest()
        except asyncio.CancelledError:
            told.append("stopped")

    strand.run(work())
    future.set_result("found")
    strand.stop()
    await turn()
    assert told == ["found", "stopped"]


async def test_gives_way_to_the_others(strand: Strand, told: list[Any]) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        told.append("on")

    strand.run(work())
    assert told == []
    await turn()
    assert told == ["on"]
