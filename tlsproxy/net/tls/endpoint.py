"""A peer behind TLS: OpenSSL works on the socket itself, so that nothing is kept for a peer that keeps up.

A memory BIO, and every TLS transport of an event loop, keeps its high-water mark for the life of the connection; a
socket BIO keeps nothing.
"""

import contextlib
import socket
import ssl
from functools import partial
from typing import Any, Final, NoReturn

from tlsproxy.net.endpoint import Ending, Endpoint, ending_of
from tlsproxy.net.plane import READ, WRITE, Plane

# The most plaintext one record holds (RFC 8446 §5.1, RFC 5246 §6.2.1): a read of it empties OpenSSL's buffer, so
# that nothing is left where epoll cannot see it.
_RECORD_BYTES: Final = 16384


Tls = Any
"""An SSLSocket, or the undocumented object inside, which has some of its methods."""


class TlsEndpoint(Endpoint):
    """A peer behind TLS, the handshake done: OpenSSL works on the socket itself, so nothing is kept here."""

    __slots__ = ("_decrypt", "_encrypt", "_has_finished", "tls")

    def __init__(self, plane: Plane, sock: socket.socket, tls: Tls, watched: int = 0) -> None:
        """Take over a connection after its handshake.

        Args:
            plane: Who watches it.
            sock: The socket, owned by the endpoint from now on.
            tls: OpenSSL on it.
            watched: See Endpoint.
        """
        super().__init__(plane, sock, watched)
        self.tls = tls
        self._has_finished = False
        self._decrypt, self._encrypt = tls.read, tls.write

    def _read(self) -> None:
        size = 0
        try:
            size = got = self._decrypt(_RECORD_BYTES, self._view)
            while got == _RECORD_BYTES and size + _RECORD_BYTES <= len(self._view):
                got = self._decrypt(_RECORD_BYTES, self._view[size:])
                size += got
        except (ssl.SSLWantReadError, BlockingIOError):
            got = -1
        except ssl.SSLEOFError:
            got = 0
        except (OSError, ValueError) as error:  # ValueError: both close_notify are exchanged
            if not isinstance(error, ssl.SSLWantWriteError):
                self._broke_off(error, size)
                return
            # A KeyUpdate's answer found the socket full (RFC 8446 §4.6.3): read again when it can be sent.
            self.watch(self._events & ~READ | WRITE)
            self._stalled = READ
            got = -1
        if size:
            self.bytes_in += size
            self.sink(size)
        if not got:  # a close_notify may stand alone, without a FIN that would wake us again
            self.end(self._closed_or_reset())

    def _broke_off(self, error: OSError | ValueError, size: int) -> None:
        if size:  # what came before it; OpenSSL tells the error only once
            self.bytes_in += size
            self.sink(size)
        self.end(_tls_ending_of(error))

    def _closed_or_reset(self) -> Ending:
        """Python's ssl tells a reset as an end of file; a socket that was reset has no peer any more."""
        if self._has_finished:
            return Ending.CLOSED
        try:
            self.sock.getpeername()
        except OSError:
            return Ending.RESET
        return Ending.CLOSED

    def _send(self, data: memoryview | bytes) -> bytes:
        is_long = len(data) > _RECORD_BYTES
        if is_long:  # several records in as few segments as possible: measured at 7 to 10 % of a download
            self._cork(1)
        try:
            self._encrypt(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            return bytes(data)  # OpenSSL wants the whole chunk again, the same bytes
        except (OSError, ValueError) as error:
            ending = _tls_ending_of(error)
            # Nobody closes a connection by being written to: the peer is gone, whatever OpenSSL calls it.
            self.end(Ending.RESET if ending is Ending.CLOSED else ending)
            return b""
        finally:
            if is_long:
                self._cork(0)
        self.bytes_out += len(data)
        return b""

    def _cork(self, value: int) -> None:
        with contextlib.suppress(OSError):  # only an optimisation; the write that follows names the error
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, value)

    def say_goodbye(self) -> None:
        """Send close_notify (RFC 8446 §6.1) without waiting for the peer's, then FIN.

        What the peer still sends is read away undecrypted: OpenSSL takes data after close_notify for an attack. For the
        same reason a side that only finished writing says FIN alone: close_notify of TLS 1.2 asks the peer to throw
        away what it has not sent yet (RFC 5246 §7.2.1).
        """
        with contextlib.suppress(OSError, ValueError):  # wants the peer's close_notify, or the peer is gone
            (self.tls.unwrap if isinstance(self.tls, ssl.SSLSocket) else self.tls.shutdown)()
        # Not a method of ours: a cycle would wait for the garbage collector.
        self._decrypt, self._encrypt = partial(_read_away, self.sock), _refuse
        self.finish_writing()

    def finish_writing(self) -> None:
        """Close our side with a FIN; the peer may still talk."""
        self._has_finished = True
        super().finish_writing()

    def close(self) -> None:
        """Close at once; OpenSSL's own methods must not be called on a number that may be given anew."""
        self._decrypt = self._encrypt = _refuse
        super().close()


def accepting(sock: socket.socket, context: ssl.SSLContext) -> tuple[socket.socket, Tls]:
    """OpenSSL on an accepted connection, its handshake still to be made.

    An SSLSocket asks the kernel six things that are known, and takes a kilobyte for as long as it lives.

    Args:
        sock: The connection.
        context: With the certificate to show.

    Returns:
        The socket to go on with, and OpenSSL's side of it.

    Raises:
        OSError: The peer has left already.
    """
    wrap = getattr(context, "_wrap_socket", None)  # any other Python may have none
    if wrap is not None:
        return sock, wrap(sock, True)  # noqa: FBT003 - it takes no keyword: on the server's side
    tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    return tls, inner_of(tls)


def inner_of(sock: ssl.SSLSocket) -> Tls:
    """The object inside: the public methods only call its own, at 2 µs a round trip and two system calls a handshake.

    Its ``read`` tells an end of file without close_notify as an error, and ``do_handshake`` leaves the socket as it is.
    """
    inner = getattr(sock, "_sslobj", None)  # any other Python may have none
    return sock if inner is None else inner


def _refuse(*_: object) -> NoReturn:
    raise ValueError("nothing more is read or written here")


def _read_away(sock: socket.socket, _limit: int, view: memoryview) -> int:
    return socket.socket.recv_into(sock, view)


def _tls_ending_of(error: OSError | ValueError) -> Ending:
    match error:
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Ending.CLOSED
        case ssl.SSLError():
            return Ending.TLS_BROKEN
        case OSError():
            return ending_of(error)
        case _:
            return Ending.CLOSED
