"""How often somebody may do something: token buckets in a bounded table; must not read a clock."""

from collections import OrderedDict
from typing import Final

_NANOSECONDS: Final = 1_000_000_000
# Two for every one that comes in: the table shrinks to those who still have something to pay back.
_FULL_BUCKETS_DROPPED_AT_ONCE: Final = 2


class RateTable:
    """A token bucket per key, full at first; exact, since it counts in whole numbers.

    A bucket is kept as the one moment at which it will be full again (the "theoretical arrival time" of the generic
    cell rate algorithm, ITU-T I.371), in nanoseconds times ``count``: a token then costs one period in nanoseconds and
    nothing is ever rounded. A bucket that is full says nothing and is dropped; so is the least recently used one when
    the table has no room.
    """

    __slots__ = ("_bucket", "_capacity", "_count", "_full_at", "_token")

    def __init__(self, *, count: int, period_s: float, burst: int, capacity: int) -> None:
        """Make a table in which nobody has taken anything.

        Args:
            count: How many tokens come back in one period.
            period_s: The period in seconds.
            burst: The size of a bucket in tokens.
            capacity: How many keys are remembered at most.
        """
        self._count = count
        self._token = round(period_s * _NANOSECONDS)
        self._bucket = burst * self._token
        self._capacity = capacity
        self._full_at: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._full_at)

    def has(self, key: bytes, now: float, tokens: int = 1) -> bool:
        """Whether so many tokens could be taken at ``now`` (monotonic seconds); asking counts as use."""
        moment = self._moment(now)
        known = self._full_at.get(key)
        if known is not None:
            self._full_at.move_to_end(key)
        return max(known or moment, moment) + tokens * self._token <= moment + self._bucket

    def take(self, key: bytes, now: float, tokens: int = 1) -> bool:
        """Take tokens if there are so many.

        Args:
            key: Whose bucket.
            now: Monotonic seconds.
            tokens: How many, at least one.

        Returns:
            Whether there were; asking in vain costs nothing but counts as use.
        """
        moment = self._moment(now)
        known = self._full_at.get(key)
        if known is None:
            self._make_room(moment)
        else:
            self._full_at.move_to_end(key)
        full_at = (moment if known is None or known < moment else known) + tokens * self._token
        if full_at > moment + self._bucket:
            return False
        self._full_at[key] = full_at
        return True

    def _moment(self, now: float) -> int:
        return int(now * _NANOSECONDS) * self._count

    def _make_room(self, moment: int) -> None:
        for _ in range(_FULL_BUCKETS_DROPPED_AT_ONCE):
            oldest = next(iter(self._full_at), None)
            if oldest is None or self._full_at[oldest] > moment:
                break
            del self._full_at[oldest]
        if len(self._full_at) >= self._capacity:
            self._full_at.popitem(last=False)
