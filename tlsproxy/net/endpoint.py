"""One peer on a non-blocking socket: reads into the shared buffer, keeps only what did not fit.

Knows no TLS (``net.tls.endpoint`` adds it), no mail and no other endpoint. ``sink``, ``on_end`` and ``on_drained`` are
set by whoever talks to the peer: a dialogue awaits ``receive``, a relay sets callbacks. Nothing is buffered for a peer
that keeps up.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from enum import StrEnum

from tlsproxy.net.plane import READ, WRITE, Plane


class Ending(StrEnum):
    """How a peer left."""

    CLOSED = "closed"
    RESET = "reset"
    TIMED_OUT = "timed_out"
    TLS_BROKEN = "tls_broken"
    INTERNAL = "internal"


class PeerLostError(Exception):
    """The peer left otherwise than by closing; caught where the session ends."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


class Endpoint:
    """A peer in plaintext; the interface of the one with TLS."""

    __slots__ = (
        "_events",
        "_stalled",
        "_view",
        "_watched",
        "bytes_in",
        "bytes_out",
        "ending",
        "error",
        "fd",
        "on_drained",
        "on_end",
        "plane",
        "sink",
        "sock",
        "unsent",
    )

    def __init__(self, plane: Plane, sock: socket.socket, watched: int = 0) -> None:
        """Take over a socket.

        Args:
            plane: Who watches it.
            sock: Owned by the endpoint from now on.
            watched: The events that the plane watches it for already; nothing is read before ``resume`` all the same.
        """
        self.plane = plane
        self.sock = sock
        self.fd = sock.fileno()
        self._view = plane.buffer
        self.unsent = b""
        """What the peer has not taken yet."""
        self._events = 0
        self._watched = watched
        self._stalled = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.ending: Ending | None = None
        self.error: Exception | None = None
        self.sink: Callable[[int], None] = _ignore_bytes
        self.on_end: Callable[[Ending], None] = _ignore_ending
        self.on_drained: Callable[[], None] = _ignore
        if watched:
            plane.watch(self.fd, self, watched)

    # Reading.

    def resume(self) -> None:
        """Read from now on; bytes go to ``sink``."""
        if self.ending is None:
            self.watch(self._events | READ)

    def pause(self) -> None:
        """Stop reading. The plane is told if the peer speaks meanwhile; mostly ``resume`` comes first."""
        self._stalled = 0
        self._events &= ~READ

    def ready(self, events: int) -> None:
        """See Watcher."""
        if events == READ and self._events & READ:  # what happens nearly always
            self._read()
            return
        if events & WRITE:
            self._flush()
        if events & ~WRITE:
            if self._events & READ:
                self._read()
            else:
                self.watch(self._events)

    def broken(self, error: Exception) -> None:
        """See Watcher."""
        self.error = error
        self.end(Ending.INTERNAL)

    def _read(self) -> None:
        try:
            size = self.sock.recv_into(self._view)
        except BlockingIOError:
            return  # a descriptor's number was given anew within one batch of events
        except OSError as error:
            self.end(ending_of(error))
            return
        if size:
            self.bytes_in += size
            self.sink(size)
        else:
            self.end(Ending.CLOSED)

    # Writing.

    def push(self, data: memoryview | bytes) -> bool:
        """Send at once what fits; keep the rest.

        Returns:
            True if all of it went out and the peer lives. False: stop the source until ``on_drained``.
        """
        if self.unsent:
            self.unsent += data
            return False
        left = self._send(data)
        if left:
            self.unsent = left
            self.watch(self._events | WRITE)
            return False
        return self.ending is None or self.ending is Ending.CLOSED

    def _send(self, data: memoryview | bytes) -> bytes:
        """Send; returns a copy of what is left."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.end(ending_of(error))
            return b""
        self.bytes_out += sent
        return b"" if sent == len(data) else bytes(data[sent:])

    def _flush(self) -> None:
        if self.unsent:
            self.unsent = self._send(self.unsent)
        if not self.unsent and self.ending in {None, Ending.CLOSED}:
            self.watch(self._events & ~WRITE | self._stalled)
            self._stalled = 0
            self.on_drained()

    # Ending.

    def end(self, ending: Ending) -> None:
        """Note the end once; a peer that had only closed its side may still be found gone altogether."""
        if self.ending is None or (self.ending is Ending.CLOSED and ending is not Ending.CLOSED):
            self.ending = ending
            self.watch(self._events & ~READ if ending is Ending.CLOSED else 0)
            if ending is not Ending.CLOSED:
                self.unsent = b""
            self.on_end(ending)

    def say_goodbye(self) -> None:
        """Tell the peer that it is over: nothing more comes, and nothing more is wanted."""
        self.finish_writing()

    def finish_writing(self) -> None:
        """Close our side with a FIN; the peer may still talk."""
        try:
            # Not SSLSocket.shutdown: that would throw the TLS state away while the peer still talks.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        except OSError:
            return  # it is gone already, which is what we wanted to say

    def detach(self) -> socket.socket:
        """Stop watching and give the bare socket away."""
        self.watch(0)
        return self.sock

    def close(self) -> None:
        """Close at once; the only place that closes a peer's descriptor."""
        self.watch(0)
        self.ending = self.ending or Ending.CLOSED
        self.unsent = b""
        self.sock.close()
        self.let_go()

    def let_go(self) -> None:
        """Stop reading and forget the owner; a cycle through its methods would wait for the garbage collector."""
        self._stalled = 0
        self._events &= ~READ
        self.sink, self.on_end, self.on_drained = _ignore_bytes, _ignore_ending, _ignore

    def watch(self, events: int) -> None:
        """Be called for these events only."""
        self._events = events
        if events != self._watched:
            self._watched = events
            self.plane.watch(self.fd, self, events)

    # For dialogues.

    async def receive(self) -> bytes:
        """Wait for the next bytes.

        Returns:
            Up to a buffer's worth; empty when the peer closed.

        Raises:
            PeerLostError: The connection broke.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def deliver(size: int) -> None:
            self.pause()
            _settle(future, bytes(self._view[:size]))

        self.sink = deliver
        self.on_end = lambda _ending: _settle(future, b"")
        if self.ending is None:
            self.resume()
            try:
                data = await future
            finally:
                self.pause()
            if data:
                return data
        self._raise_if_lost()
        return b""

    async def drained(self) -> None:
        """Wait until the peer took everything.

        Raises:
            PeerLostError: The connection broke.
        """
        if self.unsent:
            future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self.on_drained = lambda: _settle(future, b"")
            self.on_end = lambda ending: None if ending is Ending.CLOSED else _settle(future, b"")
            await future
        self._raise_if_lost()

    async def part(self, linger_s: float) -> None:
        """Flush, tell the peer that it is over, and wait for it to leave, all within ``linger_s`` seconds.

        Closing at once would answer whatever the peer still sends with a reset, and a reset overtakes our last words.
        """
        heard = self.bytes_in
        try:
            async with asyncio.timeout(linger_s):
                await self.drained()
                self.say_goodbye()
                while await self.receive():
                    self.bytes_in = heard  # what it said too late was not listened to
        except (TimeoutError, PeerLostError):
            return  # it had its time

    def _raise_if_lost(self) -> None:
        if self.ending not in {None, Ending.CLOSED}:
            raise PeerLostError(self.ending or Ending.RESET)


def _settle(future: "asyncio.Future[bytes]", data: bytes) -> None:
    if not future.done():
        future.set_result(data)


def ending_of(error: OSError) -> Ending:
    """What a socket's error says of the peer."""
    return Ending.TIMED_OUT if error.errno in {errno.ETIMEDOUT, errno.EHOSTUNREACH} else Ending.RESET


def _ignore_bytes(_size: int) -> None: ...


def _ignore_ending(_ending: Ending) -> None: ...


def _ignore() -> None: ...
