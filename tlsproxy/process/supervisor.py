"""The running program: starts everything, reloads in place, drains and stops on signals."""

import asyncio
import gc
import os
import platform
import signal
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Protocol

from tlsproxy import __version__
from tlsproxy.admission.table import AdmissionTable
from tlsproxy.config.model import Config, LogConfig
from tlsproxy.core.errors import ConfigError
from tlsproxy.core.events import Event
from tlsproxy.core.log import Log
from tlsproxy.net.backend import Backend
from tlsproxy.net.plane import Plane
from tlsproxy.process import notify
from tlsproxy.process.certwatch import CertificateWatch
from tlsproxy.process.door import Door
from tlsproxy.process.loops import make_loop
from tlsproxy.process.sockets import Place
from tlsproxy.process.stage import Stage, raise_descriptor_limit, set_stage
from tlsproxy.process.worker import Worker
from tlsproxy.server.way import Way

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Logs(Protocol):
    """The log as the supervisor runs it; ``operate.logs.Logs`` is one."""

    @property
    def logger(self) -> Log:
        """What the floors below write to."""
        ...

    def change(self, settings: LogConfig) -> None:
        """Take new settings and open the file anew; raises ConfigError and leaves all as it was."""
        ...

    def stop(self) -> bool:
        """Write what waits and end."""
        ...


def run(source: Callable[[], Config], start_logs: Callable[[LogConfig], Logs]) -> int:
    """Run until a signal ends it.

    Args:
        source: Loads the configuration, at start and for each reload.
        start_logs: Opens the log.

    Returns:
        0: every way of stopping that was asked for is a success.

    Raises:
        ConfigError: The configuration, a certificate or an address cannot be used; nothing has run.
    """
    config = source()
    raise_descriptor_limit()
    logs = start_logs(config.log)
    loop, plane = make_loop(config.server.loop)
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(Supervisor(source, logs, plane).serve(config))
    finally:
        logs.stop()


class Supervisor:
    """Owns the door, the worker, the admission table and the stage that is set."""

    def __init__(self, source: Callable[[], Config], logs: Logs, plane: Plane) -> None:
        self._source = source
        self._logs = logs
        self._log = logs.logger
        self._plane = plane
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._is_reload_due = False

    async def serve(self, config: Config) -> int:
        """Start, live, stop.

        Raises:
            ConfigError: It cannot start.
        """
        self._listen_to_signals()
        stage = self._set_stage(config, None)
        self._stage = stage
        self._admission = AdmissionTable(stage.caps)
        self._worker = Worker(self._plane, self._admission, self._log, stage.plan)
        self._door = Door(self._worker, self._admission, self._log)
        self._watch = CertificateWatch(self._log, self._renew)
        self._door.change(stage.listeners, stage.fresh_sockets, config.timeouts.keepalive)
        self._watch.change(stage.certificates, config.tls.certificates)
        self._tell_start(stage)
        gc.collect()
        gc.freeze()  # what stands now stands to the end: the collector need not look at it again
        notify.ready()
        await self._live()
        self._be_deaf()
        return 0

    async def _live(self) -> None:
        """Reload on SIGHUP as often as it comes; the first other signal ends it."""
        while (received := await self._signals.get()) is signal.SIGHUP:
            self._is_reload_due = False
            notify.reloading()
            self._reload()
            notify.ready()
        notify.stopping()
        self._door.close()
        self._watch.close()
        await self._drain(is_fast=received is signal.SIGINT)
        for way in self._stage.ways.values():
            way.close()
        self._worker.close()
        self._log.info(Event.SERVER_STOPPED, sessions=len(self._worker.roster))

    async def _drain(self, *, is_fast: bool) -> None:
        roster, window_s = self._worker.roster, self._stage.config.timeouts.drain
        self._log.info(Event.SERVER_DRAINING, sessions=len(roster), seconds=0.0 if is_fast else window_s)
        if not is_fast:
            drained = asyncio.create_task(roster.drain(window_s))
            while not drained.done():
                hurried = asyncio.create_task(self._signals.get())
                await asyncio.wait({drained, hurried}, return_when=asyncio.FIRST_COMPLETED)
                is_hurried = hurried.done() and hurried.result() is not signal.SIGHUP
                hurried.cancel()
                if is_hurried:
                    drained.cancel()
                    break
        await roster.stop()

    def _reload(self) -> None:
        """Read everything anew."""
        self._change(self._source, "reload")

    def _renew(self) -> None:
        """Read the certificates anew; what else stands in the file may be half written."""
        self._change(lambda: self._stage.config, "renewal")

    def _change(self, source: Callable[[], Config], what: str) -> None:
        """Swap a new stage in if all of it stands, or say why nothing changed."""
        old = self._stage
        try:
            new = self._set_stage(source(), old)
            with ExitStack() as undo:
                for sock in new.fresh_sockets.values():
                    undo.enter_context(sock)
                self._logs.change(new.config.log)
                undo.pop_all()
        except ConfigError as error:
            self._log.error(Event.CONFIG_REJECTED, mistakes=[str(mistake) for mistake in error.mistakes])
            return
        except Exception as error:  # noqa: BLE001 - a reload ends here: a bug in it must not end the sessions
            self._log.error(Event.CONFIG_REJECTED, mistakes=["an internal error"], exc_info=error)
            return
        self._worker.plan = new.plan
        self._admission.change(new.caps)
        self._door.change(new.listeners, new.fresh_sockets, new.config.timeouts.keepalive)
        self._watch.change(new.certificates, new.config.tls.certificates)
        for name, way in old.ways.items():
            if new.ways.get(name) is not way:
                way.close()
        self._stage = new
        self._tell_config(what, new, needs_restart=old.config.server != new.config.server)

    def _set_stage(self, config: Config, old: Stage | None) -> Stage:
        open_places: frozenset[Place] = self._door.places() if old is not None else frozenset()
        return set_stage(config, old=old, open_places=open_places, make_way=self._make_way)

    def _make_way(self, backend: Backend) -> Way:
        return Way(backend, self._log)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._received, number)

    def _received(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            if self._is_reload_due:
                return  # one reload reads whatever many asked for
            self._is_reload_due = True
        self._signals.put_nowait(number)

    @staticmethod
    def _be_deaf() -> None:
        """All is done but for the interpreter's own end, which no signal may turn into a failure."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _tell_start(self, stage: Stage) -> None:
        self._tell_config("start", stage, needs_restart=False)
        self._log.info(
            Event.SERVER_STARTED,
            version=__version__,
            python=platform.python_version(),
            openssl=ssl.OPENSSL_VERSION,
            workers=1,
            loop=type(asyncio.get_running_loop()).__module__.partition(".")[0],
            total=stage.caps.total,
            pid=os.getpid(),
        )

    def _tell_config(self, what: str, stage: Stage, *, needs_restart: bool) -> None:
        for place, error in stage.skipped.items():
            listener = stage.listeners[place]
            self._log.warning(
                Event.LISTENER_SKIPPED,
                listener=listener.name,
                protocol=listener.protocol,
                address=str(place[0]),
                tls=listener.tls,
                error=str(error),
            )
        self._log.info(
            Event.CONFIG_LOADED,
            what=what,
            listeners=len(stage.config.listener),
            backends=len(stage.config.backend),
            needs_restart=["server"] if needs_restart else [],
        )
