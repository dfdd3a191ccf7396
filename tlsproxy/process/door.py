"""The door: listening sockets, and who is let in by them; never reads a client's bytes."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Final

from tlsproxy.admission.base import Admission, Admitted, Refused
from tlsproxy.config.model import ListenerConfig
from tlsproxy.core.addresses import Peer, peer_from
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import ListenerTls
from tlsproxy.core.log import Log
from tlsproxy.net.acceptor import Acceptor
from tlsproxy.net.tcp import keep_alive
from tlsproxy.process.sockets import Place, address_of
from tlsproxy.process.worker import Worker

_OWNER: Final = 1  # the one worker there is


class Door:
    """Accepts, admits, hands over."""

    def __init__(self, worker: Worker, admission: Admission, log: Log) -> None:
        self._worker = worker
        self._admission = admission
        self._log = log
        self._now = asyncio.get_running_loop().time
        self._open: dict[Place, tuple[Acceptor, ListenerConfig]] = {}

    def places(self) -> frozenset[Place]:
        """What is listened on."""
        return frozenset(self._open)

    def change(
        self, wanted: Mapping[Place, ListenerConfig], fresh: Mapping[Place, socket.socket], keepalive_s: float
    ) -> None:
        """Listen at exactly these places.

        Args:
            wanted: Every place with its listener.
            fresh: A bound socket for each place that is not listened on yet.
            keepalive_s: Seconds of silence before TCP probes a connection, for those that are kept.
        """
        for place in list(self._open):
            acceptor, listener = self._open[place]
            if place not in wanted:
                del self._open[place]
                self._tell(Event.LISTENER_STOPPED, listener, acceptor.sock)
                acceptor.close()
            else:
                keep_alive(acceptor.sock, keepalive_s)
                self._open[place] = (acceptor, wanted[place])
        for place, sock in fresh.items():
            self._start(place, wanted[place], sock)

    def close(self) -> None:
        """Accept no more; the kernel refuses whoever comes."""
        self.change({}, {}, 0.0)

    def _start(self, place: Place, listener: ListenerConfig, sock: socket.socket) -> None:
        acceptor = Acceptor(
            sock,
            lambda accepted, peer: self._arrived(place, accepted, peer),
            lambda error: self._paused(place, error),
        )
        self._open[place] = (acceptor, listener)
        self._tell(Event.LISTENER_STARTED, listener, sock)

    def _arrived(self, place: Place, sock: socket.socket, host_and_port: tuple[str, int]) -> None:
        _, listener = self._open[place]
        peer = peer_from(*host_and_port)
        match self._admission.admit(peer, _OWNER, self._now()):
            case Admitted() as admitted:
                self._let_in(listener, sock, peer, admitted)
            case Refused() as refused:
                is_plaintext = listener.tls is ListenerTls.STARTTLS
                if is_plaintext or not self._admission.may_tell(refused, peer, self._now()):
                    self._worker.turn_away(listener.name, sock, peer, refused, is_told=is_plaintext)
                else:
                    self._worker.serve(listener.name, sock, peer, refused)

    def _let_in(self, listener: ListenerConfig, sock: socket.socket, peer: Peer, admitted: Admitted) -> None:
        try:
            self._worker.serve(listener.name, sock, peer, admitted.ticket)
        except BaseException:
            self._admission.release(admitted.ticket)
            sock.close()
            raise
        if admitted.evicted is not None:
            self._worker.evict(admitted.evicted, admitted.limit)

    def _paused(self, place: Place, error: OSError) -> None:
        acceptor, listener = self._open[place]
        self._tell(Event.LISTENER_PAUSED, listener, acceptor.sock, error=error.strerror)

    def _tell(self, event: Event, listener: ListenerConfig, sock: socket.socket, **more: str | None) -> None:
        level = self._log.error if event is Event.LISTENER_PAUSED else self._log.info
        level(
            event,
            listener=listener.name,
            protocol=listener.protocol,
            address=address_of(sock),
            tls=listener.tls,
            **more,
        )
