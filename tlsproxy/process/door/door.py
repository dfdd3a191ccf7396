"""The door: listening sockets, and who is let in by them; never reads a client's bytes."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final, Protocol

from tlsproxy.admission.base import Admission, Refused, Ticket
from tlsproxy.admission.refusals import RefusalBook
from tlsproxy.config.model import ListenerConfig
from tlsproxy.core.addresses import Client, Peer, client_from
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import ListenerTls, ProtocolName
from tlsproxy.core.log import Log
from tlsproxy.core.references import References
from tlsproxy.net.acceptor import Accepted, Acceptor
from tlsproxy.net.tcp import keep_alive
from tlsproxy.process.door.farewell import Farewell
from tlsproxy.process.door.sockets import Place, address_of

_SHED_PERIOD_S: Final = 10.0
_ADDRESSES_REMEMBERED: Final = 8192  # parsed; some 2 MB


class Workers(Protocol):
    """Whom connections are given to; ``Dispatcher`` is one."""

    @property
    def has_room(self) -> bool:
        """Whether a connection can be given to anybody."""
        ...

    def pick(self) -> int:
        """Who would get the next connection; 0 if nobody has room."""
        ...

    def serve(self, ticket: Ticket, client: Client, listener: int, session: bytes, fd: int) -> None:
        """Give a connection to the owner of its ticket, with the next ``flush``; the descriptor goes with it."""
        ...

    def tell(self, refused: Refused, peer: Peer, listener: int, session: str, fd: int) -> bool:
        """Have a client on a TLS port told why it may not stay; False if nobody has room for that."""
        ...

    def evict(self, ticket: Ticket, limit: str) -> None:
        """End a session for a newcomer."""
        ...

    def flush(self) -> None:
        """Send what was given since the last time."""
        ...


class Door:
    """Accepts, admits, hands over; whoever may not come in is turned away here and costs no worker a thing."""

    def __init__(
        self, workers: Workers, admission: Admission, references: References, farewell: Farewell, log: Log
    ) -> None:
        self._workers = workers
        self._admission = admission
        self._references = references
        self._farewell = farewell
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._open: dict[Place, _Entrance] = {}
        self._client_of = lru_cache(_ADDRESSES_REMEMBERED)(client_from)
        self._book = RefusalBook()
        self._shedding: asyncio.TimerHandle | None = None
        self._is_paused = False

    def places(self) -> frozenset[Place]:
        """What is listened on."""
        return frozenset(self._open)

    def sockets(self) -> Mapping[Place, socket.socket]:
        """The listening sockets, for a successor."""
        return {place: entrance.acceptor.sock for place, entrance in self._open.items()}

    def change(
        self,
        wanted: Mapping[Place, ListenerConfig],
        fresh: Mapping[Place, socket.socket],
        keepalive_s: float,
    ) -> None:
        """Listen at exactly these places.

        Args:
            wanted: Every place with its listener, in the order of the configuration.
            fresh: A bound socket for each place that is not listened on yet.
            keepalive_s: Seconds of silence before TCP probes a connection, for those that are kept.
        """
        names = dict.fromkeys(listener.name for listener in wanted.values())
        numbers = {name: number for number, name in enumerate(names)}
        for place, entrance in list(self._open.items()):
            if place not in wanted:
                del self._open[place]
                self._tell(Event.LISTENER_STOPPED, entrance)
                entrance.acceptor.close()
            else:
                keep_alive(entrance.acceptor.sock, keepalive_s)
                entrance.lead_to(wanted[place], numbers)
        for place, sock in fresh.items():
            self._open[place] = entrance = _Entrance(sock, wanted[place], numbers, self._arrived, self._paused)
            self._tell(Event.LISTENER_STARTED, entrance)
        self.look_for_room()

    def look_for_room(self) -> None:
        """Accept while somebody has room for it; else let them wait in the kernel's queue, where nobody is refused."""
        has_room = self._workers.has_room and not self._is_paused
        for entrance in self._open.values():
            if has_room:
                entrance.acceptor.go_on()
            else:
                entrance.acceptor.hold()

    def pause(self) -> None:
        """Accept nobody until ``go_on``, and say what has not been said of those who came."""
        self._is_paused = True
        self.look_for_room()
        self._shed()

    def go_on(self) -> None:
        """Accept again."""
        self._is_paused = False
        self.look_for_room()

    def close(self) -> None:
        """Accept no more; the kernel refuses whoever comes."""
        self.change({}, {}, 0.0)
        self._shed()

    def _arrived(self, entrance: "_Entrance", accepted: Sequence[Accepted]) -> None:
        now = self._loop.time()
        is_anybody_in = is_flood = False
        for fd, (host, port) in accepted:
            client = self._client_of(host)
            refused = self._admission.refusal(client, now)
            if refused is None:
                self._let_in(entrance, fd, client, port)
                is_anybody_in = True
            elif self._book.is_worth_a_line(client, refused.reason, now):
                self._turn_away(entrance, fd, client, port, refused)
            else:
                os.close(fd)
                is_flood = True
        if is_anybody_in:
            self._workers.flush()
            if not self._workers.has_room:
                self.look_for_room()
        if is_flood:
            entrance.acceptor.rest()
            if self._shedding is None:
                self._shedding = self._loop.call_later(_SHED_PERIOD_S, self._shed)

    def _let_in(self, entrance: "_Entrance", fd: int, client: Client, port: int) -> None:
        evicted = self._admission.make_room(client)
        ticket = self._admission.enter(client, port, entrance.name, self._workers.pick())
        self._workers.serve(ticket, client, entrance.number, self._references.packed(ticket.id), fd)
        if evicted is not None:
            self._workers.evict(evicted.ticket, evicted.limit)

    def _turn_away(self, entrance: "_Entrance", fd: int, client: Client, port: int, refused: Refused) -> None:
        listener, peer = entrance.listener, Peer(client.ip, port)
        session = self._farewell.new_session()
        is_plaintext = listener.tls is ListenerTls.STARTTLS
        # On SMTP's TLS port no handshake is spent: its clients try again by themselves, and show nobody what they hear.
        is_mailbox = listener.protocol is not ProtocolName.SMTP
        may_tell = not is_plaintext and is_mailbox and self._admission.may_tell(refused, client, self._loop.time())
        if may_tell and self._workers.tell(refused, peer, entrance.number, session, fd):
            return
        self._farewell.turn_away(listener.name, fd, peer, refused, session, is_told=is_plaintext)

    def _shed(self) -> None:
        """Say how many were turned away without a line of their own."""
        if self._shedding is not None:
            self._shedding.cancel()
            self._shedding = None
        for shed in self._book.shed():
            self._log.warning(
                Event.CONNECTIONS_SHED,
                client_ip=str(shed.client_ip) if shed.client_ip is not None else None,
                count=sum(shed.counts.values()),
                reasons={reason.value: count for reason, count in shed.counts.items()},
                seconds=_SHED_PERIOD_S,
            )

    def _paused(self, entrance: "_Entrance", error: OSError) -> None:
        self._tell(Event.LISTENER_PAUSED, entrance, error=error.strerror)

    def _tell(self, event: Event, entrance: "_Entrance", **more: str | None) -> None:
        level = self._log.error if event is Event.LISTENER_PAUSED else self._log.info
        listener = entrance.listener
        level(
            event,
            listener=listener.name,
            protocol=listener.protocol,
            address=address_of(entrance.acceptor.sock),
            tls=listener.tls,
            **more,
        )


class _Entrance:
    """One listening socket, and what it leads to; all that is asked for each connection is looked up beforehand."""

    __slots__ = ("acceptor", "listener", "name", "number")

    def __init__(
        self,
        sock: socket.socket,
        listener: ListenerConfig,
        numbers: Mapping[str, int],
        on_connections: Callable[["_Entrance", Sequence[Accepted]], None],
        on_pause: Callable[["_Entrance", OSError], None],
    ) -> None:
        self.lead_to(listener, numbers)
        self.acceptor = Acceptor(sock, partial(on_connections, self), partial(on_pause, self))

    def lead_to(self, listener: ListenerConfig, numbers: Mapping[str, int]) -> None:
        """Belong to this listener from now on; its number is its place in the configuration."""
        self.listener = listener
        self.name = listener.name
        self.number = numbers[listener.name]
