"""The book of refusals: what gets a line of its own, and that nothing is left uncounted."""

from tlsproxy.admission import refusals as room
from tlsproxy.admission.refusals import RefusalBook, Shed
from tlsproxy.core.addresses import peer_from
from tlsproxy.core.outcome import Reason

NOW = 500.0
FLOODER = peer_from("192.0.2.1", 1000).client


def test_a_flood_is_told_to_begin_with_and_then_counted() -> None:
    book = RefusalBook()
    assert book.is_empty
    told = sum(book.is_worth_a_line(FLOODER, Reason.ADDRESS_FULL, NOW) for _ in range(20_000))
    assert told == room._PER_ADDRESS_BURST
    assert not book.is_worth_a_line(FLOODER, Reason.RATE_EXCEEDED, NOW)
    assert not book.is_empty
    counts = {Reason.ADDRESS_FULL: 20_000 - told, Reason.RATE_EXCEEDED: 1}
    assert book.shed() == [Shed(client_ip=FLOODER.ip, counts=counts)]
    assert book.is_empty
    assert book.shed() == []


def test_who_floods_does_not_silence_others() -> None:
    book = RefusalBook()
    for _ in range(1000):
        book.is_worth_a_line(FLOODER, Reason.ADDRESS_FULL, NOW)
    assert book.is_worth_a_line(peer_from("192.0.2.2", 1).client, Reason.ADDRESS_FULL, NOW)


def test_who_stops_is_told_again() -> None:
    book = RefusalBook()
    while book.is_worth_a_line(FLOODER, Reason.ADDRESS_FULL, NOW):
        pass
    assert book.is_worth_a_line(FLOODER, Reason.ADDRESS_FULL, NOW + 1.0)


def test_many_addresses_have_a_budget_in_common_and_a_bound() -> None:
    book = RefusalBook()
    peers = [peer_from(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", 1) for n in range(13_000)]
    told = sum(book.is_worth_a_line(peer.client, Reason.TOTAL_FULL, NOW) for peer in peers)
    assert told == room._IN_ALL_BURST
    shed = book.shed()
    assert len(shed) == room._ADDRESSES + 1
    assert sum(sum(one.counts.values()) for one in shed) == len(peers) - told
    assert [one.client_ip for one in shed].count(None) == 1
