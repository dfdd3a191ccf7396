"""A worker: owns sessions, the plan they are served by, and the clock of their idle limits; never accepts."""

import asyncio
import socket

from tlsproxy.admission.base import Admission, Refused, Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.core.log import Log
from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Endpoint
from tlsproxy.net.idle import IdleClock
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.replies import sentence
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.plan import House, Plan
from tlsproxy.server.roster import Roster
from tlsproxy.server.session import Session


class Worker:
    """Serves the connections that the door hands over."""

    def __init__(self, plane: Plane, admission: Admission, log: Log, plan: Plan) -> None:
        self._idle_clock = IdleClock(asyncio.get_running_loop())
        self._house = House(plane=plane, idle_clock=self._idle_clock, admission=admission, log=log)
        self.plan = plan
        """What new sessions are served by; swapped whole on reload, old sessions keep theirs."""
        self.roster = Roster()

    def serve(self, listener: str, sock: socket.socket, peer: Peer, admitted: Ticket | Refused) -> None:
        """Begin a session; one that was refused is let in as far as it takes to tell it why."""
        self.roster.add(Session(self._house, self.plan[listener], sock, peer, admitted))

    def turn_away(self, listener: str, sock: socket.socket, peer: Peer, refused: Refused, *, is_told: bool) -> None:
        """End a connection that gets no session: one line of text at most, one line in the log."""
        service = self.plan[listener]
        chronicle = Chronicle(self._house.log, service, peer, asyncio.get_running_loop().time)
        endpoint = Endpoint(self._house.plane, sock)
        if is_told:
            why = sentence(refused.reason, chronicle.ref, refused.limit)
            endpoint.push(service.protocol.parting(refused.reason, why))
            endpoint.finish_writing()
        chronicle.count_client(endpoint)
        endpoint.close()
        chronicle.closed(refused.reason)

    def evict(self, ticket: Ticket, limit: str) -> None:
        """End the oldest un-authenticated session for a new one, since there are as many as the limit."""
        self.roster.evict(ticket, Reason.UNAUTHENTICATED_FULL, limit)

    def close(self) -> None:
        """Stop the clock; call when no session is left."""
        self._idle_clock.close()
