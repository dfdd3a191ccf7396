"""How many of the old server's places one stranger may have at once; must not know what they are used for.

The old server sees one client, which is us, so that its own bounds for each address are no use to it: whoever holds all
its places, and an idle minute in each, keeps everybody else's mail out.
"""

from collections import Counter

from tlsproxy.core.addresses import Peer
from tlsproxy.senders.local import KnownClients


class Places:
    """Counts the connections to the old server by the address that they are made for; one a listener in each worker."""

    __slots__ = ("_clients", "_per_address", "_taken")

    def __init__(self, per_address: int | None, clients: KnownClients) -> None:
        """Nobody has one yet.

        Args:
            per_address: How many an address may have; None for any number.
            clients: Whoever is not checked is not counted: these are other servers of ours.
        """
        self._per_address = per_address
        self._clients = clients
        self._taken: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """How many addresses have places."""
        return len(self._taken)

    def take(self, peer: Peer) -> bool:
        """Take a place for a client, if it may have one more."""
        if not self._counts(peer):
            return True
        if self._taken.get(peer.key, 0) == self._per_address:
            return False
        self._taken[peer.key] += 1
        return True

    def give_back(self, peer: Peer) -> None:
        """Give a place back that was taken."""
        if self._counts(peer):
            self._taken[peer.key] -= 1
            if not self._taken[peer.key]:
                del self._taken[peer.key]

    def _counts(self, peer: Peer) -> bool:
        return self._per_address is not None and self._clients.skip(peer.ip) is None
