"""Which worker gets a connection, and what becomes of it when that one is gone."""

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any, Final

import pytest
from rig.admission import Admitted, admit

from tlsproxy.admission.base import Caps, Refused, Ticket
from tlsproxy.admission.table import AdmissionTable
from tlsproxy.core.addresses import Peer
from tlsproxy.core.outcome import Reason
from tlsproxy.process.crew.dispatch import Dispatcher
from tlsproxy.process.crew.member import Stage
from tlsproxy.process.line import words

ANNA: Final = Peer(IPv4Address("192.0.2.1"), 1000)
LISTENERS: Final = ("imap", "pop3", "pop3s", "imaps")
SESSION: Final = bytes.fromhex("0a0b0c0d0e0f")
OPEN: Final = Caps(
    total=1000,
    per_address=None,
    rate_count=None,
    rate_period_s=60.0,
    rate_burst=240,
    unauthenticated=None,
    unauthenticated_per_address=None,
    allow=(),
)


class Hand:
    """All of a member that a dispatcher may use."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.stage = Stage.SERVING
        self.has_room = True
        self.given: list[tuple[words.Arrival, int]] = []
        self.said: list[tuple[words.ToWorker, tuple[int, ...]]] = []
        self.flushes = 0

    def serve(self, entry: bytes, fd: int) -> None:
        (arrival,) = words.Serve(entries=entry).arrivals(LISTENERS, self.number)
        self.given.append((arrival, fd))

    def say(self, word: words.ToWorker, fds: tuple[int, ...] = ()) -> None:
        self.said.append((word, fds))

    def flush(self) -> None:
        self.flushes += 1


class Office:
    """A dispatcher over two members."""

    def __init__(self) -> None:
        self.table = AdmissionTable(OPEN)
        self.hands = {number: Hand(number) for number in (1, 2)}
        self.dispatch = Dispatcher(self.table, self.hands)  # type: ignore[arg-type] # all that is used of a member

    def enter(self, owner: int) -> Ticket:
        verdict = admit(self.table, ANNA, owner, 0.0)
        assert isinstance(verdict, Admitted)
        return verdict.ticket

    def come(self, fd: int = 99) -> int:
        """One connection as the door brings it; who got it."""
        owner = self.dispatch.pick()
        self.dispatch.serve(self.enter(owner), ANNA.client, 3, SESSION, fd)
        return owner


@pytest.fixture
def office() -> Office:
    return Office()


def test_whoever_holds_the_fewest(office: Office) -> None:
    assert sorted(office.come() for _ in range(10)) == [1] * 5 + [2] * 5
    for ticket in list(office.table.held(2).values())[:3]:
        office.table.release(ticket)
    assert [office.come() for _ in range(3)] == [2, 2, 2]


def test_what_is_given(office: Office) -> None:
    owner = office.come(42)
    ((arrival, fd),) = office.hands[owner].given
    (ticket,) = office.table.held(owner).values()
    assert (arrival, fd) == (words.Arrival(ticket=ticket, listener=3, session=SESSION.hex()), 42)
    office.dispatch.flush()
    assert [hand.flushes for hand in office.hands.values()] == [1, 1]


def test_only_who_has_room(office: Office) -> None:
    office.hands[1].has_room = False
    assert office.dispatch.has_room
    assert [office.come() for _ in range(3)] == [2, 2, 2]


def test_whoever_was_accepted_goes_somewhere(office: Office) -> None:
    """The last room may go within one batch."""
    for hand in office.hands.values():
        hand.has_room = False
    assert not office.dispatch.has_room
    assert office.come() in {1, 2}
    office.hands[1].stage = Stage.LEAVING
    assert office.come() == 2


def test_nobody_is_there(office: Office) -> None:
    for hand in office.hands.values():
        hand.stage, hand.has_room = Stage.STARTING, False
    assert office.dispatch.pick() == 0


def test_pick_that_was_not_used_holds_only_while_there_is_room(office: Office) -> None:
    """Who is refused at the door has had somebody picked for nothing."""
    first = office.dispatch.pick()
    assert office.dispatch.pick() == first
    office.hands.pop(first).has_room = False
    assert office.come() == 3 - first


REFUSED: Final = Refused(reason=Reason.ADDRESS_FULL, limit="100")


def test_told(office: Office) -> None:
    owner = office.dispatch.pick()
    assert office.dispatch.tell(REFUSED, ANNA, 3, "0a0b0c0d0e0f", 42)
    ((word, fds),) = office.hands[owner].said
    assert isinstance(word, words.Tell)
    assert (word.peer, word.refused, word.listener, word.session, fds) == (ANNA, REFUSED, 3, "0a0b0c0d0e0f", (42,))


def test_nobody_is_there_to_tell(office: Office) -> None:
    office.hands.clear()
    assert not office.dispatch.tell(REFUSED, ANNA, 3, "0a0b0c0d0e0f", 42)


def test_evicted(office: Office) -> None:
    ticket = office.enter(2)
    office.dispatch.evict(ticket, "512")
    assert office.hands[2].said == [(words.Evict(ticket=ticket.id, limit="512"), ())]
    del office.hands[2]
    office.dispatch.evict(ticket, "512")


def give_again(office: Office, change: Callable[[Office], Any]) -> bool:
    ticket = office.enter(1)
    del office.hands[1]
    change(office)
    return office.dispatch.give_again(ticket, 3, SESSION, 42)


def test_given_to_another(office: Office) -> None:
    assert give_again(office, lambda _: None)
    ((arrival, fd),) = office.hands[2].given
    assert (arrival.ticket.owner, arrival.listener, arrival.session, fd) == (2, 3, SESSION.hex(), 42)
    assert list(office.table.held(2).values()) == [arrival.ticket]
    assert not office.table.held(1)


def test_nobody_is_there_to_get_it(office: Office) -> None:
    assert not give_again(office, lambda office: office.hands.clear())
    assert len(office.table.held(1)) == 1
