"""A worker at the end of its line: what it does as it hears it, and how it leaves."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from rig.peers import Peer as Caller
from rig.pki import Pki
from rig.planes import on_both_planes, until
from rig.proxy import make_config
from rig.recorder import Recorder

from tlsproxy.admission.base import Ticket
from tlsproxy.config.model import LogConfig
from tlsproxy.core.addresses import Peer, peer_from
from tlsproxy.core.errors import CrewError
from tlsproxy.core.events import Event
from tlsproxy.core.outcome import Reason
from tlsproxy.net.plane import Plane
from tlsproxy.net.tls.certs import load_certificate
from tlsproxy.process.line import words
from tlsproxy.process.line.channel import Channel, make_pair
from tlsproxy.process.line.supply import Supply
from tlsproxy.process.signals import SIGNALS
from tlsproxy.process.worker import workplace as room
from tlsproxy.process.worker.workplace import Workplace, work

LISTENERS: Final = ("imaps", "imap", "pop3s", "pop3")
IMAP: Final = 1
PEER: Final = peer_from("192.0.2.1", 1)
SESSION: Final = "0a0b0c0d0e0f"


class KnownLogs:
    """A log whose settings are only taken down."""

    def __init__(self) -> None:
        self.logger = Recorder()
        self.fd = -1
        self.changes: list[tuple[LogConfig, int]] = []
        self.is_stopped = False

    def change(self, settings: LogConfig, fd: int | None = None) -> None:
        assert fd is not None
        self.changes.append((settings, fd))
        os.close(fd)

    def flush(self) -> bool:
        return True

    def stop(self) -> bool:
        self.is_stopped = True
        return True


def supply_of(pki: Pki, address: str = "127.0.0.1:1", numbers: Sequence[int] = (1, 2), **sections: Any) -> Supply:
    config = make_config(pki, address, **sections)
    certificates = [load_certificate(files) for files in config.tls.certificates]
    return Supply(
        config=config,
        certificates=certificates,
        authorities={},
        backends=dict(zip(("imap", "pop3"), numbers, strict=True)),
        passwords=None,
    )


def ticket_of(number: int, peer: Peer = PEER, listener: int = IMAP) -> Ticket:
    return Ticket(id=number, peer=peer, listener=LISTENERS[listener], owner=1, is_exempt=False, is_stressed=False)


class Office:
    """A workplace in a task, and the supervisor's end of its line."""

    def __init__(self, plane: Plane, supply: Supply) -> None:
        ours, theirs = make_pair()
        self.logs = KnownLogs()
        self.log = self.logs.logger
        self.heard: list[words.ToWorker | words.FromWorker] = []
        self.supervisor = Channel(ours, self._heard, lambda: None)
        self.place = Workplace(theirs, plane, self.logs)
        self.task = asyncio.create_task(self.place.serve(supply))
        self.callers: list[Caller] = []

    def say(self, word: words.ToWorker, *fds: int) -> None:
        self.supervisor.send(words.encode(word), fds)

    async def until_heard(self, word: words.FromWorker) -> None:
        await until(lambda: word in self.heard)

    async def ready(self) -> None:
        await self.until_heard(words.Ready())

    async def asked(self) -> None:
        """All that was said has been done."""
        count = self.heard.count(words.Pong())
        self.say(words.Ping())
        await until(lambda: self.heard.count(words.Pong()) > count)

    def connect(self) -> tuple[Caller, int, Peer]:
        """A client, and the proxy's side of its connection."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sock = socket.create_connection(listener.getsockname())
            accepted, address = listener.accept()
        self.callers.append(Caller(sock))
        sock.settimeout(0)
        return self.callers[-1], accepted.detach(), peer_from(*address)

    def arrival(self, number: int, peer: Peer, listener: int = IMAP) -> bytes:
        ticket = ticket_of(number, peer, listener)
        return words.entry(ticket, peer.ip.packed, listener, bytes.fromhex(SESSION))

    async def enter(self, number: int, listener: int = IMAP) -> Caller:
        """A client that is let in and greeted."""
        caller, fd, peer = self.connect()
        self.say(words.Serve(entries=self.arrival(number, peer, listener)), fd)
        assert (await self.line(caller)).startswith((b"* OK", b"+OK"))
        return caller

    async def line(self, caller: Caller) -> bytes:
        heard = b""
        while not heard.endswith(b"\n"):
            data = await asyncio.get_running_loop().sock_recv(caller.sock, 1)
            if not data:
                break
            heard += data
        return heard

    async def leave(self) -> None:
        self.say(words.Stop())
        await self.task

    def close(self) -> None:
        self.supervisor.close()
        for caller in self.callers:
            caller.close()

    def _heard(self, message: bytes, fds: list[int]) -> None:
        assert fds == []
        self.heard.append(words.decode(message))


@contextmanager
def closed(office: Office) -> Iterator[Office]:
    yield office
    office.close()


@pytest.fixture
def begin(closing: Any, rig_pki: Pki) -> Any:
    def start(plane: Plane, supply: Supply | None = None) -> Office:
        office: Office = closing(closed(Office(plane, supply or supply_of(rig_pki))))
        return office

    return start


@on_both_planes
async def test_serves_and_reports(plane: Plane, begin: Any) -> None:
    office = begin(plane)
    await office.ready()
    entries, fds, callers = b"", [], []
    for number in (7, 8):
        caller, fd, peer = office.connect()
        entries += office.arrival(number, peer, listener=2 * number - 13)  # imap, pop3
        fds.append(fd)
        callers.append(caller)
    office.say(words.Serve(entries=entries), *fds)
    assert (await office.line(callers[0])).startswith(b"* OK")
    assert (await office.line(callers[1])).startswith(b"+OK")
    for caller in callers:
        caller.close()
    await until(lambda: len(office.log.lines(Event.SESSION_CLOSED)) == 2)
    assert {line["session"] for line in office.log.lines(Event.SESSION_CLOSED)} == {SESSION}
    await until(lambda: sum(len(word.tickets) for word in office.heard if isinstance(word, words.Released)) == 2)
    await office.leave()


@on_both_planes
async def test_connection_whose_descriptor_found_no_room(plane: Plane, begin: Any) -> None:
    """The kernel has closed it; its ticket is given back, and the others are served."""
    office = begin(plane)
    caller, fd, peer = office.connect()
    office.say(words.Serve(entries=office.arrival(7, peer) + office.arrival(8, peer)), fd)
    assert (await office.line(caller)).startswith(b"* OK")
    await office.until_heard(words.Released(tickets=(8,)))
    await office.leave()


@on_both_planes
async def test_session_that_cannot_begin(plane: Plane, begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug costs one connection, and not the others of the message."""
    office = begin(plane)
    await office.ready()
    real, bugs = office.place._worker.serve, iter([RuntimeError("a bug")])

    def serve(*args: Any) -> None:
        if error := next(bugs, None):
            raise error
        real(*args)

    monkeypatch.setattr(office.place._worker, "serve", serve)
    (first, first_fd, peer), (second, second_fd, _) = office.connect(), office.connect()
    office.say(words.Serve(entries=office.arrival(7, peer) + office.arrival(8, peer)), first_fd, second_fd)
    assert (await office.line(second)).startswith(b"* OK")
    assert await office.line(first) == b""
    await office.until_heard(words.Released(tickets=(7,)))
    (broken,) = office.log.lines(Event.WORKER_BROKEN)
    assert (broken["level"], str(broken["exc_info"])) == ("error", "a bug")
    await office.leave()


