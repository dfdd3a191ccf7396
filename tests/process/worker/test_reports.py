"""What a worker reports: tickets in batches and in order, backends in passing."""

import asyncio
from ipaddress import IPv4Address

import pytest

from tlsproxy.admission.base import Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.core.errors import BackendError
from tlsproxy.core.outcome import Reason
from tlsproxy.net.plane import LoopPlane
from tlsproxy.process.line import words
from tlsproxy.process.worker.reports import RemoteHealth, Reports

ERROR = BackendError(Reason.BACKEND_DOWN, "x" * 1000)


class Line:
    """All of a channel that is used here."""

    def __init__(self) -> None:
        self.is_clear = True
        self.said: list[words.ToWorker | words.FromWorker] = []

    def send(self, message: bytes) -> None:
        self.said.append(words.decode(message))


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
async def reports(line: Line) -> Reports:
    return Reports(line, LoopPlane(asyncio.get_running_loop()))  # type: ignore[arg-type] # a fake


def ticket(number: int) -> Ticket:
    peer = Peer(IPv4Address("192.0.2.1"), 1000)
    return Ticket(id=number, peer=peer, listener="imaps", owner=0, is_exempt=False, is_stressed=False)


async def test_one_turn_is_one_message(reports: Reports, line: Line) -> None:
    for number in range(5):
        reports.release(ticket(number))
    reports.authenticated(ticket(7))
    reports.authenticated(ticket(8))
    reports.release(ticket(7))
    assert line.said == []
    await asyncio.sleep(0)
    assert line.said == [words.Authenticated(tickets=(7, 8)), words.Released(tickets=(0, 1, 2, 3, 4, 7))]
    reports.release(ticket(9))
    await asyncio.sleep(0)
    assert line.said[2:] == [words.Released(tickets=(9,))]
    await asyncio.sleep(0)
    assert len(line.said) == 3


async def test_many_at_once(reports: Reports, line: Line) -> None:
    for number in range(5000):
        reports.release(ticket(number))
    await asyncio.sleep(0)
    told = [number for word in line.said if isinstance(word, words.Released) for number in word.tickets]
    assert told == list(range(5000))
    assert len(line.said) == 3


async def test_what_waits_is_sent_at_the_end(reports: Reports, line: Line) -> None:
    reports.release(ticket(1))
    reports.send()
    assert line.said == [words.Released(tickets=(1,))]
    await asyncio.sleep(0)
    assert len(line.said) == 1


async def test_failures_do_not_queue_up(reports: Reports, line: Line) -> None:
    reports.failed(1, b"\xc0\x00\x02\x01", ERROR)
    (word,) = line.said
    assert word == words.Failed(backend=1, client="c0000201", reason="backend_down", detail="x" * 400)
    line.is_clear = False
    reports.failed(1, b"\xc0\x00\x02\x01", ERROR)
    assert len(line.said) == 1


async def test_health(reports: Reports, line: Line) -> None:
    health = RemoteHealth(3, reports)
    health.worked("127.0.0.1:1143")
    assert line.said == [], "that all is well is not worth a word"
    assert not health.is_down()
    health.failed(b"\1", ERROR)
    assert health.is_suspect
    assert not health.is_down(), "that is the supervisor's to say"
    health.worked("127.0.0.1:1143")
    health.worked("127.0.0.1:1143")
    assert line.said[1:] == [words.Worked(backend=3, address="127.0.0.1:1143")]
    health.is_known_down = True
    assert health.is_down()
