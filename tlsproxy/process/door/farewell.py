"""The lines of connections that no worker can write: of those turned away at the door, and of a dead worker's."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final

from tlsproxy.admission.base import Admission, Refused, Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.core.kinds import ProtocolName
from tlsproxy.core.log import Log
from tlsproxy.core.outcome import Phase, Reason
from tlsproxy.core.references import References
from tlsproxy.net.endpoint import Endpoint
from tlsproxy.net.plane import Plane
from tlsproxy.net.tcp import socket_of
from tlsproxy.protocols.replies import sentence
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.plan import Plan

_ID_BYTES: Final = 6
_ID_BITS: Final = 8 * _ID_BYTES


class Farewell:
    """Ends connections that have no session, or none any more."""

    def __init__(self, plane: Plane, log: Log, admission: Admission, references: References, plan: Plan) -> None:
        self._plane = plane
        self._log = log
        self._admission = admission
        self._references = references
        self._clock = asyncio.get_running_loop().time
        self.plan = plan
        """What is known of the listeners; swapped on reload."""

    @staticmethod
    def new_session() -> str:
        """An id for a connection that has no ticket."""
        return secrets.token_hex(_ID_BYTES)

    def turn_away(self, listener: str, fd: int, peer: Peer, refused: Refused, session: str, *, is_told: bool) -> None:
        """End a connection that gets no session: one line of text at most, one line in the log."""
        service = self.plan[listener]
        chronicle = Chronicle(self._log, service, peer, self._clock, session)
        endpoint = Endpoint(self._plane, socket_of(fd, peer.ip))
        if is_told:
            why = sentence(refused.reason, chronicle.ref, refused.limit)
            endpoint.push(service.protocol.parting(refused.reason, why))
            endpoint.finish_writing()
        chronicle.count_client(endpoint)
        endpoint.close()
        chronicle.closed(refused.reason)

    def tell_lost(self, tickets: Sequence[Ticket]) -> None:
        """Write the lines of the sessions that a dead worker took with it; what only it knew is missing in them."""
        for ticket in tickets:
            service = self.plan.get(ticket.listener)
            if service is not None:  # else the listener is gone as well, and nobody is left to speak of it
                session = self._references.of(ticket.id)
                chronicle = Chronicle(self._log, service, ticket.peer, self._clock, session)
                if self._admission.is_authenticated(ticket):
                    is_smtp = service.protocol.name is ProtocolName.SMTP
                    chronicle.enter(Phase.MAIL if is_smtp else Phase.RELAY)
                chronicle.closed(Reason.WORKER_LOST)


def new_references() -> References:
    """Ids that nobody can foresee, for a program that takes over from no other."""
    return References(start=secrets.randbits(_ID_BITS), factor=secrets.randbits(_ID_BITS))
