"""A worker's live sessions: owns their tasks, stops one or all of them, spreads goodbyes over the drain."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from tlsproxy.core.outcome import Reason
from tlsproxy.server.keeper import Live

_LOOK_PERIOD_S: Final = 0.25  # between two looks at a session that is in the middle of an answer
_GRACE_S: Final = 2.0  # last words, and their lingering, after the window


class Roster:
    """The sessions that are alive; most of them are in the relay and have no task."""

    def __init__(self) -> None:
        self._sessions: dict[Live, asyncio.Future[None] | None] = {}
        """Each with what is set when it ends, if anybody waits for that."""
        self._by_ticket: dict[int, Live] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many sessions are alive."""
        return len(self._sessions)

    def add(self, session: Live) -> None:
        """Let a session live; it leaves the roster when it ends."""
        self._sessions[session] = None
        if session.ticket is not None:
            self._by_ticket[session.ticket.id] = session
        session.begin(self)

    def employ(self, work: Coroutine[Any, Any, None]) -> None:
        """See Keeper."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, session: Live) -> None:
        """See Keeper."""
        ended = self._sessions.pop(session, None)
        if session.ticket is not None:
            self._by_ticket.pop(session.ticket.id, None)
        if ended is not None and not ended.done():
            ended.set_result(None)

    def evict(self, ticket: int, reason: Reason, limit: str) -> None:
        """End the session that holds the ticket, if it still lives, telling it the number that was reached.

        One that has logged in meanwhile stays: whoever chose it did not know that yet.
        """
        session = self._by_ticket.get(ticket)
        if session is not None and not session.is_logged_in:
            session.stop(reason, limit)

    async def drain(self, window_s: float) -> None:
        """Say goodbye to every session, spread evenly over the window, each between two responses where it can be.

        Those who are in the middle of something get until the end of the window; then they are cut off.
        """
        sessions = list(self._sessions)
        loop = asyncio.get_running_loop()
        until = loop.time() + window_s
        pace_s = window_s / max(len(sessions), 1)
        async with asyncio.TaskGroup() as group:
            for number, session in enumerate(sessions):
                group.create_task(self._dismiss(session, loop.time() + number * pace_s, until))
        await self._wait(_GRACE_S)

    async def emptied(self, limit_s: float) -> bool:
        """Wait until no session is left; False if some still are after so many seconds."""
        await self._wait(limit_s)
        return not self._sessions

    async def stop(self) -> None:
        """End every session now, without goodbyes."""
        for session in list(self._sessions):
            session.stop(Reason.SHUTDOWN)
            session.stop(Reason.SHUTDOWN)
        await self._wait(_GRACE_S)

    async def _dismiss(self, session: Live, at: float, until: float) -> None:
        loop = asyncio.get_running_loop()
        await self._ends_within(session, max(at - loop.time(), 0))
        while session in self._sessions and not session.is_at_rest() and loop.time() < until:
            await self._ends_within(session, _LOOK_PERIOD_S)
        session.stop(Reason.SHUTDOWN)

    async def _ends_within(self, session: Live, seconds: float) -> None:
        if session in self._sessions:
            await asyncio.wait({self._end_of(session)}, timeout=seconds)

    async def _wait(self, limit_s: float) -> None:
        ends = {self._end_of(session) for session in self._sessions} | self._tasks
        if ends:
            await asyncio.wait(ends, timeout=limit_s)

    def _end_of(self, session: Live) -> asyncio.Future[None]:
        end = self._sessions[session]
        if end is None:
            self._sessions[session] = end = asyncio.get_running_loop().create_future()
        return end
