"""A worker: owns sessions, the plan they are served by, and the clock of their idle limits; never accepts."""

import asyncio
import socket

from tlsproxy.admission.base import Refused, Ticket, TicketHolders
from tlsproxy.core.addresses import Peer
from tlsproxy.core.log import Log
from tlsproxy.core.outcome import Reason
from tlsproxy.net.clocks.idle import IdleClock
from tlsproxy.net.plane import Plane
from tlsproxy.server.plan import House, Plan, Service
from tlsproxy.server.roster import Roster
from tlsproxy.server.session import Session
from tlsproxy.server.smtp.budget import NO_BUDGET, MailBudget
from tlsproxy.server.smtp.session import SmtpSession


class Worker:
    """Serves the connections that the door hands over."""

    def __init__(
        self, plane: Plane, admission: TicketHolders, log: Log, plan: Plan, budget: MailBudget = NO_BUDGET
    ) -> None:
        self._idle_clock = IdleClock(asyncio.get_running_loop())
        self._house = House(plane=plane, idle_clock=self._idle_clock, admission=admission, log=log, budget=budget)
        self.plan = plan
        """What new sessions are served by; swapped whole on reload, old sessions keep theirs."""
        self.roster = Roster()

    def serve(self, listener: str, sock: socket.socket, peer: Peer, admitted: Ticket | Refused, session: str) -> None:
        """Begin a session; one that was refused is let in as far as it takes to tell it why.

        Args:
            listener: Where it came in.
            sock: The connection; owned by the session from now on.
            peer: Who it is.
            admitted: Its ticket, or why it has none.
            session: Its id.
        """
        service = self.plan[listener]
        if isinstance(service, Service):
            self.roster.add(Session(self._house, service, sock, peer, admitted, session=session))
        elif isinstance(admitted, Ticket):
            self.roster.add(SmtpSession(self._house, service, sock, peer, admitted, session=session))
        else:
            sock.close()  # the door tells nobody of SMTP over TLS: a handshake would be more than it is worth

    def evict(self, ticket: int, limit: str) -> None:
        """End the oldest un-authenticated session for a new one, since there are as many as the limit."""
        self.roster.evict(ticket, Reason.UNAUTHENTICATED_FULL, limit)

    def close(self) -> None:
        """Stop the clock; call when no session is left."""
        self._idle_clock.close()
