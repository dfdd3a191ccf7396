"""A listening socket being read: accepts in batches, pauses when descriptors run out; never looks at bytes."""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

_BATCH: Final = 64  # at most: a flood on one listener must not keep the loop from the others
_PAUSE_S: Final = 1.0
# To be woken for each connection of a flood costs a third of what it takes to accept and close one. Nobody notices so
# short a wait, and even a full batch after each is more than one core can accept.
_REST_S: Final = 0.001
# Nothing is wrong with the listening socket: a resource is used up and will come back (accept(2)).
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# The listening socket itself is unusable.
_FATAL: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})

Accepted = tuple[int, tuple[str, int]]
"""A descriptor, blocking as accept(2) gives it, and the peer's numeric address and port."""


class Acceptor:
    """Hands accepted connections to ``on_connections`` in batches, and every pause to ``on_pause``."""

    def __init__(
        self,
        sock: socket.socket,
        on_connections: Callable[[Sequence[Accepted]], None],
        on_pause: Callable[[OSError], None],
    ) -> None:
        self.sock = sock
        self._accept = accept_of(sock)
        self._on_connections = on_connections
        self._on_pause = on_pause
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._batch = 1
        self._is_open = True
        self._is_held = False
        self._resume()

    def close(self) -> None:
        """Stop accepting and close the listening socket."""
        if self._is_open:
            self._is_open = False
            self._stop()
            self.sock.close()

    def hold(self) -> None:
        """Accept nobody for now; whoever comes waits in the kernel's queue."""
        if self._is_open and not self._is_held:
            self._is_held = True
            self._stop()

    def go_on(self) -> None:
        """Accept again after ``hold``."""
        if self._is_open and self._is_held:
            self._is_held = False
            self._resume()

    def rest(self) -> None:
        """Let connections gather for a moment; whoever is given a batch that was a flood asks for it."""
        if self._is_open and not self._is_held:
            self._stop()
            self._timer = self._loop.call_later(_REST_S, self._rested)

    def _rested(self) -> None:
        self._timer = None
        try:
            self._accept_some()
        finally:
            if self._timer is None and self._is_open and not self._is_held:  # else it rests again, or is paused
                self._resume()

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self.sock.fileno(), self._accept_some)

    def _stop(self) -> None:
        self._loop.remove_reader(self.sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _accept_some(self) -> None:
        accepted: list[Accepted] = []
        exhausted: OSError | None = None
        accept = self._accept
        for _ in range(self._batch):
            try:
                fd, address = accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _EXHAUSTED | _FATAL:
                    exhausted = error
                    break
                continue  # the connection died in the queue (ECONNABORTED and its kind, accept(2))
            accepted.append((fd, address[:2]))
        # To ask once more and hear that nobody is there costs a sixth of a refusal, so as many are asked for as came
        # the last time, and twice as many if that was too few.
        taken = max(len(accepted), 1)
        self._batch = min(2 * taken, _BATCH) if taken == self._batch else taken
        if accepted:
            self._on_connections(accepted)
        if exhausted is not None and self._is_open and not self._is_held:  # else the next try will meet it
            self._pause(exhausted)

    def _pause(self, error: OSError) -> None:
        self._stop()
        self._timer = self._loop.call_later(_PAUSE_S, self._resume)
        self._on_pause(error)


def accept_of(sock: socket.socket) -> Callable[[], tuple[int, Any]]:
    """The cheapest way to accept.

    Args:
        sock: A listening socket.

    Returns:
        What gives a descriptor and the peer's address. ``socket.accept`` makes an object and asks for the default
        time-out on top, which is a sixth of what it costs to accept and close a connection: a flood pays for it.
    """
    bare: Callable[[], tuple[int, Any]] | None = getattr(sock, "_accept", None)
    return bare if bare is not None else lambda: _detached(sock)


def _detached(sock: socket.socket) -> tuple[int, Any]:
    accepted, address = sock.accept()
    return accepted.detach(), address
