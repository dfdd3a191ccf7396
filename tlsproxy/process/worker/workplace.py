"""The worker's process: hears the supervisor, has the worker do what it says, leaves when told or left alone."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final, assert_never

from tlsproxy.config.model import LogConfig
from tlsproxy.core.errors import CrewError
from tlsproxy.core.events import Event
from tlsproxy.net.plane import Plane
from tlsproxy.net.tcp import socket_of
from tlsproxy.process.line import words
from tlsproxy.process.line.channel import Channel, receive
from tlsproxy.process.line.supply import Supply, read_supply
from tlsproxy.process.logs import Logs, StartLogs
from tlsproxy.process.loops import make_loop
from tlsproxy.process.signals import SIGNALS
from tlsproxy.process.worker.reports import RemoteHealth, Reports
from tlsproxy.process.worker.sending_rates import SendingRates
from tlsproxy.process.worker.worker import Worker
from tlsproxy.server.plan import Plan, make_plan
from tlsproxy.server.smtp.delivering.relay_probe import warn_if_open
from tlsproxy.server.smtp.tools import Toolbox
from tlsproxy.server.way.way import Way, make_backend

_FIRST_WORD_S: Final = 10.0

Leave = words.Retire | words.Drain | words.Stop
_GRAVITY: Final = {words.Retire: 1, words.Drain: 2, words.Stop: 3}


def work(fd: int, start_logs: StartLogs) -> int:
    """Serve until the supervisor says that it is over, or is gone.

    Args:
        fd: This worker's end of the line.
        start_logs: Starts a log on a descriptor.

    Returns:
        The exit code.

    Raises:
        CrewError: The supervisor is not to be understood.
    """
    with contextlib.suppress(OSError):  # as above
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for number in SIGNALS:  # the supervisor has them as well, and says over the line what is to be done
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=fd) as sock:
        log_settings, log_fd, supply = _first_words(sock)
        logs = start_logs(log_settings, log_fd)
        loop, plane = make_loop(supply.config.server.loop)
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(Workplace(sock, plane, logs).serve(supply))
        finally:
            logs.stop()
    return 0


class Workplace:
    """A worker, and its end of the line."""

    def __init__(self, sock: socket.socket, plane: Plane, logs: Logs) -> None:
        self._sock = sock
        self._plane = plane
        self._logs = logs
        self._orders: asyncio.Queue[Leave] = asyncio.Queue()
        self._ways: dict[str, tuple[int, Way]] = {}
        self._errands: set[asyncio.Task[None]] = set()

    async def serve(self, supply: Supply) -> None:
        """Live until told to leave, and until that is done."""
        self._channel = Channel(self._sock, self._heard, self._left_alone, plane=self._plane)
        self._reports = Reports(self._channel, self._plane)
        self._rates = SendingRates(self._channel, supply.config.limits)
        self._health: dict[int, RemoteHealth] = {}
        self._supply = supply
        self._toolbox = Toolbox(self._plane, self._logs.logger)
        plan = self._make_plan(supply, {})
        self._worker = Worker(self._plane, self._reports, self._logs.logger, plan, self._rates)
        self._channel.send(words.encode(words.Ready()))
        gc.collect()
        gc.freeze()  # what stands now stands to the end: the collector need not look at it again
        await self._live()
        for errand in self._errands:
            errand.cancel()
        self._reports.send()
        self._toolbox.close()
        self._worker.close()
        self._channel.close()

    async def _live(self) -> None:
        """Until an order to leave is done; a graver one takes the place of one that is under way."""
        order = await self._orders.get()
        while True:
            leaving = asyncio.create_task(self._leave(order))
            graver = asyncio.create_task(self._graver_than(order))
            await asyncio.wait({leaving, graver}, return_when=asyncio.FIRST_COMPLETED)
            graver.cancel()
            if leaving.done():
                return leaving.result()
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving
            order = graver.result()

    async def _graver_than(self, order: Leave) -> Leave:
        while _GRAVITY[type(graver := await self._orders.get())] <= _GRAVITY[type(order)]:
            pass
        return graver

    async def _leave(self, order: Leave) -> None:
        roster = self._worker.roster
        match order:
            case words.Retire(grace_s=grace_s, window_s=window_s):
                if not await roster.emptied(grace_s):
                    await roster.drain(window_s)
            case words.Drain(window_s=window_s):
                await roster.drain(window_s)
            case words.Stop():
                pass
            case _:
                assert_never(order)
        await roster.stop()

    # What the supervisor says.

    def _heard(self, message: bytes, fds: list[int]) -> None:
        match words.decode(message):
            case words.Serve() as serve:
                self._serve(serve, fds)
            case words.Tell() as tell:
                self._tell(tell, fds)
            case words.Supplied():
                self._change(fds)
            case words.LogTo() as log_to:
                self._logs.change(_settings(log_to), fds[0])
            case words.Retire() | words.Drain() | words.Stop() as order:
                self._orders.put_nowait(order)
            case word:
                self._heard_more(word)

    def _heard_more(self, word: words.ToWorker | words.FromWorker) -> None:
        match word:
            case words.Evict(ticket=ticket, limit=limit):
                self._worker.evict(ticket, limit)
            case words.Ping():
                self._channel.send(words.encode(words.Pong()))
            case words.Health(backend=number, is_suspect=is_suspect, is_down=is_down) if number in self._health:
                self._health[number].is_suspect, self._health[number].is_known_down = is_suspect, is_down
            case words.Knock(backend=number):
                self._run_errand(number, lambda way: way.knock(self._plane))
            case words.Probe(backend=number) if (smtp := self._supply.config.smtp) is not None:
                hostname = smtp.hostname
                self._run_errand(number, lambda way: warn_if_open(self._plane, way, hostname, self._logs.logger))
            case words.Spent() as answer:
                self._rates.answered(answer)
            case _:
                pass  # of a backend that is no longer served

    def _left_alone(self) -> None:
        """The supervisor is gone: nobody can come in any more, and those who are in leave in good order."""
        self._rates.left_alone()
        self._orders.put_nowait(words.Drain(window_s=self._supply.config.timeouts.drain))

    def _serve(self, serve: words.Serve, fds: list[int]) -> None:
        arrived = iter(fds)
        for arrival in serve.arrivals(list(self._worker.plan), 0):
            ticket = arrival.ticket
            fd = next(arrived, None)
            if fd is None:  # no room for its descriptor here, so the kernel has closed the connection
                self._reports.release(ticket)
                continue
            sock = socket_of(fd, ticket.peer.ip)
            try:
                self._worker.serve(ticket.listener, sock, ticket.peer, ticket, arrival.session)
            except Exception as error:  # noqa: BLE001 - a bug must cost one connection, not all of the message
                sock.close()
                self._reports.release(ticket)
                self._tell_broken(error)

    def _tell_broken(self, error: Exception) -> None:
        self._logs.logger.error(Event.WORKER_BROKEN, exc_info=error)

    def _tell(self, tell: words.Tell, fds: list[int]) -> None:
        listener = list(self._worker.plan)[tell.listener]
        for fd in fds:
            sock = socket_of(fd, tell.peer.ip)
            self._worker.serve(listener, sock, tell.peer, tell.refused, tell.session)

    def _run_errand(self, number: int, work: Callable[[Way], Coroutine[Any, Any, None]]) -> None:
        """Do something at a backend that no session needs."""
        for known, way in self._ways.values():
            if known == number:
                errand = asyncio.get_running_loop().create_task(work(way))
                self._errands.add(errand)
                errand.add_done_callback(self._errands.discard)

    # Reload.

    def _change(self, fds: list[int]) -> None:
        """Serve whoever comes from now on by another configuration; the supervisor has judged it already."""
        try:
            supply = read_supply(fds[0])
            self._worker.plan = self._make_plan(supply, self._worker.plan)
            self._supply = supply
            self._rates.change(supply.config.limits)
        except Exception as error:  # noqa: BLE001 - a worker ends here: newcomers would be served as at other listeners
            self._tell_broken(error)
            self._orders.put_nowait(words.Stop())

    def _make_plan(self, supply: Supply, old: Plan) -> Plan:
        ways = {name: self._way(supply, name, number) for name, number in supply.backends.items()}
        only_ways = {name: way for name, (_, way) in ways.items()}
        tools = self._toolbox.tools(supply.config, only_ways, supply.passwords)
        plan = make_plan(supply.config, supply.certificates, only_ways, tools, old)
        self._ways = ways
        self._health = {number: self._health[number] for number, _ in ways.values()}
        return plan

    def _way(self, supply: Supply, name: str, number: int) -> tuple[int, Way]:
        known = self._ways.get(name)
        if known is not None and known[0] == number:
            return known
        backend = make_backend(supply.config, name, supply.authorities)
        self._health[number] = RemoteHealth(number, self._reports)
        return number, Way(backend, self._health[number])


def _first_words(sock: socket.socket) -> tuple[LogConfig, int, Supply]:
    """Where the log goes, and what is to be served."""
    sock.settimeout(_FIRST_WORD_S)
    try:
        message, log_fds = receive(sock)
        log_to = words.decode(message)
        message, supply_fds = receive(sock)
        if not isinstance(log_to, words.LogTo) or words.decode(message) != words.Supplied():
            raise CrewError("the program on disk is not of the version that runs; SIGUSR2 brings them together again")
        return _settings(log_to), log_fds[0], read_supply(supply_fds[0])
    except (OSError, ValueError, IndexError) as error:
        raise CrewError(f"no word from the supervisor: {error}") from error


def _settings(log_to: words.LogTo) -> LogConfig:
    return LogConfig.model_validate({"format": log_to.format, "file": log_to.file, "level": log_to.level})
