"""Workers as the supervisor looks after them, each a small program that behaves as it is told."""

import asyncio
import fcntl
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from typing import Any, Final

import pytest
from rig.admission import Admitted, admit
from rig.pki import Pki
from rig.planes import until
from rig.proxy import make_config
from rig.recorder import Recorder

from tlsproxy.admission.base import Caps, Ticket
from tlsproxy.admission.mail_rates import Allowance, MailCaps
from tlsproxy.admission.table import AdmissionTable
from tlsproxy.core.addresses import Peer
from tlsproxy.core.errors import BackendError, CrewError
from tlsproxy.core.events import Event
from tlsproxy.core.outcome import Reason
from tlsproxy.net.tls.certs import load_certificate
from tlsproxy.process.crew import crew as room
from tlsproxy.process.crew.crew import Crew
from tlsproxy.process.crew.equipment import Equipment
from tlsproxy.process.crew.hiring import hire
from tlsproxy.process.crew.identity import Identity
from tlsproxy.process.crew.member import Stage
from tlsproxy.process.line import words
from tlsproxy.process.line.supply import Supply

WITHIN_S: Final = 20.0
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
# Arguments: how to behave, words in hexadecimal digits, the descriptor. What it hears it writes to its log.
SCRIPT: Final = """
import os, signal, socket, sys
how, ready, pong, ping, said, fd = sys.argv[1:]
signal.signal(signal.SIGTERM, signal.SIG_IGN)
line = socket.socket(fileno=int(fd))
def hear():
    message, fds, _, _ = socket.recv_fds(line, 65536, 200)
    for each in fds:
        os.close(each)
    return message
if how == "dies":
    sys.exit(3)
log, (log_fd,), _, _ = socket.recv_fds(line, 65536, 1)
os.write(log_fd, b"%d heard %s\\n" % (os.getpid(), log[1:]))
if how != "never":
    line.send(bytes.fromhex(ready))
if how == "leaves":
    sys.exit(0)
if said:
    for message in said.split(","):
        line.send(bytes.fromhex(message))
while message := hear():
    os.write(log_fd, b"%d heard %d %s\\n" % (os.getpid(), message[0], message[1:] if message[0] > 15 else b"..."))
    if message == bytes.fromhex(ping):
        if how != "silent":
            line.send(bytes.fromhex(pong))
    elif message[0] in (23, 24, 25) and how != "stays":  # Retire, Drain, Stop
        sys.exit(0)
"""


def digits(*said: words.FromWorker) -> str:
    return ",".join(words.encode(word).hex() for word in said)


