"""All workers as the supervisor sees them: started, equipped, looked after, replaced and ended."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from socket import socket
from typing import Final

from tlsproxy.admission.base import Admission, Ticket
from tlsproxy.admission.mail_rates import MailCaps, MailRates
from tlsproxy.core.errors import CrewError
from tlsproxy.core.events import Event
from tlsproxy.core.log import Log
from tlsproxy.process.crew.dispatch import Dispatcher
from tlsproxy.process.crew.equipment import Equipment
from tlsproxy.process.crew.hearing import hear, spend
from tlsproxy.process.crew.hiring import Process, hire
from tlsproxy.process.crew.identity import Identity
from tlsproxy.process.crew.member import Member, Stage
from tlsproxy.process.line import words

_START_S: Final = 30.0
_LOOK_PERIOD_S: Final = 1.0
# Nothing that a worker does takes a tenth of this; what does is a fault, and its clients wait for nothing.
_STUCK_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 30.0
_DOUBLINGS: Final = 16
_HEALTHY_S: Final = 60.0  # a worker that lived for so long did not die of what ended the one before
_CLEAR_S: Final = 1.0
_LEAVE_S: Final = 5.0  # beyond what workers were told to take; their last words take some of it


class Crew:
    """The workers."""

    def __init__(
        self,
        admission: Admission,
        log: Log,
        command: Sequence[str],
        *,
        most_each: int = sys.maxsize,
        on_room: Callable[[], None],
        on_lost: Callable[[Sequence[Ticket]], None],
    ) -> None:
        """Have no worker yet.

        Args:
            admission: Who holds which ticket.
            log: The log.
            command: How a worker is started.
            most_each: How many connections a worker's descriptors carry.
            on_room: Called when there may be room again for a connection.
            on_lost: Called with the tickets that a dead worker held, just before they are released.
        """
        self._admission = admission
        self._log = log
        self._command = command
        self._on_room = on_room
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._members: dict[int, Member] = {}
        self.dispatch = Dispatcher(admission, self._members, most_each)
        self._next_number = 1
        self._quick_deaths = 0
        self._timers: set[asyncio.TimerHandle] = set()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._gone = asyncio.Event()
        self._is_closing = False
        self._is_successor = False
        self._mail_rates = MailRates(MailCaps())
        self._count = 0
        self._identity: Identity | None = None
        self._prepared: tuple[Equipment, int] | None = None
        self._equipment: Equipment
        self._supply_fd = -1

    @property
    def members(self) -> Sequence[Member]:
        """Those who are there, in order of their numbers."""
        return list(self._members.values())

    # Beginning and changing.

    async def start(self, equipment: Equipment, count: int, identity: Identity | None) -> None:
        """Start the workers and wait until all can serve.

        Raises:
            CrewError: One cannot be started, or does not get so far; those that did are ended.
        """
        self._count, self._identity = count, identity
        self.prepare(equipment)
        self._take_prepared()
        self._later(_LOOK_PERIOD_S, self._look_after)
        try:
            for _ in range(count):
                self._hire()
            async with asyncio.timeout(_START_S):
                await self._started
        except (CrewError, TimeoutError) as error:
            self._started.cancel()  # nobody waits for it any more
            await self.stop()
            raise CrewError(str(error) or f"a worker was not ready within {_START_S:.0f} s") from None

    def prepare(self, equipment: Equipment) -> None:
        """Get all that can fail over with, before ``change``.

        Raises:
            OSError: There is no descriptor or no memory for it; nothing has changed.
        """
        fd = equipment.supply.write()
        if self._prepared is not None:
            os.close(self._prepared[1])
        self._prepared = equipment, fd

    def change(self) -> None:
        """Have everybody who comes from now on served by what was prepared."""
        self._take_prepared()
        for member in self._members.values():
            self._equipment.tell_log(member)
            if member.stage is not Stage.LEAVING:
                self._tell_supply(member)

    def adopt(self, number: int, process: Process, sock: socket, word: words.Retire) -> None:
        """Take over a worker of the program that this process was before: it serves whom it has, and leaves."""
        self._is_successor = True  # with sessions to lose: a worker that dies at the start is no reason to give up
        self._next_number = max(self._next_number, number + 1)
        self._enrol(number, process, sock).leave(word, word.grace_s + word.window_s + _LEAVE_S)

    async def cleared(self) -> None:
        """Wait until all that was said has been heard or is on its way, but not for one that is stuck."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLEAR_S):
                for member in self.members:
                    await member.channel.cleared()

    def tell_health(self, number: int, *, is_suspect: bool, is_down: bool) -> None:
        """Let all workers know how a backend is."""
        for member in self._serving():
            member.say(words.Health(backend=number, is_suspect=is_suspect, is_down=is_down))

    def knock(self, number: int) -> None:
        """Have one worker try whether a backend is back."""
        for member in self._serving()[:1]:
            member.say(words.Knock(backend=number))

    def probe(self, number: int) -> None:
        """Have one worker try whether a backend is an open relay."""
        for member in self._serving()[:1]:
            member.say(words.Probe(backend=number))

    # Ending.

    async def drain(self, window_s: float) -> None:
        """Have all sessions ended with goodbyes over the window; whoever takes longer is ended."""
        await self._leave(words.Drain(window_s=window_s), window_s + _LEAVE_S)

    async def stop(self) -> None:
        """End all workers now."""
        await self._leave(words.Stop(), _LEAVE_S)

    async def _leave(self, word: words.Drain | words.Stop, within_s: float) -> None:
        self._is_closing = True
        for member in self.members:
            if member.stage is Stage.STARTING:
                member.kill()  # it has nobody to say goodbye to
            member.leave(word, within_s)
        while self._members:
            self._gone.clear()
            await self._gone.wait()
        for timer in self._timers:
            timer.cancel()

    # The life of a worker.

    def _hire(self) -> None:
        process, sock = hire(self._command, self._identity)
        member = self._enrol(self._next_number, process, sock)
        self._next_number += 1
        self._equipment.tell_log(member)
        self._tell_supply(member)

    def _hire_again(self) -> None:
        if self._is_closing:
            return
        try:
            self._hire()
        except (CrewError, OSError) as error:
            self._log.error(Event.WORKER_ENDED, worker=self._next_number, pid=None, cause=str(error), sessions=0)
            self._replace(0.0)

    def _enrol(self, number: int, process: Process, sock: socket) -> Member:
        member = Member(number, process, sock, on_word=self._heard, on_room=self._on_room, on_ended=self._ended)
        self._members[number] = member
        return member

    def _heard(self, member: Member, word: words.FromWorker) -> None:
        match word:
            case words.Ready():
                self._is_ready(member)
            case words.Spend():
                member.answer(spend(word, member.number, self._admission, self._mail_rates, self._loop.time()))
            case _:
                hear(word, member.number, self._admission, self._equipment.health)

    def _is_ready(self, member: Member) -> None:
        if member.stage is not Stage.STARTING:
            return
        member.stage = Stage.SERVING
        self._log.info(Event.WORKER_STARTED, worker=member.number, pid=member.pid)
        for number, health in self._equipment.health.items():
            if health.is_down():
                member.say(words.Health(backend=number, is_suspect=True, is_down=True))
        if len(self._serving()) == self._count and not self._started.done():
            self._started.set_result(None)
        self._on_room()

    def _ended(self, member: Member, status: int) -> None:
        del self._members[member.number]
        self._give_again(member)
        lost = list(self._admission.held(member.number).values())
        is_expected = member.stage is Stage.LEAVING and status == 0
        tell = self._log.info if is_expected else self._log.error
        tell(Event.WORKER_ENDED, worker=member.number, pid=member.pid, cause=_cause(status), sessions=len(lost))
        self._on_lost(lost)
        self._admission.release_owner(member.number)
        if member.stage is not Stage.LEAVING:
            self._is_missed(member, status)
        self._gone.set()
        self._on_room()

    def _give_again(self, member: Member) -> None:
        """Have others serve whom it was given and never sent, unless it said that they are gone, or nobody can."""
        numbers = {name: number for number, name in enumerate(self._equipment.supply.listeners)}
        held = self._admission.held(member.number)
        for known, session, fd in member.take_back():
            ticket = held.get(known)
            listener = numbers.get(ticket.listener) if ticket else None
            if ticket is None or listener is None or not self.dispatch.give_again(ticket, listener, session, fd):
                os.close(fd)
        self.dispatch.flush()

    def _is_missed(self, member: Member, status: int) -> None:
        if not self._started.done() and not self._is_successor:
            self._started.set_exception(CrewError(f"a worker ended before it could serve: {_cause(status)}"))
        elif not self._is_closing:
            self._replace(self._loop.time() - member.since)

    def _replace(self, lived_s: float) -> None:
        """Start another one, the later the quicker they die."""
        self._quick_deaths = 0 if lived_s >= _HEALTHY_S else min(self._quick_deaths + 1, _DOUBLINGS)
        pause_s = min(_FIRST_PAUSE_S * 2**self._quick_deaths, _LONGEST_PAUSE_S)
        self._later(pause_s, self._hire_again)

    def _look_after(self) -> None:
        """Ask everybody for a sign of life; end whoever owes one for too long, or was to be gone by now."""
        self._later(_LOOK_PERIOD_S, self._look_after)
        for member in self.members:
            if member.is_overdue:
                member.kill()
            elif member.silence_s >= _STUCK_S:
                self._log.error(Event.WORKER_STUCK, worker=member.number, pid=member.pid, seconds=_STUCK_S)
                member.kill()
            else:
                member.ping()

    # Small steps.

    def _take_prepared(self) -> None:
        if self._prepared is None:
            raise RuntimeError("nothing was prepared")
        if self._supply_fd >= 0:
            os.close(self._supply_fd)
        self._equipment, self._supply_fd = self._prepared
        self._prepared = None
        self._mail_rates.change(self._equipment.mail_caps)

    def _serving(self) -> Sequence[Member]:
        return [member for member in self._members.values() if member.stage is Stage.SERVING]

    def _tell_supply(self, member: Member) -> None:
        member.say(words.Supplied(), (os.dup(self._supply_fd),))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        def act() -> None:
            self._timers.discard(timer)
            action()

        timer = self._loop.call_later(seconds, act)
        self._timers.add(timer)


def _cause(status: int) -> str:
    return f"exit code {status}" if status >= 0 else f"signal {-status} ({signal.strsignal(-status)})"
