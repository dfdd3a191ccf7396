"""What supervisor and workers say to each other: it comes over as it was said, and nonsense is noticed."""

from ipaddress import IPv4Address, IPv6Address
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.admission.base import Refused, Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.core.outcome import Reason
from tlsproxy.process.line import words
from tlsproxy.process.line.channel import MESSAGE_BYTES
from tlsproxy.process.line.tickets import in_parts

LISTENERS: Final = [f"listener-{number}" for number in range(300)]
NUMBERS: Final = st.integers(0, 2**63 - 1)
TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
SECONDS: Final = st.floats(0, 1e6)
PEERS: Final = st.builds(
    Peer,
    st.builds(IPv4Address, st.integers(0, 2**32 - 1)) | st.builds(IPv6Address, st.integers(0, 2**128 - 1)),
    st.integers(0, 65535),
)
ARRIVALS: Final = st.builds(
    lambda number, peer, listener, is_exempt, is_stressed, session: words.Arrival(
        ticket=Ticket(
            id=number,
            peer=peer,
            listener=LISTENERS[listener],
            owner=7,
            is_exempt=is_exempt,
            is_stressed=is_stressed,
        ),
        listener=listener,
        session=session.hex(),
    ),
    NUMBERS,
    PEERS,
    st.integers(0, len(LISTENERS) - 1),
    st.booleans(),
    st.booleans(),
    st.binary(min_size=6, max_size=6),
)
RARE: Final = st.one_of(
    st.builds(words.Supplied, version=NUMBERS),
    st.builds(words.LogTo, format=TEXT, file=TEXT, level=TEXT),
    st.builds(words.Tell, listener=NUMBERS, ip=TEXT, port=NUMBERS, reason=TEXT, limit=TEXT, session=TEXT),
    st.builds(words.Evict, ticket=NUMBERS, limit=TEXT),
    st.builds(words.Health, backend=NUMBERS, is_suspect=st.booleans(), is_down=st.booleans()),
    st.builds(words.Knock, backend=NUMBERS),
    st.builds(words.Probe, backend=NUMBERS),
    st.builds(words.Ping),
    st.builds(words.Retire, grace_s=SECONDS, window_s=SECONDS),
    st.builds(words.Drain, window_s=SECONDS),
    st.builds(words.Stop),
    st.builds(words.Ready),
    st.builds(words.Pong),
    st.builds(words.Failed, backend=NUMBERS, client=TEXT, reason=TEXT, detail=TEXT),
    st.builds(words.Worked, backend=NUMBERS, address=TEXT),
    st.builds(words.Spend, question=NUMBERS, ticket=NUMBERS, messages=NUMBERS, recipients=NUMBERS),
    st.builds(words.Spent, question=NUMBERS, limit=TEXT),
)


def test_every_word_is_tried_here() -> None:
    known = {type(word) for word in EXAMPLES} | {words.Serve, words.Released, words.Authenticated}
    assert known == set((words.ToWorker | words.FromWorker).__args__)


EXAMPLES: Final = (
    words.Supplied(),
    words.LogTo(format="json", file="", level="info"),
    words.Tell(listener=1, ip="192.0.2.1", port=5, reason="total_full", limit="7", session="0a0b0c0d0e0f"),
    words.Evict(ticket=1, limit="512"),
    words.Health(backend=1, is_suspect=True, is_down=False),
    words.Knock(backend=1),
    words.Probe(backend=1),
    words.Ping(),
    words.Retire(grace_s=600, window_s=30.0),
    words.Drain(window_s=30),
    words.Stop(),
    words.Ready(),
    words.Pong(),
    words.Failed(backend=1, client="c0000201", reason="backend_down", detail="refused"),
    words.Worked(backend=1, address="127.0.0.1:1143"),
    words.Spend(question=1, ticket=7, messages=1, recipients=0),
    words.Spent(question=1, limit="60 per 60 s"),
)


@pytest.mark.parametrize("word", EXAMPLES, ids=lambda word: type(word).__name__)
def test_rare_word(word: words.ToWorker | words.FromWorker) -> None:
    assert words.decode(words.encode(word)) == word


@given(RARE)
def test_rare_words_come_over(word: words.ToWorker | words.FromWorker) -> None:
    assert words.decode(words.encode(word)) == word


