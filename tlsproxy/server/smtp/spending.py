"""What one client spends of the mail that may come from it over time; must not count by itself."""

from tlsproxy.admission.base import Ticket
from tlsproxy.protocols.smtp.reply import Reply, reply
from tlsproxy.protocols.smtp.syntax import RcptTo
from tlsproxy.server.smtp.budget import MailBudget
from tlsproxy.server.smtp.notes import Notes


class Spending:
    """Asks for one client; None means that it may go on."""

    def __init__(self, budget: MailBudget, ticket: Ticket, notes: Notes, *, ref: str) -> None:
        """Spend nothing yet.

        Args:
            budget: Who counts.
            ticket: The client's.
            notes: What is written down of its mail.
            ref: The session's id.
        """
        self._budget = budget
        self._ticket = ticket
        self._notes = notes
        self._ref = ref

    async def message(self) -> Reply | None:
        """One message more."""
        limit = await self._budget.spend(self._ticket, messages=1, recipients=0)
        return self._refused("message_rate", limit, None) if limit is not None else None

    async def recipient(self, rcpt: RcptTo) -> Reply | None:
        """One recipient more."""
        limit = await self._budget.spend(self._ticket, messages=0, recipients=1)
        return self._refused("recipient_rate", limit, rcpt) if limit is not None else None

    def _refused(self, reason: str, limit: str, rcpt: RcptTo | None) -> Reply:
        text = f"too much mail from {self._ticket.peer.ip}, try again later (id {self._ref})"
        answer = reply(450, "4.7.28", text)  # mail flood, by IANA's registry of enhanced status codes
        self._notes.refused(reason, answer, rcpt, limit=limit)
        return answer
