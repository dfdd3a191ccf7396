"""Clients that come and go without end while something else happens to the program; nobody of them may be refused."""

import socket
import ssl
import threading
from collections import Counter
from types import TracebackType
from typing import Final, Self

_WITHIN_S: Final = 20.0


class Visitors:
    """Threads that connect, hear the greeting and leave, over and over; use as a context manager."""

    def __init__(self, port: int, count: int = 2, context: ssl.SSLContext | None = None) -> None:
        """Come from 127.0.1.1 and its neighbours; with a context, make a TLS handshake and note the certificate."""
        self._port = port
        self._context = context
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(f"127.0.1.{n + 1}",)) for n in range(count)]
        self.failures: list[str] = []
        self.served: Counter[str] = Counter()
        """Visits that went well, by what was seen: the greeting's first word, or the certificate's serial number."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert not self.failures, self.failures
            assert self.served.total(), "nobody came"

    @property
    def count(self) -> int:
        return self.served.total()

    def _visit(self, source: str) -> None:
        while not self._is_over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), _WITHIN_S, (source, 0)) as sock:
                    self.served[self._look(sock)] += 1
            except (OSError, AssertionError) as error:
                self.failures.append(f"{source}: {error!r}")

    def _look(self, sock: socket.socket) -> str:
        if self._context is None:
            word = sock.recv(100)[:4]
            assert word == b"* OK", word
            return word.decode()
        with self._context.wrap_socket(sock, server_hostname="localhost") as tls:
            found: str = tls.getpeercert()["serialNumber"]
            return found
