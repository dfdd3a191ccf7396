"""The door alone: whom it lets in, whom it makes wait, and what it says of those it turns away."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack
from types import SimpleNamespace
from typing import Any, Final

import pytest
from rig.pki import Pki
from rig.planes import until
from rig.proxy import make_config
from rig.recorder import Line, Recorder

from tlsproxy.admission import refusals
from tlsproxy.admission.base import Refused, Ticket
from tlsproxy.admission.table import AdmissionTable
from tlsproxy.core.addresses import Client, Peer
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LoopKind
from tlsproxy.core.outcome import Reason
from tlsproxy.core.references import References
from tlsproxy.net import acceptor as acceptor_room
from tlsproxy.process.door import door as room
from tlsproxy.process.door.door import Door
from tlsproxy.process.door.farewell import Farewell
from tlsproxy.process.loops import make_loop
from tlsproxy.process.stage import set_stage
from tlsproxy.process.watches.backend import BackendWatch
from tlsproxy.protocols.smtp import SMTP

WITHIN_S: Final = 10.0
LISTENERS: Final = ("imaps", "imap", "pop3s", "pop3")
PATIENT: Final = {"unauthenticated_per_address": None, "connection_rate": None}


class Staff:
    """Workers that keep what they are given."""

    def __init__(self) -> None:
        self.has_room = True
        self.room_for = 10**9
        self.may_tell = True
        self.served: list[tuple[Ticket, int, str, int]] = []
        self.told: list[tuple[Refused, Peer, int, str, int]] = []
        self.evicted: list[tuple[Ticket, str]] = []
        self.flushed_at: list[int] = []

    def pick(self) -> int:
        return 4

    def serve(self, ticket: Ticket, client: Client, listener: int, session: bytes, fd: int) -> None:
        assert client == ticket.peer.client
        self.served.append((ticket, listener, session.hex(), fd))
        self.has_room = len(self.served) < self.room_for

    def tell(self, refused: Refused, peer: Peer, listener: int, session: str, fd: int) -> bool:
        if self.may_tell:
            self.told.append((refused, peer, listener, session, fd))
        return self.may_tell

    def evict(self, ticket: Ticket, limit: str) -> None:
        self.evicted.append((ticket, limit))

    def flush(self) -> None:
        self.flushed_at.append(len(self.served))

    def close(self) -> None:
        for *_, fd in (*self.served, *self.told):
            os.close(fd)


class Hall(AbstractContextManager["Hall"]):
    """A door with everything around it but workers."""

    def __init__(self, pki: Pki, limits: dict[str, Any]) -> None:
        self._loop, plane = make_loop(LoopKind.UVLOOP)  # nothing is watched here: what is pushed is sent at once
        self.log = Recorder()
        self.staff = Staff()
        self.stage = set_stage(
            make_config(pki, "127.0.0.1:1", limits=limits),
            old=None,
            open_places=(),
            make_watch=lambda name, config: BackendWatch(
                name, config, 1, self.log, tell=lambda _: None, knock=lambda _: None
            ),
            inherited={},
        )
        self.admission = AdmissionTable(self.stage.caps)
        self.references = References(start=7, factor=99)
        self.farewell = Farewell(plane, self.log, self.admission, self.references, self.stage.plan)
        self.door = Door(self.staff, self.admission, self.references, self.farewell, self.log)
        self.callers: list[socket.socket] = []
        self.door.change(self.stage.listeners, self.stage.fresh_sockets, 60.0)

    def port(self, listener: str) -> int:
        (line,) = (line for line in self.log.lines(Event.LISTENER_STARTED) if line["listener"] == listener)
        return int(line["address"].rpartition(":")[2])

    def come(self, listener: str = "imap", count: int = 1) -> list[socket.socket]:
        callers = [socket.create_connection(("127.0.0.1", self.port(listener))) for _ in range(count)]
        for caller in callers:
            caller.settimeout(0)
        self.callers += callers
        return callers

    async def hear(self, caller: socket.socket) -> bytes:
        heard = b""
        async with asyncio.timeout(WITHIN_S):
            while data := await asyncio.get_running_loop().sock_recv(caller, 1000):
                heard += data
        return heard

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            await until(is_so)

    async def closed(self, count: int = 1) -> list[Line]:
        await self.until(lambda: len(self.log.lines(Event.SESSION_CLOSED)) >= count)
        return self.log.lines(Event.SESSION_CLOSED)

    def __exit__(self, *_: object) -> None:
        self.door.close()
        self.staff.close()
        for caller in self.callers:
            caller.close()
        self._loop.close()


@pytest.fixture
async def make_hall(closing: Any, rig_pki: Pki) -> AsyncIterator[Callable[..., Hall]]:
    with ExitStack() as halls:
        yield lambda **limits: halls.enter_context(Hall(rig_pki, {**PATIENT, **limits}))


Maker = Callable[..., Hall]


async def test_whoever_is_let_in_is_handed_over(make_hall: Maker) -> None:
    hall = make_hall()
    for number, name in enumerate(LISTENERS):
        (caller,) = hall.come(name)
        await hall.until(lambda: len(hall.staff.served) == number + 1)  # noqa: B023 - used at once
        ticket, listener, session, _ = hall.staff.served[-1]
        assert (ticket.listener, ticket.owner, listener) == (name, 4, number)
        assert str(ticket.peer) == "{}:{}".format(*caller.getsockname())
        assert session == hall.references.of(ticket.id)
        assert hall.staff.flushed_at[-1] == number + 1


async def test_a_batch_is_flushed_once(make_hall: Maker) -> None:
    hall = make_hall()
    hall.come(count=100)
    await hall.until(lambda: len(hall.staff.served) == 100)
    # As many as came the last time, and twice as many if that was too few, but never more than 64.
    assert hall.staff.flushed_at == [1, 3, 7, 15, 31, 63, 100]


async def test_without_room_nobody_is_accepted_and_nobody_refused(make_hall: Maker) -> None:
    hall = make_hall()
    hall.staff.room_for = 10
    hall.come(count=3)
    await hall.until(lambda: len(hall.staff.served) == 3)
    hall.staff.has_room = False
    hall.door.look_for_room()
    callers = hall.come(count=5) + hall.come("pop3", 5)
    await asyncio.sleep(0.03)
    assert len(hall.staff.served) == 3
    assert hall.log.lines(Event.SESSION_CLOSED) == []
    for caller in callers:
        with pytest.raises(BlockingIOError):
            caller.recv(1)
    hall.staff.room_for = 1000
    hall.staff.has_room = True
    hall.door.look_for_room()
    await hall.until(lambda: len(hall.staff.served) == 13)


async def test_room_that_is_used_up(make_hall: Maker) -> None:
    hall = make_hall()
    hall.staff.room_for = 1
    hall.come(count=70)
    await hall.until(lambda: bool(hall.staff.served))
    await asyncio.sleep(0.02)
    assert len(hall.staff.served) == 1, "a batch is finished, but no other is begun"
    hall.staff.room_for = 1000
    hall.staff.has_room = True
    hall.door.look_for_room()
    await hall.until(lambda: len(hall.staff.served) == 70)


async def test_paused_for_a_successor(make_hall: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_PER_ADDRESS_BURST", 120)
    hall = make_hall(per_address=1)
    hall.come(count=200)
    await hall.until(lambda: len(hall.log.lines(Event.SESSION_CLOSED)) == 120)
    await hall.until(lambda: sum(hall.door._book._pages[b"\x7f\0\0\1"].counts.values()) == 79)
    hall.door.pause()
    (shed,) = hall.log.lines(Event.CONNECTIONS_SHED)
    assert shed["count"] == 79, "what would be lost with this program is said"
    hall.come("pop3")
    hall.door.look_for_room()
    await asyncio.sleep(0.02)
    assert len(hall.log.lines(Event.SESSION_CLOSED)) == 120
    assert len(hall.door.sockets()) == 4
    hall.door.go_on()
    await hall.until(lambda: not hall.door._book.is_empty)


async def test_flood_is_counted(make_hall: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_SHED_PERIOD_S", 0.05)
    monkeypatch.setattr(refusals, "_PER_ADDRESS_BURST", 120)
    hall = make_hall(per_address=1)
    callers = hall.come(count=150)
    callers += hall.come("imaps", 50)
    await hall.until(lambda: sum(line["count"] for line in hall.log.lines(Event.CONNECTIONS_SHED)) == 79)
    for line in hall.log.lines(Event.CONNECTIONS_SHED):
        assert (line["level"], line["client_ip"], line["seconds"]) == ("warning", "127.0.0.1", 0.05)
        assert line["reasons"] == {"address_full": line["count"]}
    assert len(hall.log.lines(Event.SESSION_CLOSED)) + len(hall.staff.told) == 120
    inside = {ticket.peer.port for ticket, *_ in hall.staff.served} | {peer.port for _, peer, *_ in hall.staff.told}
    heard = [await hall.hear(caller) for caller in callers if caller.getsockname()[1] not in inside]
    assert sum(line.startswith(b"* BYE") for line in heard) == len([one for one in heard if one]) <= 120
    assert hall.door._shedding is None


async def test_flood_that_is_not_told_yet_when_the_door_closes(
    make_hall: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_PER_ADDRESS_BURST", 120)
    hall = make_hall(per_address=1)
    hall.come(count=130)
    await hall.until(lambda: not hall.door._book.is_empty)
    await hall.until(lambda: sum(hall.door._book._pages[b"\x7f\0\0\1"].counts.values()) == 9)
    hall.door.close()
    assert [line["count"] for line in hall.log.lines(Event.CONNECTIONS_SHED)] == [9]


async def test_refused_on_a_plaintext_port(make_hall: Maker) -> None:
    hall = make_hall(per_address=1)
    hall.come()
    await hall.until(lambda: bool(hall.staff.served))
    (caller,) = hall.come("pop3")
    said = await hall.hear(caller)
    (closed,) = await hall.closed()
    assert said.startswith(b"-ERR [SYS/TEMP] Too many connections from your address (1)")
    assert said.rstrip().endswith(b"ref=" + closed["session"].encode())
    assert (closed["phase"], closed["reason"], closed["listener"]) == ("admit", "address_full", "pop3")
    assert (closed["bytes_to_client"], closed["client_port"]) == (len(said), caller.getsockname()[1])
    assert hall.staff.told == [], "it takes no worker"


async def test_refused_on_a_tls_port(make_hall: Maker) -> None:
    """A worker tells the first; the second within a while costs no handshake."""
    hall = make_hall(per_address=1)
    hall.come()
    await hall.until(lambda: bool(hall.staff.served))
    (first,) = hall.come("imaps")
    await hall.until(lambda: bool(hall.staff.told))
    ((refused, peer, listener, session, _),) = hall.staff.told
    assert (refused, listener) == (Refused(reason=Reason.ADDRESS_FULL, limit="1"), 0)
    assert peer.port == first.getsockname()[1]
    assert hall.log.lines(Event.SESSION_CLOSED) == [], "the worker writes its line"
    (second,) = hall.come("imaps")
    assert await hall.hear(second) == b"", "no plaintext on a TLS port"
    (closed,) = await hall.closed()
    assert (closed["reason"], closed["bytes_to_client"]) == ("address_full", 0)
    assert len(closed["session"]) == len(session) == 12
    assert len(hall.staff.told) == 1


async def test_refused_on_a_tls_port_when_no_worker_has_time(make_hall: Maker) -> None:
    hall = make_hall(per_address=1)
    hall.staff.may_tell = False
    hall.come()
    await hall.until(lambda: bool(hall.staff.served))
    (caller,) = hall.come("pop3s")
    assert await hall.hear(caller) == b""
    (closed,) = await hall.closed()
    assert closed["listener"] == "pop3s"


async def test_oldest_goes_for_a_newcomer(make_hall: Maker) -> None:
    hall = make_hall(unauthenticated=2)
    hall.come(count=3)
    await hall.until(lambda: len(hall.staff.served) == 3)
    assert hall.staff.evicted == [(hall.staff.served[0][0], "2")]


async def test_descriptors_run_out(make_hall: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_room, "_PAUSE_S", 0.02)
    hall = make_hall()
    (acceptor,) = (entrance.acceptor for entrance in hall.door._open.values() if entrance.name == "pop3")
    real, errors = acceptor._accept, iter([OSError(24, "Too many open files")])

    def accept() -> Any:
        if error := next(errors, None):
            raise error
        return real()

    acceptor._accept = accept
    hall.come("pop3")
    await hall.until(lambda: len(hall.staff.served) == 1)
    (paused,) = hall.log.lines(Event.LISTENER_PAUSED)
    assert (paused["listener"], paused["error"], paused["level"]) == ("pop3", "Too many open files", "error")
    assert (paused["protocol"], paused["tls"]) == ("pop3", "starttls")


async def test_kept_listeners_take_what_is_new(make_hall: Maker) -> None:
    hall = make_hall()
    places = list(hall.stage.listeners)
    kept = {place: hall.stage.listeners[place] for place in reversed(places[1:])}
    hall.door.change(kept, {}, 77.0)
    assert hall.door.places() == frozenset(kept)
    for sock in hall.door.sockets().values():
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
    hall.come("pop3")
    await hall.until(lambda: bool(hall.staff.served))
    assert hall.staff.served[0][1] == 0, "numbered in the new order"


async def test_lines_of_those_a_worker_took_with_it(make_hall: Maker) -> None:
    hall = make_hall()
    hall.come(count=2)
    await hall.until(lambda: len(hall.staff.served) == 2)
    hall.come("pop3s")
    await hall.until(lambda: len(hall.staff.served) == 3)
    tickets = [ticket for ticket, *_ in hall.staff.served]
    hall.admission.authenticated(tickets[0])
    hall.farewell.plan = {name: service for name, service in hall.stage.plan.items() if name != "pop3s"}
    hall.farewell.tell_lost(tickets)
    lines = hall.log.lines(Event.SESSION_CLOSED)
    assert [line["session"] for line in lines] == [session for _, _, session, _ in hall.staff.served[:2]]
    assert [(line["level"], line["reason"], line["phase"]) for line in lines] == [
        ("error", "worker_lost", "relay"),
        ("error", "worker_lost", "admit"),
    ]
    assert [line["client_port"] for line in lines] == [ticket.peer.port for ticket in tickets[:2]]


async def test_a_session_of_smtp_that_a_worker_took_with_it_was_in_no_relay(make_hall: Maker) -> None:
    hall = make_hall()
    hall.come()
    await hall.until(lambda: bool(hall.staff.served))
    ticket, *_ = hall.staff.served[0]
    hall.admission.authenticated(ticket)
    service = hall.stage.plan[ticket.listener]
    hall.farewell.plan = {ticket.listener: SimpleNamespace(listener="smtp", protocol=SMTP, way=service.way)}
    hall.farewell.tell_lost([ticket])
    (line,) = hall.log.lines(Event.SESSION_CLOSED)
    assert (line["protocol"], line["reason"], line["phase"]) == ("smtp", "worker_lost", "mail")
