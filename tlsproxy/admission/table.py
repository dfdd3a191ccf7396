"""The caps, counted in memory: exact, constant time, bounded by the total; must not do I/O or read a clock."""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tlsproxy.admission.base import Caps, Evicted, Refused, Ticket
from tlsproxy.admission.courtesy import Courtesy
from tlsproxy.admission.rates import RateTable
from tlsproxy.core.addresses import Client, Peer, is_within
from tlsproxy.core.outcome import Reason

# Some 10 MB at most; an attacker who owns more addresses than this has no use for a forgotten bucket.
_RATE_ADDRESSES: Final = 65_536
# Four fifths of the un-authenticated budget (80 %), in whole numbers so that it is exact.
_STRESSED_PARTS: Final = 4
_STRESSED_WHOLE: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionState:
    """Who is here when another process takes over."""

    next_id: int
    tickets: Sequence[Ticket]
    """In order of arrival."""
    unauthenticated: Collection[int]
    """The ids of those that count as un-authenticated."""


class AdmissionTable:
    """Counts who is here and judges who comes; implements ``Admission``.

    Judged in this order: total, at once per address, un-authenticated per address, connection rate, un-authenticated
    in all. So a refusal by a cap costs no token, and nobody is evicted for somebody who is then refused.
    """

    __slots__ = (
        "_address_of",
        "_by_address",
        "_caps",
        "_courtesy",
        "_held",
        "_next_id",
        "_nobody",
        "_rates",
        "_refusals",
        "_unauthenticated",
    )

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._refusals = _refusals_of(caps)
        self._rates = _rates_of(caps)
        self._courtesy = Courtesy()
        self._next_id = 1
        self._nobody = _Address(b"")
        self._held: dict[int, dict[int, Ticket]] = {}
        self._by_address: dict[bytes, _Address] = {}
        # The same by ticket, so that nobody's key has to be made out of a Peer again.
        self._address_of: dict[int, _Address] = {}
        # In order of arrival, the oldest first. A plain dict would have to walk over the gaps at its head.
        self._unauthenticated: OrderedDict[int, Ticket] = OrderedDict()

    @property
    def total_count(self) -> int:
        """How many tickets are held."""
        return len(self._address_of)

    @property
    def unauthenticated_count(self) -> int:
        """How many of them count as un-authenticated: not exempt, not logged in, not evicted."""
        return len(self._unauthenticated)

    def count(self, peer: Peer) -> int:
        """How many tickets the peer's address holds."""
        return self._by_address.get(peer.key, self._nobody).total

    def refusal(self, client: Client, now: float) -> Refused | None:
        """Judge one accepted connection; a flood costs no more than this.

        Args:
            client: Who connects.
            now: Monotonic seconds.

        Returns:
            Why it may not come in, or None: then ``make_room`` and ``enter`` follow.
        """
        caps, refusals = self._caps, self._refusals
        if len(self._address_of) >= caps.total:
            return refusals.total
        if caps.allow and is_within(client.ip, caps.allow):
            return None
        address = self._by_address.get(client.key, self._nobody)
        if caps.per_address is not None and address.total >= caps.per_address:
            return refusals.per_address
        if caps.unauthenticated_per_address is not None and address.unauthenticated >= caps.unauthenticated_per_address:
            return refusals.unauthenticated_per_address
        if self._rates is not None and not self._rates.take(client.key, now):
            return refusals.rate
        return None

    def make_room(self, client: Client) -> Evicted | None:
        """Take the oldest un-authenticated ticket off the budget if that is used up; it is held until released."""
        cap = self._caps.unauthenticated
        # With a cap of 0 the newcomer would have to go for itself; it is let in and goes for the next one.
        if cap is None or len(self._unauthenticated) < max(cap, 1) or self._is_exempt(client):
            return None
        oldest = next(iter(self._unauthenticated.values()))
        self.authenticated(oldest)
        return Evicted(ticket=oldest, limit=str(cap))

    def enter(self, client: Client, port: int, listener: str, owner: int) -> Ticket:
        """Let one in that was not refused.

        Args:
            client: Who connects.
            port: From which port.
            listener: Where, by the listener's name.
            owner: The worker that is to serve it.
        """
        is_exempt = self._is_exempt(client)
        cap = self._caps.unauthenticated
        waiting = len(self._unauthenticated) + 1
        ticket = Ticket(
            id=self._next_id,
            peer=Peer(client.ip, port),
            listener=listener,
            owner=owner,
            is_exempt=is_exempt,
            is_stressed=not is_exempt and cap is not None and waiting * _STRESSED_WHOLE >= cap * _STRESSED_PARTS,
        )
        self._next_id += 1
        self._count(ticket, client.key, is_authenticated=is_exempt)
        return ticket

    def may_tell(self, refused: Refused, client: Client, now: float) -> bool:
        """Whether a handshake may be spent on telling a client on a TLS port why; if so, it is paid for."""
        return self._courtesy.may_tell(refused.reason, client.key, now)

    def authenticated(self, ticket: Ticket) -> None:
        """The connection logged in; it no longer counts as un-authenticated."""
        if self._unauthenticated.pop(ticket.id, None) is not None:
            self._address_of[ticket.id].unauthenticated -= 1

    def release(self, ticket: Ticket) -> None:
        """The connection ended; releasing twice is harmless."""
        held = self._held.get(ticket.owner)
        if held is None or held.pop(ticket.id, None) is None:
            return
        if not held:
            del self._held[ticket.owner]
        address = self._address_of.pop(ticket.id)
        if self._unauthenticated.pop(ticket.id, None) is not None:
            address.unauthenticated -= 1
        address.total -= 1
        if not address.total:
            del self._by_address[address.key]

    def held(self, owner: int) -> Mapping[int, Ticket]:
        """The tickets that a worker holds, by id; a view that changes with them."""
        return self._held.get(owner, {})

    def is_authenticated(self, ticket: Ticket) -> bool:
        """Whether the connection has logged in, or is exempt from having to."""
        return ticket.id not in self._unauthenticated

    def hand_over(self, ticket: Ticket, owner: int) -> Ticket:
        """Let another worker hold a ticket from now on; the old ticket is worth nothing any more.

        Raises:
            KeyError: The ticket was released.
        """
        held = self._held[ticket.owner]
        moved = replace(held.pop(ticket.id), owner=owner)
        if not held:
            del self._held[ticket.owner]
        self._held.setdefault(owner, {})[moved.id] = moved
        if moved.id in self._unauthenticated:
            self._unauthenticated[moved.id] = moved  # in its old place, since the order is that of arrival
        return moved

    def release_owner(self, owner: int) -> int:
        """Release whatever a dead worker held; returns how many."""
        tickets = list(self._held.get(owner, {}).values())
        for ticket in tickets:
            self.release(ticket)
        return len(tickets)

    def state(self) -> AdmissionState:
        """Who is here, for a successor; rates are not in it: everybody starts it with a full bucket."""
        tickets = [ticket for held in self._held.values() for ticket in held.values()]
        return AdmissionState(
            next_id=self._next_id,
            tickets=sorted(tickets, key=lambda ticket: ticket.id),
            unauthenticated=frozenset(self._unauthenticated),
        )

    def resume(self, state: AdmissionState) -> None:
        """Take over from a predecessor; the table must be empty."""
        self._next_id = state.next_id
        for ticket in state.tickets:
            self._count(ticket, ticket.peer.key, is_authenticated=ticket.id not in state.unauthenticated)

    def change(self, caps: Caps) -> None:
        """New numbers, from now on; who is here stays, and a changed rate starts everybody with a full bucket."""
        old, self._caps = self._caps, caps
        self._refusals = _refusals_of(caps)
        if _rate_of(old) != _rate_of(caps):
            self._rates = _rates_of(caps)

    def _is_exempt(self, client: Client) -> bool:
        allow = self._caps.allow
        return bool(allow) and is_within(client.ip, allow)

    def _count(self, ticket: Ticket, key: bytes, *, is_authenticated: bool) -> None:
        number = ticket.id
        held = self._held.get(ticket.owner)
        if held is None:
            held = self._held[ticket.owner] = {}
        held[number] = ticket
        address = self._by_address.get(key)
        if address is None:
            address = self._by_address[key] = _Address(key)
        self._address_of[number] = address
        address.total += 1
        if not is_authenticated:
            address.unauthenticated += 1
            self._unauthenticated[number] = ticket


