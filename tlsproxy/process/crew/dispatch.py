"""Which worker gets a connection: the one that holds the fewest, of those that have room."""

import sys
from collections.abc import Mapping

from tlsproxy.admission.base import Admission, Refused, Ticket
from tlsproxy.core.addresses import Client, Peer
from tlsproxy.process.crew.member import Member, Stage
from tlsproxy.process.line import words


class Dispatcher:
    """Gives connections to workers; each method takes constant time for each worker."""

    def __init__(self, admission: Admission, members: Mapping[int, Member], most_each: int = sys.maxsize) -> None:
        """Give to nobody yet.

        Args:
            admission: Who holds which ticket.
            members: The workers by number; the mapping changes as they come and go.
            most_each: How many connections a worker's descriptors carry.
        """
        self._most_each = most_each
        self._admission = admission
        self._members = members

    @property
    def has_room(self) -> bool:
        """Whether a connection can be given to anybody."""
        return self._least_loaded() is not None

    def pick(self) -> int:
        """Who would get the next connection; 0 if there is nobody at all."""
        picked = self._least_loaded()
        if picked is None:
            # Who was accepted has to go somewhere, be it that the last room went within one batch.
            serving = [member for member in self._members.values() if member.stage is Stage.SERVING]
            picked = min(serving, key=lambda member: len(self._admission.held(member.number)), default=None)
        return picked.number if picked is not None else 0

    def serve(self, ticket: Ticket, client: Client, listener: int, session: bytes, fd: int) -> None:
        """Give a connection to the worker that holds its ticket, with the next ``flush``.

        Args:
            ticket: Its ticket.
            client: Whose it is.
            listener: Where it came in: the listener's place in the configuration.
            session: Its id.
            fd: The connection; the dispatcher's from now on.
        """
        self._members[ticket.owner].serve(words.entry(ticket, client.packed, listener, session), fd)

    def tell(self, refused: Refused, peer: Peer, listener: int, session: str, fd: int) -> bool:
        """Have some worker tell a client on a TLS port why it may not stay.

        Returns:
            False if nobody has room for that; the descriptor is still the caller's then.
        """
        member = self._members.get(self.pick())
        if member is None:
            return False
        word = words.Tell(
            listener=listener,
            ip=str(peer.ip),
            port=peer.port,
            reason=refused.reason,
            limit=refused.limit,
            session=session,
        )
        member.say(word, (fd,))
        return True

    def evict(self, ticket: Ticket, limit: str) -> None:
        """End a session for a newcomer."""
        member = self._members.get(ticket.owner)
        if member is not None:
            member.say(words.Evict(ticket=ticket.id, limit=limit))

    def flush(self) -> None:
        """Send what was given since the last time."""
        for member in self._members.values():
            member.flush()

    def give_again(self, ticket: Ticket, listener: int, session: bytes, fd: int) -> bool:
        """Give a connection to another worker than the one that died before it was sent; False if there is nobody."""
        owner = self.pick()
        if not owner:
            return False
        self.serve(self._admission.hand_over(ticket, owner), ticket.peer.client, listener, session, fd)
        return True

    def _least_loaded(self) -> Member | None:
        """Of those that have room, the one that holds the fewest."""
        found, fewest = None, self._most_each
        for member in self._members.values():
            if member.has_room:
                count = len(self._admission.held(member.number))
                if count < fewest:
                    found, fewest = member, count
        return found