@on_both_planes
async def test_refused_one_is_told(plane: Plane, begin: Any) -> None:
    office = begin(plane)
    caller, fd, peer = office.connect()
    word = words.Tell(
        listener=0, ip=str(peer.ip), port=peer.port, reason=Reason.ADDRESS_FULL, limit="3", session=SESSION
    )
    office.say(word, fd)
    office.say(word)
    caller.close()
    await until(lambda: bool(office.log.lines(Event.SESSION_CLOSED)))
    (closed,) = office.log.lines(Event.SESSION_CLOSED)
    assert (closed["listener"], closed["session"]) == ("imaps", SESSION)
    await office.leave()
    assert not any(isinstance(word, words.Released) for word in office.heard), "it has no ticket"


@on_both_planes
async def test_evicted(plane: Plane, begin: Any) -> None:
    office = begin(plane)
    caller = await office.enter(7)
    office.say(words.Evict(ticket=6, limit="512"))
    office.say(words.Evict(ticket=7, limit="512"))
    assert b"512" in await office.line(caller)
    await office.until_heard(words.Released(tickets=(7,)))
    await office.leave()


@on_both_planes
async def test_mail_is_counted_by_the_supervisor(plane: Plane, begin: Any, rig_pki: Pki) -> None:
    office = begin(plane, supply_of(rig_pki, limits={"message_rate": "5/1m"}))
    await office.ready()
    rates, ticket = office.place._rates, ticket_of(7)
    asking = asyncio.create_task(rates.spend(ticket, 1, 0))
    await office.until_heard(words.Spend(question=1, ticket=7, messages=1, recipients=0))
    office.say(words.Spent(question=1, limit="5 per 60 s"))
    assert await asking == "5 per 60 s"
    fd = supply_of(rig_pki).write()
    office.say(words.Supplied(), fd)
    await office.asked()
    assert await rates.spend(ticket, 1, 0) is None, "it is limited no more"
    fd = supply_of(rig_pki, limits={"recipient_rate": "5/1m"}).write()
    office.say(words.Supplied(), fd)
    await office.asked()
    asking = asyncio.create_task(rates.spend(ticket, 0, 1))
    await office.until_heard(words.Spend(question=2, ticket=7, messages=0, recipients=1))
    office.supervisor.close()
    assert await asking is None, "nobody is left to ask"
    await office.task


