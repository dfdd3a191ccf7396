"""Idle deadlines under a clock that the test winds."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from rig.planes import on_both_planes

from tlsproxy.net.clocks.idle import _FORGOTTEN, IdleClock
from tlsproxy.net.plane import Plane


class WoundLoop:
    """A loop's clock and timers, and nothing else of it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[WoundTimer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, action: Callable[[], None]) -> "WoundTimer":
        self.timers.append(WoundTimer(self, at, action))
        return self.timers[-1]

    def wind(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer.at <= until]:
            timer = min(due, key=lambda one: one.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.action()
        self.now = until


class WoundTimer:
    def __init__(self, loop: WoundLoop, at: float, action: Callable[[], None]) -> None:
        self.loop, self.at, self.action = loop, at, action

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class Counted:
    """A relay's count, and when it was found idle."""

    def __init__(self, loop: Any) -> None:
        self.number = 0
        self.then: Callable[[], Any] = lambda: None
        self.idle_at: list[float] = []
        self._loop = loop

    def count(self) -> int:
        return self.number

    def idled(self) -> None:
        self.idle_at.append(self._loop.time() - 1000.0)
        self.then()


@pytest.fixture
def loop() -> WoundLoop:
    return WoundLoop()


@pytest.fixture
def clock(loop: WoundLoop) -> IdleClock:
    return IdleClock(loop)  # type: ignore[arg-type] # all of a loop that it may use


def test_silence_is_noticed_once_and_in_time(loop: WoundLoop, clock: IdleClock) -> None:
    relay = Counted(loop)
    clock.watch(40, relay)
    loop.wind(39.9)
    assert relay.idle_at == []
    loop.wind(100)
    assert relay.idle_at == [40]
    assert loop.timers == [], "nobody is left to look at"


def test_every_byte_counts_anew(loop: WoundLoop, clock: IdleClock) -> None:
    relay = Counted(loop)
    clock.watch(40, relay)
    for _ in range(20):
        loop.wind(35)
        relay.number += 1
    assert relay.idle_at == []
    last = loop.now - 1000.0
    loop.wind(100)
    (idle_at,) = relay.idle_at
    assert 40 <= idle_at - last <= 50, "between one and one and a quarter times the limit"


def test_many_with_different_limits(loop: WoundLoop, clock: IdleClock) -> None:
    relays = {limit: Counted(loop) for limit in (30, 10, 20, 11, 29)}
    for limit, relay in relays.items():
        clock.watch(limit, relay)
        assert len(loop.timers) == 1, "one timer for all"
    loop.wind(100)
    assert {limit: relay.idle_at for limit, relay in relays.items()} == {limit: [limit] for limit in relays}


def test_forgotten_relay_is_not_looked_at(loop: WoundLoop, clock: IdleClock) -> None:
    gone, there = Counted(loop), Counted(loop)
    watch = clock.watch(40, gone)
    clock.watch(40, there)
    loop.wind(15)
    clock.forget(watch)
    loop.wind(100)
    assert (gone.idle_at, there.idle_at) == ([], [40])
    assert watch.watched is None


def test_forgotten_ones_do_not_pile_up(loop: WoundLoop, clock: IdleClock) -> None:
    """Ten thousand short sessions within one quarter of a limit of 35 minutes."""
    stays = Counted(loop)
    clock.watch(2100, stays)
    for _ in range(10_000):
        relay = Counted(loop)
        clock.forget(clock.watch(2100, relay))
        assert len(clock._heap) <= 2 * _FORGOTTEN + 2
    loop.wind(2100)
    assert stays.idle_at == [2100]


def test_relay_that_ends_because_it_idled(loop: WoundLoop, clock: IdleClock) -> None:
    """It forgets its watch, which is in no heap any more."""
    relay = Counted(loop)
    watch = clock.watch(40, relay)
    relay.then = lambda: clock.forget(watch)
    loop.wind(100)
    assert relay.idle_at == [40]


def test_watch_that_forgets_another(loop: WoundLoop, clock: IdleClock) -> None:
    first, second = Counted(loop), Counted(loop)
    clock.watch(40, first)
    first.then = lambda: clock.forget(watch)
    watch = clock.watch(40, second)
    loop.wind(100)
    assert second.idle_at == []


def test_closed_clock_stops(loop: WoundLoop, clock: IdleClock) -> None:
    relay = Counted(loop)
    clock.watch(40, relay)
    clock.close()
    clock.close()
    loop.wind(100)
    assert (relay.idle_at, loop.timers) == ([], [])


@on_both_planes
async def test_on_a_real_loop(plane: Plane) -> None:
    clock = IdleClock(asyncio.get_running_loop())
    idled: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    relay = Counted(asyncio.get_running_loop())
    relay.then = lambda: idled.set_result(None)
    clock.watch(0.02, relay)
    await idled
    clock.close()
