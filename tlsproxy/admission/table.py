"""The caps, counted in memory: exact, constant time, bounded by the total; must not do I/O or read a clock."""

from collections import OrderedDict
from typing import Final

from tlsproxy.admission.base import Admitted, Caps, Refused, Ticket
from tlsproxy.admission.courtesy import Courtesy
from tlsproxy.admission.rates import RateTable
from tlsproxy.core.addresses import Peer, is_within
from tlsproxy.core.outcome import Reason

# Some 10 MB at most; an attacker who owns more addresses than this has no use for a forgotten bucket.
_RATE_ADDRESSES: Final = 65_536
# Four fifths of the un-authenticated budget (80 %), in whole numbers so that it is exact.
_STRESSED_PARTS: Final = 4
_STRESSED_WHOLE: Final = 5


class AdmissionTable:
    """Counts who is here and judges who comes; implements ``Admission``.

    Judged in this order: total, at once per address, un-authenticated per address, connection rate, un-authenticated
    in all. So a refusal by a cap costs no token, and nobody is evicted for somebody who is then refused.
    """

    __slots__ = (
        "_by_address",
        "_caps",
        "_courtesy",
        "_held",
        "_next_id",
        "_rates",
        "_total",
        "_unauthenticated",
    )

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._rates = _rates_of(caps)
        self._courtesy = Courtesy()
        self._next_id = 1
        self._total = 0
        self._held: dict[int, dict[int, Ticket]] = {}
        self._by_address: dict[bytes, _Count] = {}
        # In order of arrival, the oldest first. A plain dict would have to walk over the gaps at its head.
        self._unauthenticated: OrderedDict[int, Ticket] = OrderedDict()

    @property
    def total_count(self) -> int:
        """How many tickets are held."""
        return self._total

    @property
    def unauthenticated_count(self) -> int:
        """How many of them count as un-authenticated: not exempt, not logged in, not evicted."""
        return len(self._unauthenticated)

    def count(self, peer: Peer) -> int:
        """How many tickets the peer's address holds."""
        count = self._by_address.get(peer.key)
        return count.total if count else 0

    def admit(self, peer: Peer, owner: int, now: float) -> Admitted | Refused:
        """Judge one accepted connection.

        Args:
            peer: Who connects.
            owner: The worker that would serve it.
            now: Monotonic seconds.

        Returns:
            A ticket, and whoever has to go for it; or the reason and the number that was reached.
        """
        key = peer.key
        is_exempt = is_within(peer.ip, self._caps.allow)
        refused = self._refusal(key, now, is_exempt=is_exempt)
        if refused:
            return refused
        evicted = None if is_exempt else self._evict()
        ticket = self._enter(peer, key, owner, is_exempt=is_exempt)
        return Admitted(ticket=ticket, evicted=evicted, limit=str(self._caps.unauthenticated) if evicted else "")

    def may_tell(self, refused: Refused, peer: Peer, now: float) -> bool:
        """Whether a handshake may be spent on telling a client on a TLS port why; if so, it is paid for."""
        return self._courtesy.may_tell(refused.reason, peer.key, now)

    def authenticated(self, ticket: Ticket) -> None:
        """The connection logged in; it no longer counts as un-authenticated."""
        if self._unauthenticated.pop(ticket.id, None):
            self._by_address[ticket.peer.key].unauthenticated -= 1

    def release(self, ticket: Ticket) -> None:
        """The connection ended; releasing twice is harmless."""
        held = self._held.get(ticket.owner, {})
        if held.pop(ticket.id, None) is None:
            return
        if not held:
            del self._held[ticket.owner]
        self.authenticated(ticket)
        self._total -= 1
        key = ticket.peer.key
        count = self._by_address[key]
        count.total -= 1
        if not count.total:
            del self._by_address[key]

    def release_owner(self, owner: int) -> int:
        """Release whatever a dead worker held; returns how many."""
        tickets = list(self._held.get(owner, {}).values())
        for ticket in tickets:
            self.release(ticket)
        return len(tickets)

    def change(self, caps: Caps) -> None:
        """New numbers, from now on; who is here stays, and a changed rate starts everybody with a full bucket."""
        old, self._caps = self._caps, caps
        if _rate_of(old) != _rate_of(caps):
            self._rates = _rates_of(caps)

    def _refusal(self, key: bytes, now: float, *, is_exempt: bool) -> Refused | None:
        caps = self._caps
        if self._total >= caps.total:
            return Refused(reason=Reason.TOTAL_FULL, limit=str(caps.total))
        if is_exempt:
            return None
        count = self._by_address.get(key) or _Count()
        if caps.per_address is not None and count.total >= caps.per_address:
            return Refused(reason=Reason.ADDRESS_FULL, limit=str(caps.per_address))
        cap = caps.unauthenticated_per_address
        if cap is not None and count.unauthenticated >= cap:
            return Refused(reason=Reason.UNAUTHENTICATED_ADDRESS_FULL, limit=str(cap))
        if self._rates is not None and not self._rates.take(key, now):
            limit = f"{caps.rate_count} per {caps.rate_period_s:g} s"
            return Refused(reason=Reason.RATE_EXCEEDED, limit=limit)
        return None

    def _evict(self) -> Ticket | None:
        """Take the oldest un-authenticated ticket off the budget if that is used up; it is held until released."""
        cap = self._caps.unauthenticated
        # With a cap of 0 the newcomer would have to go for itself; it is let in and goes for the next one.
        if cap is None or len(self._unauthenticated) < max(cap, 1):
            return None
        oldest = next(iter(self._unauthenticated.values()))
        self.authenticated(oldest)
        return oldest

    def _enter(self, peer: Peer, key: bytes, owner: int, *, is_exempt: bool) -> Ticket:
        is_stressed = not is_exempt and self._is_stressed(len(self._unauthenticated) + 1)
        ticket = Ticket(id=self._next_id, peer=peer, owner=owner, is_exempt=is_exempt, is_stressed=is_stressed)
        self._next_id += 1
        self._total += 1
        self._held.setdefault(owner, {})[ticket.id] = ticket
        count = self._by_address.get(key)
        if count is None:
            count = self._by_address[key] = _Count()
        count.total += 1
        if not is_exempt:
            count.unauthenticated += 1
            self._unauthenticated[ticket.id] = ticket
        return ticket

    def _is_stressed(self, unauthenticated: int) -> bool:
        cap = self._caps.unauthenticated
        return cap is not None and unauthenticated * _STRESSED_WHOLE >= cap * _STRESSED_PARTS


class _Count:
    """How many tickets one address holds; there is none for an address that holds no ticket."""

    __slots__ = ("total", "unauthenticated")

    def __init__(self) -> None:
        self.total = 0
        self.unauthenticated = 0


def _rate_of(caps: Caps) -> tuple[int | None, float, int]:
    return caps.rate_count, caps.rate_period_s, caps.rate_burst


def _rates_of(caps: Caps) -> RateTable | None:
    if caps.rate_count is None:
        return None
    return RateTable(
        count=caps.rate_count, period_s=caps.rate_period_s, burst=caps.rate_burst, capacity=_RATE_ADDRESSES
    )