@on_both_planes
async def test_backends(plane: Plane, begin: Any, closing: Any, rig_pki: Pki) -> None:
    backend = closing(socket.create_server(("127.0.0.1", 0)))
    address = f"127.0.0.1:{backend.getsockname()[1]}"
    office = begin(plane, supply_of(rig_pki, address))
    await office.ready()
    way = office.place._worker.plan["imap"].way
    office.say(words.Health(backend=77, is_suspect=True, is_down=True))
    office.say(words.Health(backend=2, is_suspect=True, is_down=True))
    await office.asked()
    assert not way.is_down(), "the other one is"
    office.say(words.Health(backend=1, is_suspect=True, is_down=True))
    await office.asked()
    assert way.is_down()
    office.say(words.Knock(backend=1))
    await office.until_heard(words.Worked(backend=1, address=address))
    office.say(words.Health(backend=1, is_suspect=False, is_down=False))
    office.say(words.Knock(backend=77))
    office.say(words.Probe(backend=1))  # which is for SMTP alone
    await office.asked()
    assert not way.is_down()
    await until(lambda: not office.place._errands)
    await office.leave()


@on_both_planes
async def test_leaves_though_it_is_on_an_errand(plane: Plane, begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    office = begin(plane)
    await office.ready()

    async def knock(_: Plane) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(office.place._worker.plan["imap"].way, "knock", knock)
    office.say(words.Knock(backend=1))
    await office.asked()
    knocks = list(office.place._errands)
    await office.leave()
    await asyncio.wait(knocks)
    assert all(task.cancelled() for task in knocks)


@on_both_planes
async def test_change(plane: Plane, begin: Any, rig_pki: Pki) -> None:
    """New sessions get new numbers, old ones keep theirs; a backend that is the same keeps its health."""
    office = begin(plane)
    await office.ready()
    old = office.place._worker.plan
    office.say(words.Health(backend=1, is_suspect=True, is_down=True))
    office.say(words.Supplied(), supply_of(rig_pki, numbers=(1, 9), limits={"bad_commands": 9}).write())
    await office.asked()
    new = office.place._worker.plan
    assert (old["imap"].limits.bad_commands, new["imap"].limits.bad_commands) == (3, 9)
    assert new["imap"].way is old["imap"].way
    assert new["imap"].way.is_down()
    assert new["pop3"].way is not old["pop3"].way
    assert new["imap"].server_tls is old["imap"].server_tls, "a reload ends nobody's resumption"
    assert set(office.place._health) == {1, 9}
    await office.leave()


@on_both_planes
async def test_change_that_does_not_arrive_whole(plane: Plane, begin: Any) -> None:
    """Listeners are known by their numbers: who serves by the wrong ones must serve nobody."""
    office = begin(plane)
    await office.ready()
    office.say(words.Supplied())
    await office.task
    (broken,) = office.log.lines(Event.WORKER_BROKEN)
    assert broken["level"] == "error"


@on_both_planes
async def test_log(plane: Plane, begin: Any) -> None:
    office = begin(plane)
    office.say(words.LogTo(format="console", file="/x", level="debug"), os.open("/dev/null", os.O_WRONLY))
    await office.asked()
    ((settings, _),) = office.logs.changes
    assert (settings.format, settings.file, settings.level) == ("console", "/x", "debug")
    await office.leave()


@on_both_planes
async def test_word_that_is_not_for_a_worker(plane: Plane, begin: Any) -> None:
    office = begin(plane)
    office.say(words.Ready())  # type: ignore[arg-type] # that is the point
    await office.asked()
    await office.leave()


@on_both_planes
async def test_retired_one_leaves_with_its_last_session(plane: Plane, begin: Any) -> None:
    office = begin(plane)
    caller = await office.enter(7)
    office.say(words.Retire(grace_s=60.0, window_s=60.0))
    await office.asked()
    assert not office.task.done()
    caller.close()
    await office.task
    assert words.Released(tickets=(7,)) in await rest_of(office)


@on_both_planes
async def test_retired_one_does_not_stay_for_ever(plane: Plane, begin: Any) -> None:
    office = begin(plane)
    caller = await office.enter(7)
    office.say(words.Retire(grace_s=0.02, window_s=0.02))
    assert b"restarting" in await office.line(caller)
    caller.close()
    await office.task


@on_both_planes
async def test_retired_one_without_sessions(plane: Plane, begin: Any) -> None:
    office = begin(plane)
    office.say(words.Retire(grace_s=60.0, window_s=60.0))
    await office.task


@on_both_planes
async def test_graver_order_takes_the_place_of_one_under_way(plane: Plane, begin: Any) -> None:
    office = begin(plane)
    first, second = await office.enter(7), await office.enter(8)
    office.say(words.Retire(grace_s=60.0, window_s=60.0))
    office.say(words.Retire(grace_s=0.0, window_s=0.0))
    await office.asked()
    assert not office.task.done(), "no graver than before"
    office.say(words.Drain(window_s=60.0))
    assert b"restarting" in await office.line(first)
    office.say(words.Retire(grace_s=0.0, window_s=0.0))
    office.say(words.Drain(window_s=0.0))
    await office.asked()
    assert not office.task.done()
    office.say(words.Stop())
    await office.task
    assert await office.line(second) == b"", "no goodbyes"
    assert [line["reason"] for line in office.log.lines(Event.SESSION_CLOSED)] == ["shutdown"] * 2


@on_both_planes
async def test_left_alone(plane: Plane, begin: Any, rig_pki: Pki) -> None:
    """Who is inside leaves in good order when the supervisor is gone."""
    office = begin(plane, supply_of(rig_pki, timeouts={"drain": 0.05}))
    caller = await office.enter(7)
    office.supervisor.close()
    assert b"restarting" in await office.line(caller)
    caller.close()
    await office.task


async def rest_of(office: Office) -> list[Any]:
    office.supervisor.read_rest()
    return office.heard


# The process.


class Hired:
    """``work`` in this process: what it is told first, and how it ends."""

    def __init__(self) -> None:
        self.ours, theirs = make_pair()
        self.fd = theirs.detach()
        self.logs = KnownLogs()
        self.started: list[tuple[LogConfig, int | None]] = []

    def start_logs(self, settings: LogConfig, fd: int | None = None) -> KnownLogs:
        self.started.append((settings, fd))
        if fd is not None:
            os.close(fd)
        return self.logs

    def say(self, message: bytes, *fds: int) -> None:
        socket.send_fds(self.ours, [message], fds)
        for fd in fds:
            os.close(fd)

    def greet(self, supply: Supply) -> None:
        self.say(words.encode(words.LogTo(format="json", file="", level="info")), os.open("/dev/null", os.O_WRONLY))
        self.say(words.encode(words.Supplied()), supply.write())

    def work(self) -> int:
        return work(self.fd, self.start_logs)


@contextmanager
def hired() -> Iterator[Hired]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    found = Hired()
    yield found
    found.ours.close()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("loop", ["selector", "uvloop"])
def test_work(closing: Any, rig_pki: Pki, loop: str) -> None:
    one = closing(hired())
    one.greet(supply_of(rig_pki, server={"loop": loop}))
    one.say(words.encode(words.Stop()))
    assert one.work() == 0
    assert words.decode(one.ours.recv(100)) == words.Ready()
    assert one.logs.is_stopped
    ((settings, _),) = one.started
    assert settings.level == "info"
    assert all(signal.getsignal(number) is signal.SIG_IGN for number in SIGNALS)


def descriptors() -> set[int]:
    return {int(fd.name) for fd in Path("/proc/self/fd").iterdir()}


def says(*messages: tuple[bytes, int]) -> Callable[[Hired], None]:
    def say(one: Hired) -> None:
        for message, count in messages:
            one.say(message, *(os.open("/dev/null", os.O_WRONLY) for _ in range(count)))

    return say


LOG_TO: Final = words.encode(words.LogTo(format="json", file="", level="info"))
SUPPLIED: Final = words.encode(words.Supplied())


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (lambda one: one.ours.close(), "no word from the supervisor"),
        (says((b"\x07", 0)), "no word from the supervisor"),
        (says((LOG_TO, 0), (SUPPLIED, 1)), "no word from the supervisor"),
        (says((LOG_TO, 1), (SUPPLIED, 0)), "no word from the supervisor"),
        (says((LOG_TO, 1), (SUPPLIED, 1)), "no word from the supervisor"),
        (says((words.encode(words.LogTo(format="?", file="", level="")), 1), (SUPPLIED, 1)), "no word from the sup"),
        (says((LOG_TO, 1), (words.encode(words.Supplied(version=99)), 1)), "is not of the version that runs"),
        (says((words.encode(words.Ping()), 0), (SUPPLIED, 1)), "is not of the version that runs"),
    ],
)
def test_supervisor_that_is_not_understood(rig_pki: Pki, say: Callable[[Hired], None], why: str) -> None:
    before = descriptors()
    with hired() as one:
        say(one)
        with pytest.raises(CrewError, match=why):
            one.work()
    for left in descriptors() - before:
        os.close(left)  # the process would end now


def test_supervisor_that_says_nothing(closing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_FIRST_WORD_S", 0.05)
    one = closing(hired())
    with pytest.raises(CrewError, match="timed out"):
        one.work()
