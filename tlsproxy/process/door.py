"""The door: listening sockets, and who is let in by them; never reads a client's bytes."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Final

from tlsproxy.admission.base import Admission, Admitted, Refused
from tlsproxy.config.model import BindAddress, ListenerConfig
from tlsproxy.core.addresses import peer_from
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import ListenerTls
from tlsproxy.core.log import Log
from tlsproxy.net.acceptor import Acceptor
from tlsproxy.process.sockets import address_of
from tlsproxy.process.worker import Worker

_OWNER: Final = 1  # the one worker there is


class Door:
    """Accepts, admits, hands over."""

    def __init__(self, worker: Worker, admission: Admission, log: Log) -> None:
        self._worker = worker
        self._admission = admission
        self._log = log
        self._now = asyncio.get_running_loop().time
        self._open: dict[BindAddress, tuple[Acceptor, ListenerConfig]] = {}

    def addresses(self) -> frozenset[BindAddress]:
        """What is listened on."""
        return frozenset(self._open)

    def change(self, wanted: Mapping[BindAddress, ListenerConfig], fresh: Mapping[BindAddress, socket.socket]) -> None:
        """Listen on exactly these addresses.

        Args:
            wanted: Every address with its listener.
            fresh: A bound socket for each address that is not listened on yet.
        """
        for address in list(self._open):
            acceptor, listener = self._open[address]
            if address not in wanted:
                del self._open[address]
                self._tell(Event.LISTENER_STOPPED, listener, acceptor.sock)
                acceptor.close()
            else:
                self._open[address] = (acceptor, wanted[address])
        for address, sock in fresh.items():
            self._start(address, wanted[address], sock)

    def close(self) -> None:
        """Accept no more; the kernel refuses whoever comes."""
        self.change({}, {})

    def _start(self, address: BindAddress, listener: ListenerConfig, sock: socket.socket) -> None:
        acceptor = Acceptor(
            sock,
            lambda accepted, peer: self._arrived(address, accepted, peer),
            lambda error: self._paused(address, error),
        )
        self._open[address] = (acceptor, listener)
        self._tell(Event.LISTENER_STARTED, listener, sock)

    def _arrived(self, address: BindAddress, sock: socket.socket, host_and_port: tuple[str, int]) -> None:
        _, listener = self._open[address]
        peer = peer_from(*host_and_port)
        match self._admission.admit(peer, _OWNER, self._now()):
            case Admitted(ticket=ticket, evicted=evicted):
                self._worker.serve(listener.name, sock, peer, ticket)
                if evicted is not None:
                    self._worker.evict(evicted)
            case Refused() as refused:
                is_plaintext = listener.tls is ListenerTls.STARTTLS
                if refused.may_be_told and not is_plaintext:
                    self._worker.serve(listener.name, sock, peer, refused)
                else:
                    self._worker.turn_away(listener.name, sock, peer, refused, is_told=is_plaintext)

    def _paused(self, address: BindAddress, error: OSError) -> None:
        acceptor, listener = self._open[address]
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