def entry(arrival: words.Arrival) -> bytes:
    ticket = arrival.ticket
    return words.entry(ticket, ticket.peer.ip.packed, arrival.listener, bytes.fromhex(arrival.session))


@given(st.lists(ARRIVALS, max_size=64))
def test_connections_come_over(arrivals: list[words.Arrival]) -> None:
    message = words.encode(words.Serve(entries=b"".join(map(entry, arrivals))))
    heard = words.decode(message)
    assert isinstance(heard, words.Serve)
    assert list(heard.arrivals(LISTENERS, 7)) == arrivals
    assert list(heard.sessions()) == [(arrival.ticket.id, bytes.fromhex(arrival.session)) for arrival in arrivals]


@given(st.lists(NUMBERS, max_size=100))
def test_tickets_come_over(tickets: list[int]) -> None:
    for kind in (words.Released, words.Authenticated):
        heard = words.decode(words.encode(kind(tickets=tickets)))
        assert isinstance(heard, kind)
        assert list(heard.tickets) == tickets


@pytest.mark.parametrize("count", [0, 1, 2048, 2049, 10_000])
def test_many_tickets_go_in_parts(count: int) -> None:
    tickets = list(range(count))
    parts = list(in_parts(tickets))
    assert [ticket for part in parts for ticket in part] == tickets
    assert all(len(words.encode(words.Released(tickets=part))) < MESSAGE_BYTES / 2 for part in parts)


@pytest.mark.parametrize("ip", ["192.0.2.1", "2001:db8::1"])
def test_who_is_told_what(ip: str) -> None:
    word = words.Tell(listener=0, ip=ip, port=5, reason=Reason.ADDRESS_FULL, limit="100", session="0a0b0c0d0e0f")
    heard = words.decode(words.encode(word))
    assert isinstance(heard, words.Tell)
    assert str(heard.peer) == (f"[{ip}]:5" if ":" in ip else f"{ip}:5")
    assert heard.refused == Refused(reason=Reason.ADDRESS_FULL, limit="100")


@given(st.binary(max_size=200))
def test_nonsense_is_a_value_error_and_nothing_else(message: bytes) -> None:
    try:
        words.decode(message)
    except ValueError:
        return


@pytest.mark.parametrize("kind", range(16, 32))
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}x", b"5", b'"x"', b"null", b'{"unknown": 1}', b"\xff", b"[" * 10_000], ids=range(9)
)
def test_json_of_another_shape(kind: int, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        words.decode(bytes((kind,)) + body)


@pytest.mark.parametrize("kind", [0, *range(4, 16), 32, 33, 255])
def test_kind_that_nobody_knows(kind: int) -> None:
    with pytest.raises(ValueError, match=f"no message: kind {kind}"):
        words.decode(bytes((kind,)) + b"{}")


def test_nothing_at_all() -> None:
    with pytest.raises(ValueError, match="empty"):
        words.decode(b"")


@pytest.mark.parametrize("kind", [1, 2])
def test_half_a_ticket(kind: int) -> None:
    with pytest.raises(ValueError, match="no message"):
        words.decode(bytes((kind,)) + bytes(12))


@pytest.mark.parametrize(
    "body",
    [
        b'{"backend": "1", "client": "", "reason": "", "detail": ""}',
        b'{"backend": [], "client": "", "reason": "", "detail": ""}',
        b'{"backend": 1.5, "client": "", "reason": "", "detail": ""}',
        b'{"backend": 1, "client": 5, "reason": "", "detail": ""}',
        b'{"backend": 1, "client": null, "reason": "", "detail": ""}',
        b'{"backend": 1, "client": "", "reason": {}, "detail": ""}',
        b'{"backend": 1, "client": "", "reason": ""}',
        b'{"backend": 99999999999999999999999, "client": "", "reason": "", "detail": ""}',
    ],
)
def test_parts_of_another_kind(body: bytes) -> None:
    (failed,) = [word for word in EXAMPLES if isinstance(word, words.Failed)]
    kind = words.encode(failed)[0]
    with pytest.raises(ValueError, match="no message"):
        words.decode(bytes((kind,)) + body)
