"""Turns at a judge of passwords, so that no address has all of them; must not know how it judges."""

import asyncio
from dataclasses import dataclass
from typing import Final

from tlsproxy.server.judges.base import PasswordJudge, Verdict

# An office that comes to work at the same minute is through in seconds; guessers, whose logins an old server holds up
# for two seconds each, leave places to everybody else.
_AT_ONCE: Final = 4


@dataclass(slots=True)
class _Queue:
    """One address's."""

    turns: asyncio.Semaphore
    askers: int = 0


class FairJudge:
    """Asks another judge about a few logins of one address at a time; its other logins wait, and nobody else's."""

    __slots__ = ("_at_once", "_judge", "_queues")

    def __init__(self, judge: PasswordJudge, *, at_once: int = _AT_ONCE) -> None:
        """Nobody waits yet.

        Args:
            judge: Who is asked.
            at_once: How many logins of one address at the same time.
        """
        self._judge = judge
        self._at_once = at_once
        self._queues: dict[bytes, _Queue] = {}

    def __len__(self) -> int:
        """How many addresses have logins that are not judged yet."""
        return len(self._queues)

    async def judge(self, user: bytes, password: bytes, client_key: bytes) -> Verdict:
        """See PasswordJudge; the time in the queue is the client's own."""
        queue = self._queues.get(client_key)
        if queue is None:
            queue = self._queues[client_key] = _Queue(asyncio.Semaphore(self._at_once))
        queue.askers += 1
        try:
            async with queue.turns:
                return await self._judge.judge(user, password, client_key)
        finally:
            queue.askers -= 1
            if not queue.askers:
                del self._queues[client_key]
