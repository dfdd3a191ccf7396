"""The running program: starts everything, reloads and upgrades in place, drains and stops on signals."""

import asyncio
import gc
import itertools
import os
import platform
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from tlsproxy import __version__
from tlsproxy.admission.table import AdmissionTable
from tlsproxy.config.model import BackendConfig, Config
from tlsproxy.core.errors import ConfigError
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LoopKind
from tlsproxy.net.plane import Plane
from tlsproxy.process import notify, signals, upgrade
from tlsproxy.process.crew.crew import Crew
from tlsproxy.process.crew.equipment import Equipment
from tlsproxy.process.crew.hiring import AdoptedProcess, own_command
from tlsproxy.process.door.door import Door
from tlsproxy.process.door.farewell import Farewell, new_references
from tlsproxy.process.line import words
from tlsproxy.process.logs import Logs, StartLogs
from tlsproxy.process.loops import kind_of, make_loop, yield_to_workers
from tlsproxy.process.stage import Stage, affordable_each, raise_descriptor_limit, set_stage
from tlsproxy.process.watches.backend import BackendWatch
from tlsproxy.process.watches.certificates import CertificateWatch
from tlsproxy.process.watches.relay import RelayWatch

_TURNS: Final = 3  # of the loop, in which it hears of a signal, calls the handler, and goes on here


def run(source: Callable[[], Config], start_logs: StartLogs) -> int:
    """Run until a signal ends it.

    Args:
        source: Loads the configuration, at start and for each reload.
        start_logs: Opens the log.

    Returns:
        0: every way of stopping that was asked for is a success.

    Raises:
        ConfigError: The configuration, a certificate or an address cannot be used; nothing has run.
        CrewError: No worker can be started.
    """
    handover = upgrade.inherited(os.environ)
    config = source()
    raise_descriptor_limit()
    yield_to_workers()
    signals.hold()  # so that no thread but this one ever gets one
    logs = start_logs(config.log)
    loop, plane = make_loop(LoopKind.UVLOOP)  # measured: a flood costs a tenth less here than on asyncio's own loop
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(Supervisor(source, logs, plane).serve(config, handover))
    finally:
        logs.stop()


