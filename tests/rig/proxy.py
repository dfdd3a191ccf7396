"""A whole proxy but for signals, run on a loop of its own in a thread, with a recorded log."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from rig.pki import Pki
from rig.recorder import WITHIN_S, Recorder
from tlsproxy.admission.base import Refused, Ticket
from tlsproxy.admission.table import AdmissionTable
from tlsproxy.config.model import BackendConfig, Config
from tlsproxy.core.addresses import Client, Peer, client_from
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LoopKind
from tlsproxy.core.references import References
from tlsproxy.net.tcp import socket_of
from tlsproxy.process.door.door import Door
from tlsproxy.process.door.farewell import Farewell
from tlsproxy.process.loops import make_loop
from tlsproxy.process.stage import Stage, set_stage
from tlsproxy.process.watches.backend import BackendWatch
from tlsproxy.process.worker.worker import Worker
from tlsproxy.server.plan import Plan, make_plan
from tlsproxy.server.smtp.service import SmtpTools
from tlsproxy.server.way.way import Way

T = TypeVar("T")


def make_config(pki: Pki, address: str, **sections: dict[str, Any]) -> Config:
    """All four listeners on free ports, one backend address for both protocols."""
    tables: dict[str, Any] = {
        "tls": {"certificates": [{"chain": str(pki.chain), "key": str(pki.key)}]},
        "listener": [
            {"name": name, "protocol": protocol, "tls": tls, "bind": ["127.0.0.1:0"]}
            for name, protocol, tls in (
                ("imaps", "imap", "implicit"),
                ("imap", "imap", "starttls"),
                ("pop3s", "pop3", "implicit"),
                ("pop3", "pop3", "starttls"),
            )
        ],
        "backend": {"imap": {"address": address}, "pop3": {"address": address}},
    }
    for name, table in sections.items():
        if name == "timeouts":
            tables[name] = {key: f"{round(seconds * 1000)}ms" for key, seconds in table.items()}
        elif name == "limits":
            tables[name] = {key: "none" if value is None else value for key, value in table.items()}
        elif name == "backend":
            for backend_table in tables["backend"].values():
                backend_table.update(table)
        else:
            tables[name] = {**tables.get(name, {}), **table}
    return Config.model_validate(tables)


class WorkersHere:
    """One worker in the same process, where tests can look inside; takes the place of the crew's dispatcher."""

    has_room = True

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def pick(self) -> int:
        return 1

    def serve(self, ticket: Ticket, client: Client, listener: int, session: bytes, fd: int) -> None:  # noqa: ARG002 - an interface
        self._worker.serve(ticket.listener, socket_of(fd, client.ip), ticket.peer, ticket, session.hex())

    def tell(self, refused: Refused, peer: Peer, listener: int, session: str, fd: int) -> bool:
        self._worker.serve(list(self._worker.plan)[listener], socket_of(fd, peer.ip), peer, refused, session)
        return True

    def evict(self, ticket: Ticket, limit: str) -> None:
        self._worker.evict(ticket.id, limit)

    def flush(self) -> None: ...


class RunningProxy:
    """Use as a context manager; ``port`` gives the listeners' ports."""

    def __init__(
        self,
        config: Config,
        kind: LoopKind,
        *,
        make_tools: Callable[[Mapping[str, Way]], SmtpTools] | None = None,
        disguises: Mapping[str, str] | None = None,
    ) -> None:
        """Take what it is to be.

        Args:
            config: Its configuration.
            kind: Its loop.
            make_tools: Makes what its SMTP sessions work with.
            disguises: Addresses of clients, and those that they are taken to come from.
        """
        self._make_tools = make_tools
        self._disguises = disguises or {}
        self.log = Recorder()
        self._knocks: list[asyncio.Task[None]] = []
        self._config = config
        self._loop, self._plane = make_loop(kind)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.ports: dict[str, int] = {}
        self.stage: Stage
        self.worker: Worker
        self.admission: AdmissionTable

    def __enter__(self) -> Self:
        self._thread.start()
        self.call(self._start)
        for line in self.log.lines(Event.LISTENER_STARTED):
            self.ports[line["listener"]] = int(line["address"].rpartition(":")[2])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait_for(self._stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(WITHIN_S)
            self._loop.close()

    def call(self, action: Callable[[], T]) -> T:
        """Do something in the proxy's thread."""

        async def act() -> T:
            return action()

        return self.wait_for(act())

    def wait_for(self, coroutine: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(WITHIN_S)

    def idle(self) -> None:
        """Wait until no session is left, and see that none has left anything behind."""
        self.wait_for(self._idle())
        assert self.admission.total_count == 0
        assert self.admission.unauthenticated_count == 0

    async def _idle(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            while len(self.worker.roster):  # noqa: ASYNC110 - the product tells nobody that a session is gone
                await asyncio.sleep(0.005)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _start(self) -> None:
        self.stage = set_stage(self._config, old=None, open_places=(), make_watch=self._make_watch, inherited={})
        self.admission = AdmissionTable(self.stage.caps)
        self.worker = Worker(self._plane, self.admission, self.log, self._plan())
        references = References(start=1, factor=0x5DEECE66D)
        farewell = Farewell(self._plane, self.log, self.admission, references, self.stage.plan)
        self.door = Door(WorkersHere(self.worker), self.admission, references, farewell, self.log)
        self.door._client_of = lambda host: client_from(self._disguises.get(host, host))
        self.door.change(self.stage.listeners, self.stage.fresh_sockets, self._config.timeouts.keepalive)

    def _plan(self) -> Plan:
        if self._make_tools is None:
            return self.stage.plan
        ways = {service.way.name: service.way for service in self.stage.plan.values()}
        return make_plan(self._config, self.stage.certificates, ways, self._make_tools(ways), {})

    def _make_watch(self, name: str, config: BackendConfig) -> BackendWatch:
        return BackendWatch(name, config, 1, self.log, tell=lambda _watch: None, knock=lambda _watch: self._knock(name))

    def _knock(self, name: str) -> None:
        (way,) = {service.way for service in self.stage.plan.values() if service.way.name == name}
        self._knocks.append(self._loop.create_task(way.knock(self._plane)))

    async def _stop(self) -> None:
        self.door.close()
        await self.worker.roster.stop()
        for watch in self.stage.watches.values():
            watch.close()
        for knock in self._knocks:
            knock.cancel()
        self.worker.close()
