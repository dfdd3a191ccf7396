"""How a warning that each session would repeat is told: the first at once, the rest counted and told now and then."""

from typing import Final

_PERIOD_S: Final = 60.0


class Sparing:
    """Counts what happens; one a listener in each worker."""

    __slots__ = ("_count", "_not_before")

    def __init__(self) -> None:
        self._count = 0
        self._not_before = float("-inf")

    def count(self, now: float) -> int:
        """It happened again.

        Args:
            now: Monotonic seconds.

        Returns:
            How often it happened since it was told last, if it is to be told now; else 0.
        """
        self._count += 1
        if now < self._not_before:
            return 0
        count, self._count = self._count, 0
        self._not_before = now + _PERIOD_S
        return count
