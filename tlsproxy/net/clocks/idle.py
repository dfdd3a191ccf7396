"""Idle deadlines of all relays in one heap, with one timer; the relays' hot path keeps no clock.

A relay counts bytes anyway. Each is looked at four times in its idle limit; one whose count has not moved for the
whole limit is idle. So an idle session ends between one and one and a quarter times its limit.
"""

import asyncio
import heapq
from typing import Final, Protocol

_LOOKS_PER_LIMIT: Final = 4
_FORGOTTEN: Final = 64  # so many dead entries are not worth a clean-up


class Watched(Protocol):
    """Whoever may idle; a relay is one."""

    def count(self) -> int:
        """A number that moves with whatever happens."""
        ...

    def idled(self) -> None:
        """The number did not move for the whole limit."""
        ...


class IdleWatch:
    """One watched relay."""

    __slots__ = ("period_s", "quiet_looks", "seen", "watched")

    def __init__(self, period_s: float, watched: Watched) -> None:
        self.period_s = period_s
        self.watched: Watched | None = watched
        self.seen = watched.count()
        self.quiet_looks = 0


class IdleClock:
    """Watches any number of byte counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, IdleWatch]] = []
        """When each is to be looked at; a number of its own decides between two of the same time."""
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self._forgotten = 0

    def watch(self, limit_s: float, watched: Watched) -> IdleWatch:
        """Call ``idled`` once if ``count()`` stays the same for ``limit_s`` seconds (up to a quarter longer)."""
        watch = IdleWatch(limit_s / _LOOKS_PER_LIMIT, watched)
        self._look_later(watch, self._loop.time())
        if self._heap[0][2] is watch:
            self._arm()
        return watch

    def forget(self, watch: IdleWatch) -> None:
        """The relay ended. Its entry stays in the heap until its time comes, or until such entries are the most."""
        watch.watched = None
        self._forgotten += 1
        if self._forgotten > _FORGOTTEN and self._forgotten > len(self._heap) // 2:
            self._heap = [one for one in self._heap if one[2].watched is not None]
            heapq.heapify(self._heap)
            self._forgotten = 0

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._look) if self._heap else None

    def _look(self) -> None:
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            _, _, watch = heapq.heappop(self._heap)
            if watch.watched is None:
                self._forgotten -= 1
            elif self._is_still_alive(watch, watch.watched):
                self._look_later(watch, now)
        self._timer = None
        self._arm()

    def _look_later(self, watch: IdleWatch, now: float) -> None:
        self._number += 1
        heapq.heappush(self._heap, (now + watch.period_s, self._number, watch))

    @staticmethod
    def _is_still_alive(watch: IdleWatch, watched: Watched) -> bool:
        count = watched.count()
        watch.quiet_looks = watch.quiet_looks + 1 if count == watch.seen else 0
        watch.seen = count
        if watch.quiet_looks < _LOOKS_PER_LIMIT:
            return True
        watched.idled()
        return False
