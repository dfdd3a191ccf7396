"""Live sessions: who is stopped how, and when a drain is over."""

import asyncio
from ipaddress import IPv4Address
from typing import Any, Final

import pytest
from rig.planes import until

from tlsproxy.admission.base import Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.core.outcome import Reason
from tlsproxy.server import roster as roster_room
from tlsproxy.server.keeper import Keeper
from tlsproxy.server.roster import Roster

DEADLINE_S: Final = 5.0


def ticket_of(number: int) -> Ticket:
    peer = Peer(IPv4Address("192.0.2.1"), 1000 + number)
    return Ticket(id=number, peer=peer, listener="imaps", owner=1, is_exempt=False, is_stressed=False)


class Guest:
    """A session that lives until it is stopped often enough."""

    def __init__(self, number: int | None = None, *, stops_needed: int = 1, looks_needed: int = 0) -> None:
        self.ticket = ticket_of(number) if number is not None else None
        self.stops: list[tuple[Any, ...]] = []
        self.stopped_at = 0.0
        self.is_logged_in = False
        self.looks = 0
        self._looks_needed = looks_needed
        self._stops_needed = stops_needed
        self._over = asyncio.Event()

    def begin(self, keeper: Keeper) -> None:
        self._keeper = keeper
        keeper.employ(self._live())

    async def _live(self) -> None:
        await self._over.wait()

    def _end(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._keeper.forget(self)  # type: ignore[arg-type] # all of a session that a roster may use

    def stop(self, *reason: Any) -> None:
        self.stops.append(reason)
        self.stopped_at = self.stopped_at or asyncio.get_running_loop().time()
        if len(self.stops) >= self._stops_needed:
            self._end()

    def is_at_rest(self) -> bool:
        self.looks += 1
        return self.looks > self._looks_needed

    def leave(self) -> None:
        self._end()


@pytest.fixture
def roster(monkeypatch: pytest.MonkeyPatch) -> Roster:
    monkeypatch.setattr(roster_room, "_LOOK_PERIOD_S", 0.005)
    monkeypatch.setattr(roster_room, "_GRACE_S", 0.02)
    return Roster()


def add(roster: Roster, *guests: Guest) -> None:
    for guest in guests:
        roster.add(guest)  # type: ignore[arg-type] # all of a session that a roster may use


async def empty(roster: Roster) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await until(lambda: not len(roster))


async def test_who_ends_is_forgotten(roster: Roster) -> None:
    guests = [Guest(1), Guest()]
    add(roster, *guests)
    assert len(roster) == 2
    for guest in guests:
        guest.leave()
    await empty(roster)
    assert roster._by_ticket == {}


async def test_drain_spreads_the_goodbyes(roster: Roster) -> None:
    guests = [Guest(number) for number in range(4)]
    add(roster, *guests)
    began = asyncio.get_running_loop().time()
    await roster.drain(0.2)
    await empty(roster)
    waits = [guest.stopped_at - began for guest in guests]
    assert all(wait >= 0.05 * number for number, wait in enumerate(waits))
    assert all(guest.stops == [(Reason.SHUTDOWN,)] for guest in guests)


async def test_drain_waits_for_the_end_of_an_answer(roster: Roster) -> None:
    busy = Guest(1, looks_needed=3)
    add(roster, busy)
    await roster.drain(DEADLINE_S)
    assert busy.looks == 4
    assert len(busy.stops) == 1


async def test_drain_cuts_off_who_never_rests(roster: Roster) -> None:
    busy = Guest(1, looks_needed=10**9)
    add(roster, busy)
    async with asyncio.timeout(DEADLINE_S):
        await roster.drain(0.03)
    assert len(busy.stops) == 1


async def test_drain_is_over_when_nobody_is_left(roster: Roster) -> None:
    gone, busy = Guest(1), Guest(2, looks_needed=10**9)
    add(roster, gone, busy)
    draining = asyncio.create_task(roster.drain(3600.0))
    await asyncio.sleep(0)
    gone.leave()
    busy.leave()
    async with asyncio.timeout(DEADLINE_S):
        await draining


async def test_drain_when_one_is_just_leaving(roster: Roster) -> None:
    leaving, staying = Guest(1), Guest(2)
    add(roster, leaving, staying)
    await asyncio.sleep(0)
    leaving.leave()
    await asyncio.sleep(0)
    await roster.drain(0.01)
    assert staying.stops == [(Reason.SHUTDOWN,)]


async def test_evicted_by_ticket(roster: Roster) -> None:
    oldest, other = Guest(1), Guest(2)
    add(roster, oldest, other)
    roster.evict(1, Reason.UNAUTHENTICATED_FULL, "512")
    roster.evict(3, Reason.UNAUTHENTICATED_FULL, "512")
    assert oldest.stops == [(Reason.UNAUTHENTICATED_FULL, "512")]
    assert other.stops == []
    other.leave()
    await empty(roster)
    roster.evict(1, Reason.UNAUTHENTICATED_FULL, "512")
    assert len(oldest.stops) == 1, "who is gone is not evicted"


async def test_who_has_logged_in_meanwhile_is_not_evicted(roster: Roster) -> None:
    guest = Guest(1)
    guest.is_logged_in = True
    add(roster, guest)
    roster.evict(1, Reason.UNAUTHENTICATED_FULL, "512")
    assert guest.stops == []
    guest.leave()
    await empty(roster)


async def test_drain_of_nobody(roster: Roster) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await roster.drain(3600.0)
        await roster.stop()


async def test_stop_hurries_and_does_not_wait_for_ever(roster: Roster) -> None:
    quick, stuck = Guest(1), Guest(2, stops_needed=10**9)
    add(roster, quick, stuck)
    async with asyncio.timeout(DEADLINE_S):
        await roster.stop()
    assert len(quick.stops) == len(stuck.stops) == 2
    stuck.leave()
    await empty(roster)
