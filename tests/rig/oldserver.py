"""An old mail server for many clients at once: greets, and says OK to every line; in a thread of its own."""

import selectors
import socket
import threading
from types import TracebackType
from typing import Final, Self

GREETING: Final = b"* OK old\r\n"


class OldServer:
    """Use as a context manager."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._awake = socket.socketpair()
        self._selector.register(self._awake, selectors.EVENT_READ)
        self._heard: dict[socket.socket, bytes] = {}
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.send(b"x")
        self._thread.join()
        self._selector.close()
        for sock in (self._listener, self._wake, self._awake, *self._heard):
            sock.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._awake:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._answer(key.fileobj)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
            sock.sendall(GREETING)
        except OSError:
            return  # it went again
        self._heard[sock] = b""
        self._selector.register(sock, selectors.EVENT_READ)

    def _answer(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
            *lines, self._heard[sock] = (self._heard[sock] + data).split(b"\r\n")
            for line in lines:
                sock.sendall(line.partition(b" ")[0] + b" OK done\r\n")
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(sock)
            del self._heard[sock]
            sock.close()
