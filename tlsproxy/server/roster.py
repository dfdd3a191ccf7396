"""A worker's live sessions: owns their tasks, stops one or all of them, spreads goodbyes over the drain."""

import asyncio
from typing import Final

from tlsproxy.admission.base import Ticket
from tlsproxy.core.outcome import Reason
from tlsproxy.server.session import Session

_LOOK_PERIOD_S: Final = 0.25  # between two looks at a session that is in the middle of an answer
_GRACE_S: Final = 2.0  # last words, and their lingering, after the window


class Roster:
    """The sessions that are alive."""

    def __init__(self) -> None:
        self._tasks: dict[Session, asyncio.Task[None]] = {}
        self._by_ticket: dict[int, Session] = {}

    def __len__(self) -> int:
        """How many sessions are alive."""
        return len(self._tasks)

    def add(self, session: Session) -> None:
        """Let a session live; it leaves the roster when it ends."""
        task = asyncio.get_running_loop().create_task(session.run())
        self._tasks[session] = task
        if session.ticket is not None:
            self._by_ticket[session.ticket.id] = session
        task.add_done_callback(lambda _task: self._forget(session))

    def evict(self, ticket: Ticket, reason: Reason, limit: str) -> None:
        """End the session that holds a ticket, if it still lives, telling it the number that was reached."""
        session = self._by_ticket.get(ticket.id)
        if session is not None:
            session.stop(reason, limit)

    async def drain(self, window_s: float) -> None:
        """Say goodbye to every session, spread evenly over the window, each between two responses where it can be.

        Those who are in the middle of something get until the end of the window; then they are cut off.
        """
        sessions = list(self._tasks)
        loop = asyncio.get_running_loop()
        until = loop.time() + window_s
        pace_s = window_s / max(len(sessions), 1)
        async with asyncio.TaskGroup() as group:
            for number, session in enumerate(sessions):
                group.create_task(self._dismiss(session, loop.time() + number * pace_s, until))
        await self._wait(_GRACE_S)

    async def stop(self) -> None:
        """End every session now, without goodbyes."""
        for session in list(self._tasks):
            session.stop(Reason.SHUTDOWN)
            session.stop(Reason.SHUTDOWN)
        await self._wait(_GRACE_S)

    async def _dismiss(self, session: Session, at: float, until: float) -> None:
        loop = asyncio.get_running_loop()
        alive = {task for task in [self._tasks.get(session)] if task is not None}
        if alive:
            _, alive = await asyncio.wait(alive, timeout=max(at - loop.time(), 0))
        while alive and not session.is_at_rest() and loop.time() < until:
            _, alive = await asyncio.wait(alive, timeout=_LOOK_PERIOD_S)
        session.stop(Reason.SHUTDOWN)

    async def _wait(self, limit_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=limit_s)

    def _forget(self, session: Session) -> None:
        del self._tasks[session]
        if session.ticket is not None:
            self._by_ticket.pop(session.ticket.id, None)
