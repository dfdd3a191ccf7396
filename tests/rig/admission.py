"""What the door does with the admission table, for tests of the table alone."""

from dataclasses import dataclass

from tlsproxy.admission.base import Admission, Refused, Ticket
from tlsproxy.core.addresses import Peer


@dataclass(frozen=True, slots=True)
class Admitted:
    """A connection that may come in, and whoever has to go for it."""

    ticket: Ticket
    evicted: Ticket | None
    limit: str | None


def admit(table: Admission, peer: Peer, owner: int, now: float, listener: str = "imaps") -> Admitted | Refused:
    client = peer.client
    if refused := table.refusal(client, now):
        return refused
    evicted = table.make_room(client)
    ticket = table.enter(client, peer.port, listener, owner)
    return Admitted(ticket, evicted.ticket if evicted else None, evicted.limit if evicted else None)