class _Address:
    """How many tickets one address holds; there is none for an address that holds no ticket."""

    __slots__ = ("key", "total", "unauthenticated")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.total = 0
        self.unauthenticated = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusals:
    """What is said at each of the caps; made once, and found without a look-up, since a flood pays for that."""

    total: Refused
    per_address: Refused
    unauthenticated_per_address: Refused
    rate: Refused


def _rate_of(caps: Caps) -> tuple[int | None, float, int]:
    return caps.rate_count, caps.rate_period_s, caps.rate_burst


def _rates_of(caps: Caps) -> RateTable | None:
    if caps.rate_count is None:
        return None
    return RateTable(
        count=caps.rate_count, period_s=caps.rate_period_s, burst=caps.rate_burst, capacity=_RATE_ADDRESSES
    )


def _refusals_of(caps: Caps) -> _Refusals:
    rate = f"{caps.rate_count} per {caps.rate_period_s:g} s"
    return _Refusals(
        total=Refused(reason=Reason.TOTAL_FULL, limit=str(caps.total)),
        per_address=Refused(reason=Reason.ADDRESS_FULL, limit=str(caps.per_address)),
        unauthenticated_per_address=Refused(
            reason=Reason.UNAUTHENTICATED_ADDRESS_FULL, limit=str(caps.unauthenticated_per_address)
        ),
        rate=Refused(reason=Reason.RATE_EXCEEDED, limit=rate),
    )
