"""How much mail a client may send over time: the interface of those who count it over all workers."""

from typing import Final, Protocol

from tlsproxy.admission.base import Ticket


class MailBudget(Protocol):
    """Counts messages and recipients by client."""

    async def spend(self, ticket: Ticket, messages: int, recipients: int) -> str | None:
        """Let a client send, if it may send all of this.

        Args:
            ticket: The client's.
            messages: How many messages.
            recipients: How many recipients.

        Returns:
            The number for which it may not, as ``60 per 60 s``; None if it may.
        """
        ...


class _NoBudget:
    """Where nothing is counted."""

    async def spend(self, ticket: Ticket, messages: int, recipients: int) -> None:
        """See MailBudget."""


NO_BUDGET: Final[MailBudget] = _NoBudget()
"""Where nothing is counted."""