class KnownHealth:
    """Takes down what it is told."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down
        self.told: list[tuple[Any, ...]] = []

    def is_down(self) -> bool:
        return self.down

    def failed(self, client: bytes, error: BackendError) -> None:
        self.told.append((client, error.reason, error.detail))

    def worked(self, address: str) -> None:
        self.told.append((address,))


class Staff:
    """A crew, its table and its log."""

    def __init__(self, pki: Pki, log_fd: int) -> None:
        self.pki = pki
        self.log = Recorder()
        self.log_fd = log_fd
        self.table = AdmissionTable(OPEN)
        self.health = KnownHealth()
        self.lost: list[Ticket] = []
        self.rooms = 0
        words_of_life = [digits(words.Ready()), digits(words.Pong()), words.encode(words.Ping()).hex()]
        self.command = [sys.executable, "-I", "-S", "-c", SCRIPT, "ready", *words_of_life, ""]
        self.crew = Crew(self.table, self.log, self.command, on_room=self._room, on_lost=self._lost)

    def behave(self, how: str, *said: words.FromWorker) -> None:
        """How those behave who are started from now on."""
        self.command[5], self.command[-1] = how, digits(*said)

    async def start(self, count: int = 1) -> None:
        await self.crew.start(self.equipment(), count, None)

    def equipment(self, log_level: str = "info") -> Equipment:
        limits = {"message_rate": "2/1h", "allow": ["203.0.113.0/24"]}
        config = make_config(self.pki, "127.0.0.1:1", log={"level": log_level}, limits=limits)
        certificates = [load_certificate(files) for files in config.tls.certificates]
        backends = {"imap": 1, "pop3": 2}
        supply = Supply(config=config, certificates=certificates, authorities={}, backends=backends, passwords=None)
        return Equipment(supply=supply, health={1: self.health}, log_fd=lambda: self.log_fd)

    def enter(self, owner: int) -> Ticket:
        verdict = admit(self.table, Peer(IPv4Address("192.0.2.1"), 5), owner, 0.0)
        assert isinstance(verdict, Admitted)
        return verdict.ticket

    def heard(self) -> list[str]:
        """What all of them have heard."""
        return os.pread(self.log_fd, 100_000, 0).decode().splitlines()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            await until(is_so)

    async def ended(self, count: int = 1) -> list[dict[str, Any]]:
        await self.until(lambda: len(self.log.lines(Event.WORKER_ENDED)) >= count)
        return self.log.lines(Event.WORKER_ENDED)

    def _room(self) -> None:
        self.rooms += 1

    def _lost(self, tickets: Any) -> None:
        assert all(self.table.held(ticket.owner) for ticket in tickets), "they are released only then"
        self.lost += tickets


@pytest.fixture
async def staff(closing: Any, rig_pki: Pki, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Staff]:
    monkeypatch.setattr(room, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(room, "_LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(room, "_LEAVE_S", 10.0)
    log_fd = os.memfd_create("log")
    # The kernel does not keep two writers of a memory file from the same place, unless each write goes to its end.
    fcntl.fcntl(log_fd, fcntl.F_SETFL, os.O_APPEND)
    found = Staff(rig_pki, log_fd)
    yield found
    async with asyncio.timeout(WITHIN_S):
        await found.crew.stop()
    os.close(log_fd)
    if found.crew._supply_fd >= 0:
        os.close(found.crew._supply_fd)


async def test_start(staff: Staff) -> None:
    await staff.start(3)
    started = staff.log.lines(Event.WORKER_STARTED)
    assert [line["worker"] for line in sorted(started, key=lambda line: line["worker"])] == [1, 2, 3]
    assert {line["pid"] for line in started} == {member.pid for member in staff.crew.members}
    assert all(member.stage is Stage.SERVING for member in staff.crew.members)
    assert staff.rooms >= 3
    await staff.until(lambda: sum('heard 16 {"version":1}' in line for line in staff.heard()) == 3)
    await staff.crew.stop()
    ended = staff.log.lines(Event.WORKER_ENDED)
    assert [(line["level"], line["cause"], line["sessions"]) for line in ended] == [("info", "exit code 0", 0)] * 3


async def test_one_that_dies_at_once(staff: Staff) -> None:
    staff.behave("dies")
    with pytest.raises(CrewError, match="a worker ended before it could serve: exit code 3"):
        await staff.start(2)
    assert staff.crew.members == []
    assert not staff.log.lines(Event.WORKER_STARTED)


async def test_one_that_is_never_ready(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_START_S", 0.2)
    staff.behave("never")
    with pytest.raises(CrewError, match="a worker was not ready within 0 s"):
        await staff.start()
    assert staff.crew.members == []


async def test_program_that_is_missing(staff: Staff, caplog: pytest.LogCaptureFixture) -> None:
    staff.command[0] = "/nowhere/python"
    with pytest.raises(CrewError, match="no worker can be started"):
        await staff.start()


async def test_second_that_cannot_be_started(
    staff: Staff, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first is ended, and nothing is left unsaid or unheard."""
    results = iter([None, CrewError("no worker can be started: no memory")])

    def hire_one(command: Any, identity: Identity | None) -> Any:
        if (error := next(results)) is not None:
            raise error
        return hire(command, identity)

    monkeypatch.setattr(room, "hire", hire_one)
    with pytest.raises(CrewError, match="no memory"):
        await staff.start(2)
    assert staff.crew.members == []
    del staff.crew._started
    assert caplog.records == []


async def test_replaced(staff: Staff) -> None:
    """Who was served is told of before the tickets are given back; the next one has a number of its own."""
    await staff.start()
    (first,) = staff.crew.members
    tickets = [staff.enter(1), staff.enter(1)]
    other = staff.enter(9)
    os.kill(first.pid, signal.SIGSEGV)
    (ended,) = await staff.ended()
    assert (ended["level"], ended["worker"], ended["pid"], ended["sessions"]) == ("error", 1, first.pid, 2)
    assert ended["cause"] == "signal 11 (Segmentation fault)"
    assert staff.lost == tickets
    assert (staff.table.total_count, list(staff.table.held(9).values())) == (1, [other])
    await staff.until(lambda: len(staff.log.lines(Event.WORKER_STARTED)) == 2)
    assert [member.number for member in staff.crew.members] == [2]