class Supervisor:
    """Owns the door, the crew, the admission table and the stage that is set."""

    def __init__(self, source: Callable[[], Config], logs: Logs, plane: Plane) -> None:
        self._source = source
        self._logs = logs
        self._log = logs.logger
        self._plane = plane
        self._signals = signals.Inbox()
        self._watch_numbers = itertools.count(1)

    async def serve(self, config: Config, handover: upgrade.Handover | None) -> int:
        """Start, live, stop.

        Args:
            config: What to begin with.
            handover: What the version before has left, if this is an upgrade.

        Raises:
            ConfigError: It cannot start.
            CrewError: No worker can be started.
        """
        self._signals.listen()
        sockets = handover.sockets() if handover else {}
        self._stage = stage = set_stage(
            config, old=None, open_places=(), make_watch=self._make_watch, inherited=sockets
        )
        self._references = handover.references if handover else new_references()
        self._admission = AdmissionTable(stage.caps)
        self._farewell = Farewell(self._plane, self._log, self._admission, self._references, stage.plan)
        self._crew = Crew(
            self._admission,
            self._log,
            own_command(),
            most_each=affordable_each(),
            on_room=lambda: self._door.look_for_room(),  # noqa: PLW0108 - the door comes after the crew
            on_lost=self._farewell.tell_lost,
        )
        self._door = Door(self._crew.dispatch, self._admission, self._references, self._farewell, self._log)
        self._watch = CertificateWatch(self._log, self._renew)
        self._relays = RelayWatch(self._crew.probe)
        if handover is not None:
            self._take_over(handover)
        with ExitStack() as undo:
            for sock in stage.fresh_sockets.values():
                undo.enter_context(sock)
            await self._crew.start(self._equipment(stage), stage.workers, stage.identity)
            undo.pop_all()
        self._open_door(stage)
        for place in sockets.keys() - stage.fresh_sockets.keys():
            sockets[place].close()
        self._tell_start(stage, handover)
        gc.collect()
        gc.freeze()  # what stands now stands to the end: the collector need not look at it again
        notify.ready()
        with notify.Watchdog():
            await self._live()
        self._signals.be_deaf()
        return 0

    async def _live(self) -> None:
        """Reload on SIGHUP and upgrade on SIGUSR2 as often as they come; the first other signal ends it."""
        while (received := await self._signals.get()) in signals.CHANGES:
            if received is signal.SIGUSR2:
                await self._upgrade()
                continue
            notify.reloading()
            self._reload()
            notify.ready()
        notify.stopping()
        self._door.close()
        self._watch.close()
        self._relays.close()
        await self._drain(is_fast=received is signal.SIGINT)
        for watch in self._stage.watches.values():
            watch.close()
        self._log.info(Event.SERVER_STOPPED, sessions=self._admission.total_count)

    async def _drain(self, *, is_fast: bool) -> None:
        window_s = self._stage.config.timeouts.drain
        self._log.info(
            Event.SERVER_DRAINING, sessions=self._admission.total_count, seconds=0.0 if is_fast else window_s
        )
        if not is_fast:
            drained = asyncio.create_task(self._crew.drain(window_s))
            while not drained.done():
                hurried = asyncio.create_task(self._signals.get())
                await asyncio.wait({drained, hurried}, return_when=asyncio.FIRST_COMPLETED)
                is_hurried = hurried.done() and hurried.result() not in signals.CHANGES
                hurried.cancel()
                if is_hurried:
                    drained.cancel()
                    break
        await self._crew.stop()

    # Changing.

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
            new = set_stage(
                source(), old=old, open_places=self._door.places(), make_watch=self._make_watch, inherited={}
            )
            with ExitStack() as undo:
                for sock in new.fresh_sockets.values():
                    undo.enter_context(sock)
                self._crew.prepare(self._equipment(new))
                self._logs.change(new.config.log)
                undo.pop_all()
        except ConfigError as error:
            self._log.error(Event.CONFIG_REJECTED, mistakes=[str(mistake) for mistake in error.mistakes])
            return
        except Exception as error:  # noqa: BLE001 - a reload ends here: a bug in it must not end the sessions
            self._log.error(Event.CONFIG_REJECTED, mistakes=["an internal error"], exc_info=error)
            return
        self._farewell.plan = new.plan
        self._crew.change()
        self._admission.change(new.caps)
        self._open_door(new)
        for name, watch in old.watches.items():
            if new.watches.get(name) is not watch:
                watch.close()
        self._stage = new
        self._tell_config(what, new, needs_restart=old.config.server != new.config.server)

    def _open_door(self, stage: Stage) -> None:
        self._door.change(stage.listeners, stage.fresh_sockets, stage.config.timeouts.keepalive)
        self._watch.change(stage.certificates, stage.config.tls.certificates)
        self._relays.change(stage.config, stage.watches)

    def _make_watch(self, name: str, config: BackendConfig) -> BackendWatch:
        return BackendWatch(
            name,
            config,
            next(self._watch_numbers),
            self._log,
            tell=lambda watch: self._crew.tell_health(
                watch.number, is_suspect=watch.is_suspect, is_down=watch.is_down()
            ),
            knock=lambda watch: self._crew.knock(watch.number),
        )

    def _equipment(self, stage: Stage) -> Equipment:
        health = {watch.number: watch for watch in stage.watches.values()}
        return Equipment(supply=stage.supply(), health=health, log_fd=lambda: self._logs.fd)

    # Upgrading.

    async def _upgrade(self) -> None:
        """Become the version that is on disk, if it shows that it can start; else stay, and say why."""
        command = upgrade.started_command()
        self._log.info(Event.UPGRADE_STARTED, version=__version__, sessions=self._admission.total_count)
        with signals.held():  # for the thread that is begun
            rehearsal = asyncio.get_running_loop().run_in_executor(None, upgrade.rehearse, command, self._door.places())
        why = await rehearsal
        if not why:
            with signals.held():
                why = await self._hand_over(command)
        if why:
            self._log.error(Event.UPGRADE_REJECTED, mistakes=why.splitlines())

    async def _hand_over(self, command: Sequence[str]) -> str:
        """Become another program; returns, with the reason, only if that is not to be."""
        self._door.pause()
        await self._crew.cleared()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        why = "it is to end"
        if not self._signals.is_end_waiting:  # what the new version reads is as new as can be
            handover = upgrade.Handover.of(
                list(self._door.sockets().items()), self._crew.members, self._admission.state(), self._references
            )
            self._logs.flush()
            try:
                handover.become(command)
            except OSError as error:
                why = str(error)
        self._door.go_on()
        return why

    def _take_over(self, handover: upgrade.Handover) -> None:
        """Let the workers of the version before serve whom they have, and leave."""
        timeouts = self._stage.config.timeouts
        word = words.Retire(grace_s=timeouts.upgrade_grace, window_s=timeouts.drain)
        self._admission.resume(handover.admission)
        for worker in handover.workers:
            sock = socket.socket(fileno=worker.fd)
            self._crew.adopt(worker.number, AdoptedProcess(worker.pid), sock, word)

    # Telling.

    def _tell_start(self, stage: Stage, handover: upgrade.Handover | None) -> None:
        self._tell_config("upgrade" if handover else "start", stage, needs_restart=False)
        self._log.info(
            Event.SERVER_STARTED,
            version=__version__,
            upgraded_from=handover.version if handover else None,
            python=platform.python_version(),
            openssl=ssl.OPENSSL_VERSION,
            workers=stage.workers,
            loop=kind_of(stage.config.server.loop),
            total=stage.caps.total,
            sessions=self._admission.total_count,
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
