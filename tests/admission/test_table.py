"""The caps, one by one."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from rig.admission import Admitted, admit

from tlsproxy.admission.base import Admission, Caps, Refused, Ticket
from tlsproxy.admission.table import AdmissionTable
from tlsproxy.core.addresses import Peer, peer_from
from tlsproxy.core.outcome import Reason

OPEN = Caps(
    total=1000,
    per_address=None,
    rate_count=None,
    rate_period_s=60.0,
    rate_burst=240,
    unauthenticated=None,
    unauthenticated_per_address=None,
    allow=(),
)
NOW = 1000.0
ANNA = peer_from("192.0.2.1", 49152)
BERT = peer_from("198.51.100.7", 49153)


def enter(table: Admission, peer: Peer = ANNA, owner: int = 1, now: float = NOW) -> Ticket:
    verdict = admit(table, peer, owner, now)
    assert isinstance(verdict, Admitted), verdict
    return verdict.ticket


def refusal(table: Admission, peer: Peer = ANNA, now: float = NOW) -> Refused:
    verdict = admit(table, peer, 1, now)
    assert isinstance(verdict, Refused), verdict
    return verdict


def assert_empty(table: AdmissionTable) -> None:
    assert table.total_count == 0
    assert table.unauthenticated_count == 0
    assert not table._by_address
    assert not table._held


def test_ticket_says_who_and_for_whom() -> None:
    ticket = enter(AdmissionTable(OPEN), BERT, owner=7)
    assert (ticket.peer, ticket.owner, ticket.is_exempt, ticket.is_stressed) == (BERT, 7, False, False)


def test_ticket_ids_are_never_used_twice() -> None:
    table = AdmissionTable(OPEN)
    first = enter(table)
    table.release(first)
    assert enter(table).id != first.id


@pytest.mark.parametrize(
    ("cap", "reason"),
    [
        ("total", Reason.TOTAL_FULL),
        ("per_address", Reason.ADDRESS_FULL),
        ("unauthenticated_per_address", Reason.UNAUTHENTICATED_ADDRESS_FULL),
    ],
)
@pytest.mark.parametrize("limit", [0, 1, 7])
def test_burst_of_ten_times_the_cap_gives_exactly_the_cap(cap: str, reason: Reason, limit: int) -> None:
    table = AdmissionTable(replace(OPEN, **{cap: limit}))
    verdicts = [admit(table, ANNA, 1, NOW) for _ in range(10 * max(limit, 1))]
    tickets = [v.ticket for v in verdicts if isinstance(v, Admitted)]
    refused = [v for v in verdicts if isinstance(v, Refused)]
    assert len(tickets) == limit
    assert {(v.reason, v.limit) for v in refused} == {(reason, str(limit))}
    for ticket in tickets:
        table.release(ticket)
    assert_empty(table)
    assert len([v for v in (admit(table, ANNA, 1, NOW) for _ in range(limit + 3)) if isinstance(v, Admitted)]) == limit


def test_total_holds_for_all_addresses_together() -> None:
    table = AdmissionTable(replace(OPEN, total=2))
    enter(table, ANNA)
    enter(table, BERT)
    assert refusal(table, peer_from("203.0.113.9", 1)).reason is Reason.TOTAL_FULL


def test_addresses_have_their_own_room() -> None:
    table = AdmissionTable(replace(OPEN, per_address=1))
    enter(table, ANNA)
    enter(table, BERT)
    assert refusal(table, ANNA).reason is Reason.ADDRESS_FULL


def test_v4_mapped_is_the_same_client_as_v4() -> None:
    table = AdmissionTable(replace(OPEN, per_address=1))
    enter(table, ANNA)
    assert refusal(table, peer_from("::ffff:192.0.2.1", 5)).reason is Reason.ADDRESS_FULL


def test_an_ipv6_client_is_its_64() -> None:
    table = AdmissionTable(replace(OPEN, per_address=1))
    enter(table, peer_from("2001:db8:0:1::1", 5))
    assert refusal(table, peer_from("2001:db8:0:1:ffff::2", 5)).reason is Reason.ADDRESS_FULL
    enter(table, peer_from("2001:db8:0:2::1", 5))


def test_releasing_twice_is_harmless() -> None:
    table = AdmissionTable(OPEN)
    first, second = enter(table), enter(table)
    for _ in range(3):
        table.release(first)
    assert (table.total_count, table.count(ANNA), table.unauthenticated_count) == (1, 1, 1)
    table.release(second)
    table.release(second)
    table.release(first)
    assert_empty(table)


def test_login_frees_the_unauthenticated_room_alone() -> None:
    table = AdmissionTable(replace(OPEN, unauthenticated_per_address=1))
    ticket = enter(table)
    refusal(table)
    table.authenticated(ticket)
    table.authenticated(ticket)
    assert (table.total_count, table.count(ANNA), table.unauthenticated_count) == (1, 1, 0)
    enter(table)
    table.release(ticket)
    assert (table.total_count, table.unauthenticated_count) == (1, 1)


def test_dead_worker_gives_everything_back() -> None:
    table = AdmissionTable(OPEN)
    gone = [enter(table, peer, owner=1) for peer in (ANNA, ANNA, BERT)]
    table.authenticated(gone[0])
    kept = enter(table, BERT, owner=2)
    assert table.release_owner(1) == 3
    assert table.release_owner(1) == 0
    assert (table.total_count, table.count(ANNA), table.count(BERT)) == (1, 0, 1)
    table.release(gone[2])
    assert table.total_count == 1
    table.release(kept)
    assert_empty(table)


def test_rate_is_said_for_a_person() -> None:
    table = AdmissionTable(replace(OPEN, rate_count=120, rate_burst=2))
    table.release(enter(table))
    table.release(enter(table))
    refused = refusal(table)
    assert (refused.reason, refused.limit) == (Reason.RATE_EXCEEDED, "120 per 60 s")
    assert not table.may_tell(refused, ANNA.client, NOW)
    enter(table, BERT)
    enter(table, now=NOW + 0.5)
    refusal(table, now=NOW + 0.5)


def test_refusal_by_a_cap_costs_no_token() -> None:
    table = AdmissionTable(replace(OPEN, per_address=1, rate_count=1, rate_burst=2))
    first = enter(table)
    for _ in range(50):
        assert refusal(table).reason is Reason.ADDRESS_FULL
    table.release(first)
    table.release(enter(table))
    assert refusal(table).reason is Reason.RATE_EXCEEDED


def test_order_of_judgement() -> None:
    table = AdmissionTable(
        replace(OPEN, total=3, per_address=2, unauthenticated_per_address=1, rate_count=1, rate_burst=2)
    )
    first = enter(table)
    assert refusal(table).reason is Reason.UNAUTHENTICATED_ADDRESS_FULL
    table.authenticated(first)
    second = enter(table)
    assert refusal(table).reason is Reason.ADDRESS_FULL
    table.release(second)
    assert refusal(table).reason is Reason.RATE_EXCEEDED
    enter(table, BERT)
    enter(table, peer_from("203.0.113.9", 1))
    assert refusal(table).reason is Reason.TOTAL_FULL


def test_full_unauthenticated_budget_costs_the_oldest() -> None:
    table = AdmissionTable(replace(OPEN, unauthenticated=2))
    first, second = enter(table), enter(table, BERT)
    third = admit(table, BERT, 1, NOW)
    assert isinstance(third, Admitted)
    assert third.evicted == first
    assert (table.total_count, table.unauthenticated_count, table.count(ANNA)) == (3, 2, 1)
    fourth = admit(table, BERT, 1, NOW)
    assert isinstance(fourth, Admitted)
    assert fourth.evicted == second
    table.authenticated(first)
    assert table.unauthenticated_count == 2
    table.release(first)
    assert (table.total_count, table.unauthenticated_count, table.count(ANNA)) == (3, 2, 0)


def test_who_logged_in_or_left_is_not_evicted() -> None:
    table = AdmissionTable(replace(OPEN, unauthenticated=2))
    first, second, third = enter(table), enter(table), None
    table.authenticated(first)
    third = enter(table)
    table.release(second)
    enter(table)
    verdict = admit(table, BERT, 1, NOW)
    assert isinstance(verdict, Admitted)
    assert verdict.evicted == third


def test_evicted_counts_no_longer_as_unauthenticated_of_its_address() -> None:
    table = AdmissionTable(replace(OPEN, unauthenticated=1, unauthenticated_per_address=1))
    enter(table, ANNA)
    enter(table, BERT)
    enter(table, ANNA)


def test_nobody_is_evicted_for_somebody_who_is_refused() -> None:
    table = AdmissionTable(replace(OPEN, unauthenticated=1, per_address=1))
    enter(table, ANNA)
    refusal(table, ANNA)
    assert table.unauthenticated_count == 1


def test_unauthenticated_cap_of_zero_acts_as_one() -> None:
    table = AdmissionTable(replace(OPEN, unauthenticated=0))
    first = enter(table)
    assert first.is_stressed
    verdict = admit(table, BERT, 1, NOW)
    assert isinstance(verdict, Admitted)
    assert verdict.evicted == first


def test_stress_begins_at_four_fifths() -> None:
    table = AdmissionTable(replace(OPEN, unauthenticated=10))
    assert [enter(table).is_stressed for _ in range(12)] == [False] * 7 + [True] * 5


def test_exempt_skips_everything_but_the_total() -> None:
    allow = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    tight = {"per_address": 1, "rate_count": 1, "rate_burst": 1, "unauthenticated": 1, "unauthenticated_per_address": 1}
    table = AdmissionTable(replace(OPEN, total=6, allow=allow, **tight))
    waiting = enter(table, BERT)
    for peer in (ANNA, ANNA, peer_from("::ffff:192.0.2.9", 1), peer_from("2001:db8::1", 1), ANNA):
        verdict = admit(table, peer, 1, NOW)
        assert isinstance(verdict, Admitted)
        assert verdict.evicted is None
        assert (verdict.ticket.is_exempt, verdict.ticket.is_stressed) == (True, False)
        table.authenticated(verdict.ticket)
    assert (table.unauthenticated_count, table.count(ANNA), table.count(BERT)) == (1, 3, 1)
    assert refusal(table, ANNA).reason is Reason.TOTAL_FULL
    table.release(waiting)
    table.release_owner(1)
    assert_empty(table)


def test_a_full_address_is_told_within_the_budget() -> None:
    table = AdmissionTable(replace(OPEN, per_address=0))
    refused = refusal(table)
    assert [table.may_tell(refused, ANNA.client, NOW) for _ in range(3)] == [True, False, False]
    assert table.may_tell(refused, ANNA.client, NOW + 10)


def test_change_keeps_who_is_here() -> None:
    table = AdmissionTable(OPEN)
    tickets = [enter(table) for _ in range(3)]
    table.change(replace(OPEN, per_address=2))
    assert table.count(ANNA) == 3
    assert refusal(table).reason is Reason.ADDRESS_FULL
    table.release(tickets[0])
    table.release(tickets[1])
    enter(table)


def test_change_of_a_rate_starts_anew_and_of_another_number_does_not() -> None:
    caps = replace(OPEN, rate_count=1, rate_burst=1)
    table = AdmissionTable(caps)
    enter(table)
    table.change(replace(caps, total=500))
    assert refusal(table).reason is Reason.RATE_EXCEEDED
    table.change(replace(caps, rate_burst=2))
    enter(table)
    enter(table)
    refusal(table)
    table.change(OPEN)
    enter(table)


def test_rate_memory_is_bounded() -> None:
    table = AdmissionTable(replace(OPEN, rate_count=1, rate_burst=1, unauthenticated=1))
    for number in range(65_536 + 50):
        table.release(enter(table, peer_from(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1)))
    assert table._rates is not None
    assert len(table._rates) == 65_536
    assert_empty(table)


def test_held_is_a_view_by_owner() -> None:
    table = AdmissionTable(OPEN)
    assert dict(table.held(1)) == {}
    first, second, other = enter(table, owner=1), enter(table, owner=1), enter(table, owner=2)
    view = table.held(1)
    assert dict(view) == {first.id: first, second.id: second}
    table.release(first)
    assert list(view) == [second.id]
    assert list(table.held(2).values()) == [other]


def test_who_has_logged_in() -> None:
    table = AdmissionTable(replace(OPEN, allow=(ip_network("198.51.100.0/24"),)))
    ticket, exempt = enter(table, ANNA), enter(table, BERT)
    assert not table.is_authenticated(ticket)
    assert table.is_authenticated(exempt)
    table.authenticated(ticket)
    assert table.is_authenticated(ticket)


def test_handed_over() -> None:
    """Nothing is counted twice, the old ticket is worth nothing, and its place among the waiting is kept."""
    table = AdmissionTable(replace(OPEN, unauthenticated=2))
    first, second = enter(table, owner=1), enter(table, owner=1)
    moved = table.hand_over(first, 2)
    assert moved == replace(first, owner=2)
    assert (table.total_count, table.count(ANNA), table.unauthenticated_count) == (2, 2, 2)
    table.release(first)
    assert table.total_count == 2
    verdict = admit(table, BERT, 1, NOW)
    assert isinstance(verdict, Admitted)
    assert verdict.evicted == moved, "the oldest is still the first to go"
    assert table.hand_over(second, 2) == replace(second, owner=2)
    assert list(table.held(1).values()) == [verdict.ticket]
    assert table.release_owner(2) == 2
    table.release(verdict.ticket)
    assert_empty(table)


def test_handed_over_after_login() -> None:
    table = AdmissionTable(OPEN)
    ticket = enter(table, owner=1)
    table.authenticated(ticket)
    moved = table.hand_over(ticket, 2)
    assert (table.is_authenticated(moved), table.unauthenticated_count) == (True, 0)
    assert table.held(1) == {}
    table.release(moved)
    assert_empty(table)


@pytest.mark.parametrize("others", [0, 1])
def test_what_was_released_is_not_handed_over(others: int) -> None:
    table = AdmissionTable(OPEN)
    ticket = enter(table)
    for _ in range(others):
        enter(table)
    table.release(ticket)
    with pytest.raises(KeyError):
        table.hand_over(ticket, 2)
    assert table.total_count == others


def test_successor_goes_on_where_this_one_stopped() -> None:
    caps = replace(OPEN, unauthenticated=3, allow=(ip_network("198.51.100.0/24"),))
    table = AdmissionTable(caps)
    tickets = [enter(table, peer, owner) for peer, owner in ((ANNA, 2), (BERT, 1), (ANNA, 1), (ANNA, 2))]
    table.authenticated(tickets[0])
    state = table.state()
    assert list(state.tickets) == tickets
    assert set(state.unauthenticated) == {tickets[2].id, tickets[3].id}
    after = AdmissionTable(caps)
    after.resume(state)
    assert after.state() == state
    for peer in (ANNA, BERT):
        assert after.count(peer) == table.count(peer)
    assert (after.total_count, after.unauthenticated_count) == (4, 2)
    assert [dict(after.held(owner)) for owner in (1, 2)] == [dict(table.held(owner)) for owner in (1, 2)]
    fresh = enter(after, ANNA)
    assert fresh.id == tickets[-1].id + 1
    verdict = admit(after, ANNA, 1, NOW)
    assert isinstance(verdict, Admitted)
    assert verdict.evicted == tickets[2]