@pytest.mark.parametrize("how", ["leaves", "dies"])
async def test_pause_grows(staff: Staff, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await staff.start()
    pauses: list[float] = []
    later = staff.crew._later

    def write_down(seconds: float, action: Callable[[], None]) -> None:
        if action == staff.crew._hire_again:
            pauses.append(round(seconds, 3))
        later(seconds, action)

    monkeypatch.setattr(staff.crew, "_later", write_down)
    staff.behave(how)
    os.kill(staff.crew.members[0].pid, signal.SIGKILL)
    ended = await staff.ended(5)
    assert pauses[:5] == [0.02, 0.04, 0.05, 0.05, 0.05], "bounded"
    cause = "exit code 0" if how == "leaves" else "exit code 3"
    assert {(line["level"], line["cause"]) for line in ended[1:]} == {("error", cause)}, "nobody asked it to leave"


async def test_pause_begins_anew_after_one_that_lived(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_HEALTHY_S", 0.0)
    await staff.start()
    staff.crew._quick_deaths = 7
    os.kill(staff.crew.members[0].pid, signal.SIGKILL)
    await staff.ended()
    assert staff.crew._quick_deaths == 0


async def test_program_that_is_missing_later(staff: Staff) -> None:
    await staff.start()
    python = staff.command[0]
    staff.command[0] = "/nowhere/python"
    os.kill(staff.crew.members[0].pid, signal.SIGKILL)
    ended = await staff.ended(3)
    assert (ended[1]["worker"], ended[1]["pid"], ended[1]["level"]) == (2, None, "error")
    assert "no worker can be started" in ended[1]["cause"]
    staff.command[0] = python
    await staff.until(lambda: bool(staff.crew.members) and staff.crew.members[0].stage is Stage.SERVING)
    assert staff.crew.members[0].number == 2


async def test_nobody_is_hired_once_it_ends(staff: Staff) -> None:
    await staff.start()
    await staff.crew.stop()
    staff.crew._hire_again()
    assert staff.crew.members == []


async def test_one_that_is_stuck(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_LOOK_PERIOD_S", 0.05)
    staff.behave("silent")
    await staff.start()
    staff.behave("ready")
    monkeypatch.setattr(room, "_STUCK_S", 0.1)
    (ended,) = await staff.ended()
    (stuck,) = staff.log.lines(Event.WORKER_STUCK)
    assert (stuck["level"], stuck["worker"], stuck["pid"]) == ("error", 1, ended["pid"])
    assert ended["cause"] == "signal 9 (Killed)"
    monkeypatch.undo()


async def test_one_that_answers_lives_on(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_LOOK_PERIOD_S", 0.01)
    await staff.start()
    await staff.until(lambda: sum("heard 22 {}" in line for line in staff.heard()) >= 5)
    assert staff.log.lines(Event.WORKER_ENDED) == []


async def test_one_that_talks_nonsense(staff: Staff) -> None:
    staff.behave("ready", words.Stop())  # type: ignore[arg-type] # that is the nonsense
    await staff.start()
    staff.behave("ready")
    (ended,) = await staff.ended()
    assert ended["cause"] == "signal 9 (Killed)"


@pytest.mark.parametrize("client", ["no digits", "c0000201"])
async def test_failure_of_no_known_reason_is_nonsense(staff: Staff, client: str) -> None:
    staff.behave("ready", words.Failed(backend=1, client=client, reason="bad mood", detail=""))
    await staff.start()
    staff.behave("ready")
    (ended,) = await staff.ended()
    assert ended["cause"] == "signal 9 (Killed)"
    assert staff.health.told == []


async def test_tickets(staff: Staff) -> None:
    """A worker speaks of its own tickets alone, as often as it likes."""
    mine, also_mine, not_mine = staff.enter(1), staff.enter(1), staff.enter(9)
    numbers = [mine.id, mine.id, not_mine.id, 12345]
    staff.behave(
        "ready",
        words.Authenticated(tickets=[also_mine.id, not_mine.id]),
        words.Released(tickets=numbers),
        words.Released(tickets=numbers),
    )
    await staff.start()
    await staff.until(lambda: staff.table.total_count == 2)
    assert list(staff.table.held(1).values()) == [also_mine]
    assert staff.table.is_authenticated(also_mine)
    assert not staff.table.is_authenticated(not_mine)


async def test_limits_on_mail(staff: Staff) -> None:
    assert staff.equipment().mail_caps == MailCaps(
        messages=Allowance(count=2, period_s=3600.0), recipients=None, allow=(ip_network("203.0.113.0/24"),)
    )


async def test_mail_is_counted_over_all_workers(staff: Staff) -> None:
    """By the client that has the ticket; of a ticket that the worker does not have nothing is counted."""
    mine, other = staff.enter(1), staff.enter(2)
    asks = [words.Spend(question=number, ticket=mine.id, messages=1, recipients=5) for number in (1, 2)]
    staff.behave("ready", words.Spend(question=7, ticket=other.id, messages=1, recipients=0), asks[0])
    await staff.start()
    await staff.until(lambda: sum("heard 31" in line for line in staff.heard()) == 2)
    staff.behave(
        "ready",
        words.Spend(question=3, ticket=other.id, messages=2, recipients=0),
        replace(asks[0], ticket=other.id),
        replace(asks[1], ticket=other.id),
    )
    staff.crew._hire()
    await staff.until(lambda: sum("heard 31" in line for line in staff.heard()) == 5)
    said = [line.partition("heard 31 ")[2] for line in staff.heard() if "heard 31" in line]
    assert said == [
        '{"question":7,"limit":""}',
        '{"question":1,"limit":""}',
        '{"question":3,"limit":"2 per 3600 s"}',
        '{"question":1,"limit":""}',
        '{"question":2,"limit":"2 per 3600 s"}',
    ]


@pytest.mark.parametrize(("messages", "recipients"), [(-1, 0), (0, -1)])
async def test_mail_cannot_be_given_back(staff: Staff, messages: int, recipients: int) -> None:
    ticket = staff.enter(1)
    staff.behave("ready", words.Spend(question=1, ticket=ticket.id, messages=messages, recipients=recipients))
    await staff.start()
    staff.behave("ready")
    (ended,) = await staff.ended()
    assert ended["cause"] == "signal 9 (Killed)"


async def test_backends(staff: Staff) -> None:
    staff.behave(
        "ready",
        words.Failed(backend=1, client="c0000201", reason="backend_down", detail="refused"),
        words.Failed(backend=77, client="c0000201", reason="backend_down", detail="it is served no longer"),
        words.Worked(backend=1, address="127.0.0.1:1143"),
        words.Ready(),
    )
    await staff.start()
    await staff.until(lambda: len(staff.health.told) == 2)
    assert staff.health.told == [
        (b"\xc0\x00\x02\x01", Reason.BACKEND_DOWN, "refused"),
        ("127.0.0.1:1143",),
    ]
    assert len(staff.log.lines(Event.WORKER_STARTED)) == 1, "it is ready once"


async def test_newcomer_knows_what_is_down(staff: Staff) -> None:
    staff.health.down = True
    await staff.start()
    said = 'heard 20 {"backend":1,"is_suspect":true,"is_down":true}'
    await staff.until(lambda: any(said in line for line in staff.heard()))


async def test_told_of_backends(staff: Staff) -> None:
    await staff.start(2)
    staff.crew.tell_health(1, is_suspect=True, is_down=False)
    staff.crew.knock(2)
    staff.crew.probe(3)
    said = 'heard 20 {"backend":1,"is_suspect":true,"is_down":false}'
    await staff.until(lambda: sum(said in line for line in staff.heard()) == 2)
    await staff.until(lambda: sum('heard 21 {"backend":2}' in line for line in staff.heard()) == 1)
    await staff.until(lambda: sum('heard 32 {"backend":3}' in line for line in staff.heard()) == 1)
    for member in staff.crew.members:
        member.stage = Stage.LEAVING
    staff.crew.knock(2)
    staff.crew.probe(3)


async def test_change(staff: Staff) -> None:
    await staff.start(2)
    staff.crew.members[0].stage = Stage.LEAVING
    staff.crew.prepare(staff.equipment("error"))
    staff.crew.prepare(staff.equipment("debug"))
    await asyncio.sleep(0.01)
    assert not any("debug" in line for line in staff.heard()), "only prepared"
    staff.crew.change()
    await staff.until(lambda: sum('"debug"' in line for line in staff.heard()) == 2)
    await staff.until(lambda: sum('heard 16 {"version":1}' in line for line in staff.heard()) == 3)
    with pytest.raises(RuntimeError, match="nothing was prepared"):
        staff.crew.change()


class Stuck:
    """A worker that does not read, and a connection that it was given and not sent."""

    def __init__(self, staff: Staff) -> None:
        self.staff = staff
        self.member = staff.crew.members[0]
        os.kill(self.member.pid, signal.SIGSTOP)
        while self.member.channel.is_clear:
            self.member.say(words.Evict(ticket=1, limit="x" * 4000))
        ours, self.client = socket.socketpair()
        self.ticket = staff.enter(self.member.number)
        staff.crew.dispatch.serve(self.ticket, self.ticket.peer.client, 0, bytes(6), ours.detach())
        staff.crew.dispatch.flush()

    async def die(self) -> None:
        self.member.kill()
        await self.staff.ended()

    def is_lost(self) -> bool:
        with self.client:
            return self.client.recv(1) == b"" and not self.staff.table.total_count


async def test_connections_that_were_not_sent_find_another(staff: Staff) -> None:
    await staff.start(2)
    stuck, second = Stuck(staff), staff.crew.members[1]
    with stuck.client:
        await stuck.die()
        assert staff.lost == []
        assert [held.id for held in staff.table.held(second.number).values()] == [stuck.ticket.id]
        await staff.until(lambda: any(line.startswith(f"{second.pid} heard 3 ...") for line in staff.heard()))


async def test_connections_that_find_nobody_are_lost(staff: Staff) -> None:
    await staff.start()
    stuck = Stuck(staff)
    await stuck.die()
    assert staff.lost == [stuck.ticket]
    assert stuck.is_lost()


async def test_connections_of_a_listener_that_is_gone_are_lost(staff: Staff) -> None:
    """It may have been taken away while they waited; whichever has its number now is another."""
    await staff.start(2)
    stuck = Stuck(staff)
    equipment = staff.equipment()
    kept = [listener for listener in equipment.supply.config.listener if listener.name != "imaps"]
    config = equipment.supply.config.model_copy(update={"listener": tuple(kept)})
    staff.crew._equipment = replace(equipment, supply=replace(equipment.supply, config=config))
    await stuck.die()
    assert stuck.is_lost()


async def test_connections_that_the_dead_one_gave_back_are_lost(staff: Staff) -> None:
    await staff.start(2)
    stuck = Stuck(staff)
    staff.table.release(stuck.ticket)
    await stuck.die()
    assert staff.lost == []
    assert stuck.is_lost()


async def test_drain(staff: Staff) -> None:
    await staff.start(2)
    async with asyncio.timeout(WITHIN_S):
        await staff.crew.drain(7.0)
    assert sum('{"window_s":7.0}' in line for line in staff.heard()) == 2
    assert {line["level"] for line in staff.log.lines(Event.WORKER_ENDED)} == {"info"}


async def test_one_that_does_not_leave_is_ended(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_LOOK_PERIOD_S", 0.02)
    staff.behave("stays")
    await staff.start()
    monkeypatch.setattr(room, "_LEAVE_S", 0.1)
    async with asyncio.timeout(WITHIN_S):
        await staff.crew.drain(0.1)
    (ended,) = staff.log.lines(Event.WORKER_ENDED)
    assert (ended["level"], ended["cause"]) == ("error", "signal 9 (Killed)")


async def test_one_that_only_starts_is_ended_when_all_leave(staff: Staff) -> None:
    await staff.start()
    staff.behave("never")
    os.kill(staff.crew.members[0].pid, signal.SIGKILL)
    await staff.until(lambda: [member.number for member in staff.crew.members] == [2])
    async with asyncio.timeout(WITHIN_S):
        await staff.crew.drain(3600.0)


async def test_adopted(staff: Staff) -> None:
    process, line = hire(staff.command, None)
    memory = os.open("/dev/null", os.O_WRONLY)
    socket.send_fds(line, [words.encode(words.LogTo(format="json", file="", level="info"))], [memory])
    os.close(memory)
    ticket = staff.enter(5)
    staff.crew.adopt(5, process, line, words.Retire(grace_s=3.0, window_s=2.0))
    starting = asyncio.create_task(staff.start())
    (ended,) = await staff.ended()
    await starting  # it did not fail for the end of one that was told to go
    assert (ended["worker"], ended["level"], ended["cause"], ended["sessions"]) == (5, "info", "exit code 0", 1)
    assert staff.lost == [ticket]
    await asyncio.sleep(0.05)
    assert [member.number for member in staff.crew.members] == [6], "it is not replaced"


async def test_cleared(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_CLEAR_S", 0.05)
    await staff.start()
    (member,) = staff.crew.members
    await staff.crew.cleared()
    os.kill(member.pid, signal.SIGSTOP)
    while member.channel.is_clear:
        member.say(words.Evict(ticket=1, limit="x" * 4000))
    async with asyncio.timeout(WITHIN_S):
        await staff.crew.cleared()
    member.kill()
