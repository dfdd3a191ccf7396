"""Idle deadlines of all relays in one heap, with one timer; the relays' hot path keeps no clock.

A relay counts bytes anyway. Each is looked at four times in its idle limit; one whose count has not moved for the
whole limit is idle. So an idle session ends between one and one and a quarter times its limit.
"""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_LOOKS_PER_LIMIT: Final = 4
_FORGOTTEN: Final = 64  # so many dead entries are not worth a clean-up


@dataclass(slots=True, order=True)
class IdleWatch:
    """One watched relay."""

    at: float
    number: int
    period_s: float = field(compare=False)
    count: Callable[[], int] | None = field(compare=False)
    on_idle: Callable[[], None] | None = field(compare=False)
    seen: int = field(compare=False)
    quiet_looks: int = field(compare=False, default=0)


class IdleClock:
    """Watches any number of byte counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[IdleWatch] = []
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self._forgotten = 0

    def watch(self, limit_s: float, count: Callable[[], int], on_idle: Callable[[], None]) -> IdleWatch:
        """Call ``on_idle`` once if ``count()`` stays the same for ``limit_s`` seconds (up to a quarter longer)."""
        period_s = limit_s / _LOOKS_PER_LIMIT
        self._number += 1
        watch = IdleWatch(self._loop.time() + period_s, self._number, period_s, count, on_idle, count())
        heapq.heappush(self._heap, watch)
        if self._heap[0] is watch:
            self._arm()
        return watch

    def forget(self, watch: IdleWatch) -> None:
        """The relay ended. Its entry stays in the heap until its time comes, or until such entries are the most."""
        watch.count = watch.on_idle = None
        self._forgotten += 1
        if self._forgotten > _FORGOTTEN and self._forgotten > len(self._heap) // 2:
            self._heap = [one for one in self._heap if one.count is not None]
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
        self._timer = self._loop.call_at(self._heap[0].at, self._look) if self._heap else None

    def _look(self) -> None:
        now = self._loop.time()
        while self._heap and self._heap[0].at <= now:
            watch = heapq.heappop(self._heap)
            if watch.count is None:
                self._forgotten -= 1
            elif self._is_still_alive(watch):
                watch.at = now + watch.period_s
                heapq.heappush(self._heap, watch)
        self._timer = None
        self._arm()

    @staticmethod
    def _is_still_alive(watch: IdleWatch) -> bool:
        count = watch.count() if watch.count is not None else watch.seen
        watch.quiet_looks = watch.quiet_looks + 1 if count == watch.seen else 0
        watch.seen = count
        if watch.quiet_looks < _LOOKS_PER_LIMIT:
            return True
        if watch.on_idle is not None:
            watch.on_idle()
        return False
