"""Old servers on a bad day, which no real one has on command: they say what they say and then nothing more."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Broken:
    """Accepts, says a few bytes, and hangs up or keeps silent; use as a context manager."""

    def __init__(self, words: bytes, *, hangs_up: bool) -> None:
        """Serve from when it is entered.

        Args:
            words: What it says to whoever connects.
            hangs_up: Whether that is all; or else it listens, and answers nothing.
        """
        self._words = words
        self._hangs_up = hangs_up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._listener, *self._sockets):
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                client.sendall(self._words)
            if self._hangs_up:
                client.close()
            else:
                self._sockets.append(client)
