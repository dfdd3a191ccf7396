"""What a live session and whoever keeps it know of each other."""

from collections.abc import Coroutine
from typing import Any, Protocol

from tlsproxy.admission.base import Ticket
from tlsproxy.core.outcome import Reason


class Keeper(Protocol):
    """Who owns sessions and their tasks."""

    def employ(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it as a task of its own."""
        ...

    def forget(self, session: "Live") -> None:
        """The session is over."""
        ...


class Live(Protocol):
    """A session, whatever it speaks."""

    @property
    def ticket(self) -> Ticket | None:
        """The ticket, if the connection was admitted."""
        ...

    @property
    def is_logged_in(self) -> bool:
        """Whether the login stands, or none is asked for any more."""
        ...

    def begin(self, keeper: Keeper) -> None:
        """Live, from accept to the log line."""
        ...

    def stop(self, reason: Reason, limit: str = "") -> None:
        """End the session for a reason of ours; safe to call at any time, and twice to cut the goodbye short.

        Args:
            reason: Why.
            limit: The number that was reached, where the reason names one.
        """
        ...

    def is_at_rest(self) -> bool:
        """Whether a goodbye would come at a good moment; asked more than once, some time apart."""
        ...
