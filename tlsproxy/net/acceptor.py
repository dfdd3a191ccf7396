"""A listening socket being read: accepts in batches, pauses when descriptors run out; never looks at bytes."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

_BATCH: Final = 64  # a flood on one listener must not keep the loop from the others
_PAUSE_S: Final = 1.0
# Nothing is wrong with the listening socket: a resource is used up and will come back (accept(2)).
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# The listening socket itself is unusable.
_FATAL: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})


class Acceptor:
    """Hands every accepted connection to ``on_connection`` and every pause to ``on_pause``."""

    def __init__(
        self,
        sock: socket.socket,
        on_connection: Callable[[socket.socket, tuple[str, int]], None],
        on_pause: Callable[[OSError], None],
    ) -> None:
        self.sock = sock
        self._on_connection = on_connection
        self._on_pause = on_pause
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_open = True
        self._resume()

    def close(self) -> None:
        """Stop accepting and close the listening socket."""
        if self._is_open:
            self._is_open = False
            self._stop()
            self.sock.close()

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self.sock.fileno(), self._accept)

    def _stop(self) -> None:
        self._loop.remove_reader(self.sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _accept(self) -> None:
        for _ in range(_BATCH):
            if not self._is_open:
                return
            try:
                sock, address = self.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED | _FATAL:
                    self._pause(error)
                    return
                continue  # the connection died in the queue (ECONNABORTED and its kind, accept(2))
            sock.settimeout(0)
            self._on_connection(sock, address[:2])

    def _pause(self, error: OSError) -> None:
        self._stop()
        self._timer = self._loop.call_later(_PAUSE_S, self._resume)
        self._on_pause(error)
