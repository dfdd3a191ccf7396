"""Deadlines that cost nothing but a look now and then: one timer of the loop for all of them, not one each."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from tlsproxy.core.outcome import Reason

# The shortest of the limits that people set is a second or two. Some thousand deadlines are looked at in 0.1 ms.
_PERIOD_S: Final = 0.1


class DeadlineClock:
    """Looks at the deadlines of a process ten times a second, while there are any."""

    __slots__ = ("_deadlines", "_timer")

    def __init__(self) -> None:
        self._deadlines: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, deadline: "Deadline") -> None:
        """Look at it from now on."""
        self._deadlines.add(deadline)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PERIOD_S, self._look)

    def discard(self, deadline: "Deadline") -> None:
        """Look at it no more."""
        self._deadlines.discard(deadline)

    def _look(self) -> None:
        self._timer = None
        if self._deadlines:  # first of all: whatever is done by one who is late, the others are looked at
            self._timer = asyncio.get_running_loop().call_later(_PERIOD_S, self._look)
        now = time.monotonic()
        for deadline in [one for one in self._deadlines if one.until <= now]:
            deadline.look(now)  # those before it may have moved or closed it


class Deadline:
    """A deadline that moves: to move it costs two assignments; to be late is noticed up to 0.1 s later."""

    __slots__ = ("_clock", "_late", "_reason", "until")

    def __init__(self, clock: DeadlineClock, late: Callable[[Reason], None]) -> None:
        """None is set yet; ``late`` will be told the reason, once for each ``move``."""
        self._clock: DeadlineClock | None = clock
        self._late = late
        self._reason = Reason.INTERNAL_ERROR
        self.until = math.inf
        """When it is passed, in monotonic seconds; never if infinite."""
        clock.add(self)

    @property
    def is_set(self) -> bool:
        """Whether something must happen in time."""
        return self.until != math.inf

    def move(self, until: float, reason: Reason) -> None:
        """Be late at ``until``, in monotonic seconds, and not when was said before."""
        if self._clock is not None:
            self.until, self._reason = until, reason

    def lift(self) -> None:
        """There is none for now."""
        self.until = math.inf

    def close(self) -> None:
        """There is none any more, and nobody to be told."""
        self.until = math.inf
        self._late = _ignore
        if self._clock is not None:
            self._clock.discard(self)
            self._clock = None

    def look(self, now: float) -> None:
        """Tell if it is passed."""
        if self.until <= now:
            self.until = math.inf
            self._late(self._reason)


def _ignore(_reason: Reason) -> None: ...
