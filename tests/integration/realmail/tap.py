"""A listener between proxy and old server that passes every byte on and remembers it; changes nothing."""

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Final

_CHUNK_BYTES: Final = 1 << 18
_DEADLINE_S: Final = 120.0


@dataclass(slots=True, eq=False)
class Tapped:
    """One connection that the proxy made to the old server."""

    source_port: int
    is_over: threading.Event = field(default_factory=threading.Event)
    """Set when both directions have ended: nothing more will come."""
    from_proxy: bytearray = field(default_factory=bytearray)
    from_backend: bytearray = field(default_factory=bytearray)

    @property
    def lines(self) -> list[bytes]:
        """What the old server was told, line by line."""
        return bytes(self.from_proxy).splitlines()


class Tap:
    """Forwards 127.0.0.1:port to the backend's port."""

    def __init__(self, backend_port: int) -> None:
        self._backend_port = backend_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tapped: list[Tapped] = []
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    @property
    def port(self) -> int:
        """Where the proxy is to be sent."""
        port: int = self._listener.getsockname()[1]
        return port

    def mark(self) -> int:
        """A point in time, for ``since``."""
        return len(self._tapped)

    def since(self, mark: int) -> list[Tapped]:
        """The connections made after a mark."""
        return self._tapped[mark:]

    def close(self) -> None:
        """End every connection and thread."""
        # shutdown wakes the thread in accept, close alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in tuple(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in tuple(self._threads):
            thread.join(_DEADLINE_S)

    def _spawn(self, target: object, *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # any of ours
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                proxy, (_, source_port) = self._listener.accept()
            except OSError:
                return
            tapped = Tapped(source_port)
            self._tapped.append(tapped)
            self._spawn(self._serve, proxy, tapped)

    def _serve(self, proxy: socket.socket, tapped: Tapped) -> None:
        try:
            backend = socket.create_connection(("127.0.0.1", self._backend_port), 5)
        except OSError:
            # The old server is down: the proxy sees a reset, as near to a refused connect as a listener can come.
            proxy.close()
            tapped.is_over.set()
            return
        backend.settimeout(None)
        self._sockets |= {proxy, backend}
        with proxy, backend:
            back = self._spawn(_pump, backend, proxy, tapped.from_backend)
            _pump(proxy, backend, tapped.from_proxy)
            back.join()
        self._sockets -= {proxy, backend}
        tapped.is_over.set()


def _pump(source: socket.socket, target: socket.socket, memory: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            memory += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
