"""The table against a naive model: a list of live tickets."""

from dataclasses import dataclass, replace
from ipaddress import ip_network

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from rig.admission import Admitted, admit

from tlsproxy.admission.base import Caps, Refused, Ticket
from tlsproxy.admission.table import AdmissionTable
from tlsproxy.core.addresses import Peer, peer_from
from tlsproxy.core.outcome import Reason

PEERS = (
    peer_from("192.0.2.1", 1),
    peer_from("::ffff:192.0.2.1", 2),
    peer_from("198.51.100.7", 3),
    peer_from("2001:db8:0:1::1", 4),
    peer_from("2001:db8:0:1::2", 5),
    peer_from("203.0.113.5", 6),
)
EXEMPT = ip_network("203.0.113.0/24")
SMALL = st.none() | st.integers(1, 4)
CAPS = st.builds(
    Caps,
    total=st.integers(1, 8),
    per_address=SMALL,
    rate_count=SMALL,
    rate_period_s=st.just(1.0),
    rate_burst=st.integers(1, 4),
    unauthenticated=SMALL,
    unauthenticated_per_address=SMALL,
    allow=st.sampled_from([(), (EXEMPT,)]),
)


@dataclass(slots=True)
class Live:
    ticket: Ticket
    is_unauthenticated: bool


class Model:
    """Counts by walking over the list of who is here."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.live: list[Live] = []
        self.tokens: dict[bytes, tuple[int, int]] = {}  # quarters of a token, at a quarter second

    def refusal(self, peer: Peer, now: int) -> Reason | None:
        caps = self.caps
        if len(self.live) >= caps.total:
            return Reason.TOTAL_FULL
        if self.is_exempt(peer):
            return None
        mine = [live for live in self.live if live.ticket.peer.key == peer.key]
        if caps.per_address is not None and len(mine) >= caps.per_address:
            return Reason.ADDRESS_FULL
        waiting = sum(live.is_unauthenticated for live in mine)
        if caps.unauthenticated_per_address is not None and waiting >= caps.unauthenticated_per_address:
            return Reason.UNAUTHENTICATED_ADDRESS_FULL
        return None if self.takes_token(peer, now) else Reason.RATE_EXCEEDED

    def takes_token(self, peer: Peer, now: int) -> bool:
        if self.caps.rate_count is None:
            return True
        full = self.caps.rate_burst * 4
        level, seen = self.tokens.get(peer.key, (full, now))
        level = min(full, level + (now - seen) * self.caps.rate_count)
        is_allowed = level >= 4
        self.tokens[peer.key] = (level - 4 if is_allowed else level, now)
        return is_allowed

    def is_exempt(self, peer: Peer) -> bool:
        return any(peer.ip in network for network in self.caps.allow)

    def waiting(self) -> list[Live]:
        return [live for live in self.live if live.is_unauthenticated]


class TableMachine(RuleBasedStateMachine):
    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        caps = Caps(
            total=8,
            per_address=3,
            rate_count=2,
            rate_period_s=1.0,
            rate_burst=4,
            unauthenticated=4,
            unauthenticated_per_address=2,
            allow=(EXEMPT,),
        )
        self.table = AdmissionTable(caps)
        self.model = Model(caps)
        self.now = 4000

    @rule(caps=CAPS)
    def change(self, caps: Caps) -> None:
        old = self.model.caps
        if replace(old, rate_count=caps.rate_count, rate_burst=caps.rate_burst) != old:
            self.model.tokens.clear()
        self.model.caps = caps
        self.table.change(caps)

    @rule(quarters=st.integers(0, 6))
    def wait(self, quarters: int) -> None:
        self.now += quarters

    @rule(target=tickets, peer=st.sampled_from(PEERS), owner=st.integers(1, 2))
    def admit(self, peer: Peer, owner: int) -> Ticket | None:
        expected = self.model.refusal(peer, self.now)
        verdict = admit(self.table, peer, owner, self.now / 4)
        if isinstance(verdict, Refused):
            assert verdict.reason is expected
            return None
        assert expected is None
        self.check_admitted(verdict, peer, owner)
        return verdict.ticket

    def check_admitted(self, verdict: Admitted, peer: Peer, owner: int) -> None:
        ticket, waiting, cap = verdict.ticket, self.model.waiting(), self.model.caps.unauthenticated
        is_exempt = self.model.is_exempt(peer)
        assert (ticket.peer, ticket.owner, ticket.is_exempt) == (peer, owner, is_exempt)
        if is_exempt or cap is None or len(waiting) < cap:
            assert verdict.evicted is None
        else:
            assert verdict.evicted is waiting[0].ticket
            waiting[0].is_unauthenticated = False
        self.model.live.append(Live(ticket, not is_exempt))
        is_nearly_full = cap is not None and len(self.model.waiting()) >= 0.8 * cap
        assert ticket.is_stressed is (is_nearly_full and not is_exempt)

    @rule(ticket=tickets)
    def log_in(self, ticket: Ticket | None) -> None:
        if ticket:
            self.table.authenticated(ticket)
            for live in self.model.live:
                live.is_unauthenticated &= live.ticket.id != ticket.id  # whoever holds it by now

    @rule(ticket=tickets)
    def release(self, ticket: Ticket | None) -> None:
        if ticket:
            self.table.release(ticket)
            self.model.live = [live for live in self.model.live if live.ticket != ticket]

    @rule(target=tickets, ticket=tickets, owner=st.integers(1, 2))
    def hand_over(self, ticket: Ticket | None, owner: int) -> Ticket | None:
        found = [live for live in self.model.live if live.ticket == ticket]
        if not found or ticket is None:
            return None
        found[0].ticket = moved = self.table.hand_over(ticket, owner)
        assert moved == replace(ticket, owner=owner)
        return moved

    @rule()
    def upgrade(self) -> None:
        """Another table takes over; the rates begin anew."""
        state = self.table.state()
        self.table = AdmissionTable(self.model.caps)
        self.table.resume(state)
        self.model.tokens.clear()

    @precondition(lambda self: self.model.live)
    @rule(owner=st.integers(1, 2))
    def lose_worker(self, owner: int) -> None:
        gone = [live for live in self.model.live if live.ticket.owner == owner]
        assert self.table.release_owner(owner) == len(gone)
        self.model.live = [live for live in self.model.live if live.ticket.owner != owner]

    @invariant()
    def counts_agree(self) -> None:
        assert self.table.total_count == len(self.model.live)
        assert self.table.unauthenticated_count == len(self.model.waiting())
        for peer in PEERS:
            assert self.table.count(peer) == sum(live.ticket.peer.key == peer.key for live in self.model.live)
        assert set(self.table._by_address) == {live.ticket.peer.key for live in self.model.live}
        for owner in (1, 2):
            mine = {live.ticket.id: live.ticket for live in self.model.live if live.ticket.owner == owner}
            assert self.table.held(owner) == mine
        for live in self.model.live:
            assert self.table.is_authenticated(live.ticket) is not live.is_unauthenticated
        assert set(self.table._held) == {live.ticket.owner for live in self.model.live}


TableMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestTableModel = TableMachine.TestCase
