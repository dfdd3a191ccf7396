"""Peers scripted by hand, on blocking sockets: a client, and a backend that does exactly what a test says."""

import socket
import ssl
import struct
from types import TracebackType
from typing import Final, Self

WITHIN_S: Final = 20.0


class Peer:
    """A connected socket that is read by lines."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(WITHIN_S)
        self._heard = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        """The next line, or what there is before the end."""
        while b"\n" not in self._heard:
            data = self.sock.recv(65536)
            if not data:
                break
            self._heard += data
        line, newline, self._heard = self._heard.partition(b"\n")
        return line + newline

    def lines(self, count: int) -> list[bytes]:
        return [self.line() for _ in range(count)]

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._heard) < size:
            data = self.sock.recv(65536)
            if not data:
                break
            self._heard += data
        taken, self._heard = self._heard[:size], self._heard[size:]
        return taken

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        while data := self.sock.recv(65536):
            self._heard += data
        rest, self._heard = self._heard, b""
        return rest

    def secure(self, context: ssl.SSLContext, server_name: str = "localhost") -> None:
        """Become a TLS client."""
        assert self._heard == b""
        self.sock = context.wrap_socket(self.sock, server_hostname=server_name)

    def secure_as_server(self, context: ssl.SSLContext) -> None:
        assert self._heard == b""
        self.sock = context.wrap_socket(self.sock, server_side=True)

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.sock.close()


def dial(port: int, host: str = "127.0.0.1", source: str | None = None) -> Peer:
    return Peer(socket.create_connection((host, port), WITHIN_S, (source, 0) if source else None))


class ScriptedBackend:
    """A listening socket; the test accepts by hand."""

    def __init__(self, port: int = 0) -> None:
        self._sock = socket.create_server(("127.0.0.1", port))
        self._sock.settimeout(WITHIN_S)
        self.port: int = self._sock.getsockname()[1]
        self._accepted: list[Peer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def accept(self, greeting: bytes = b"") -> Peer:
        sock, _ = self._sock.accept()
        peer = Peer(sock)
        self._accepted.append(peer)
        if greeting:
            peer.send(greeting)
        return peer

    def has_visitor(self, within_s: float = 0.1) -> bool:
        """Whether anybody knocks; takes the visitor away."""
        self._sock.settimeout(within_s)
        try:
            self._sock.accept()[0].close()
        except TimeoutError:
            return False
        finally:
            self._sock.settimeout(WITHIN_S)
        return True

    def forget(self) -> None:
        """Close every accepted connection."""
        for peer in self._accepted:
            peer.close()
        self._accepted.clear()

    def close(self) -> None:
        self._sock.close()
        self.forget()
