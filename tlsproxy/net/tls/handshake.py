"""The handshake on both legs, and what can be said of one that failed; must not know mail."""

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Ending, PeerLostError, ending_of
from tlsproxy.net.plane import READ, WRITE, Plane, Waiter, ready_for
from tlsproxy.net.tls.client_hello import ClientHello, NeedMore, NotTls, NotTlsKind, examine
from tlsproxy.net.tls.endpoint import TlsEndpoint, inner_of

_PEEK_BYTES: Final = 20 * 1024
# A fatal alert "no_application_protocol" in a record of its own (RFC 7301 §3.2, RFC 8446 §6).
_NO_APPLICATION_PROTOCOL: Final = b"\x15\x03\x01\x00\x02\x02\x78"

_NOT_TLS: Final = {NotTlsKind.HTTP: Reason.HTTP_ON_TLS_PORT, NotTlsKind.PLAINTEXT: Reason.PLAINTEXT_ON_TLS_PORT}
# OpenSSL's reason strings (ERR_reason_error_string) that tell an administrator something.
_REASONS: Final = {
    "HTTP_REQUEST": Reason.HTTP_ON_TLS_PORT,
    "WRONG_VERSION_NUMBER": Reason.PLAINTEXT_ON_TLS_PORT,
    "UNSUPPORTED_PROTOCOL": Reason.TLS_VERSION_TOO_OLD,
    "VERSION_TOO_LOW": Reason.TLS_VERSION_TOO_OLD,
    "TLSV1_ALERT_PROTOCOL_VERSION": Reason.TLS_VERSION_TOO_OLD,
    "NO_SHARED_CIPHER": Reason.NO_SHARED_CIPHER,
    "TLSV1_ALERT_UNKNOWN_CA": Reason.CERTIFICATE_REJECTED,
    "SSLV3_ALERT_BAD_CERTIFICATE": Reason.CERTIFICATE_REJECTED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": Reason.CERTIFICATE_REJECTED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": Reason.CERTIFICATE_REJECTED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": Reason.CERTIFICATE_REJECTED,
}


class _PeekedShortError(Exception):
    """Woken before enough was there: the client has closed behind it, or the kernel is short of memory."""


class HandshakeError(Exception):
    """A handshake that did not come about; caught where the session ends."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What was agreed on."""

    version: str | None
    cipher: str | None
    alpn: str | None
    is_resumed: bool


async def peek_hello(plane: Plane, sock: socket.socket) -> ClientHello | None:
    """Look at the client's first flight without taking it from the socket.

    Returns:
        What it says, or None if it cannot be seen whole: OpenSSL will judge it.

    Raises:
        HandshakeError: It is no TLS.
        PeerLostError: The client left.
    """
    needed = 1
    try:
        while True:
            finding = examine(await _peek(plane, sock, needed))
            if not isinstance(finding, NeedMore):
                break
            # Sleep until that much is there; without it epoll would report the same bytes for ever.
            needed = finding.total_bytes
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, needed)
    except _PeekedShortError:
        return None
    except OSError as error:
        raise PeerLostError(ending_of(error)) from error
    finally:
        if needed > 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    if isinstance(finding, NotTls):
        reason = _NOT_TLS.get(finding.kind, Reason.HANDSHAKE_FAILED)
        raise HandshakeError(reason, f"first bytes are {finding.kind}")
    return finding


async def _peek(plane: Plane, sock: socket.socket, needed: int) -> bytes:
    if needed > 1:  # what is there is known already
        await ready_for(plane, sock.fileno(), READ)
    try:
        data = sock.recv(_PEEK_BYTES, socket.MSG_PEEK)
    except BlockingIOError:  # nothing yet; or a descriptor's number was given anew within one batch of events
        await ready_for(plane, sock.fileno(), READ)
        return await _peek(plane, sock, needed)
    if not data:
        raise PeerLostError(Ending.CLOSED)
    if len(data) < needed:
        raise _PeekedShortError
    return data


def refuse_alpn(sock: socket.socket) -> None:
    """Tell a client that none of its protocols is spoken here."""
    with contextlib.suppress(OSError):  # a courtesy; the connection ends either way
        sock.recv(_PEEK_BYTES)  # closing over unread bytes would reset the connection and lose the alert
        sock.send(_NO_APPLICATION_PROTOCOL)


async def accept_tls(plane: Plane, sock: socket.socket, context: ssl.SSLContext) -> TlsEndpoint:
    """Make the server's side of a handshake.

    Raises:
        HandshakeError: It failed.
        PeerLostError: The client left.
    """
    tls = _wrapped(sock, lambda: context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False))
    return await _handshake(plane, tls)


async def connect_tls(
    plane: Plane, sock: socket.socket, context: ssl.SSLContext, server_name: str | None
) -> TlsEndpoint:
    """Make the client's side of a handshake, towards a backend.

    Raises:
        HandshakeError: It failed, or the backend's certificate is not accepted.
        PeerLostError: The backend left.
    """
    tls = _wrapped(sock, lambda: context.wrap_socket(sock, do_handshake_on_connect=False, server_hostname=server_name))
    return await _handshake(plane, tls)


def facts(endpoint: TlsEndpoint) -> TlsFacts:
    """What an established connection agreed on."""
    tls = endpoint.tls
    cipher = tls.cipher()
    return TlsFacts(
        version=tls.version(),
        cipher=cipher[0] if cipher else None,
        alpn=tls.selected_alpn_protocol(),
        is_resumed=bool(tls.session_reused),
    )


def _wrapped(sock: socket.socket, wrap: Callable[[], ssl.SSLSocket]) -> ssl.SSLSocket:
    try:
        sock.getpeername()  # asked here too: an SSLSocket that finds it out half-made is left to the garbage collector
        return wrap()
    except OSError as error:  # the peer reset the connection just now: the socket has no peer's name any more
        raise PeerLostError(Ending.RESET) from error


async def _handshake(plane: Plane, tls: ssl.SSLSocket) -> TlsEndpoint:
    waiter = Waiter(plane, tls.fileno())
    try:
        await _shake_hands(waiter, tls)
    except BaseException as error:  # a deadline or a stop as well; nobody else holds this socket
        waiter.close()
        tls.close()
        if isinstance(error, OSError):
            raise _judged(error) from error
        raise
    return TlsEndpoint(plane, tls, waiter.watched)


async def _shake_hands(waiter: Waiter, tls: ssl.SSLSocket) -> None:
    do_handshake = inner_of(tls).do_handshake
    while True:
        try:
            do_handshake()
        except ssl.SSLWantReadError:
            await waiter.wait(READ)
        except ssl.SSLWantWriteError:
            await waiter.wait(WRITE)
        else:
            return


def _judged(error: OSError) -> HandshakeError | PeerLostError:
    match error:
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return PeerLostError(Ending.CLOSED)
        case ssl.SSLCertVerificationError():
            return HandshakeError(Reason.CERTIFICATE_REJECTED, error.verify_message)
        case ssl.SSLError():
            name = error.reason or "UNKNOWN"
            return HandshakeError(_REASONS.get(name, Reason.HANDSHAKE_FAILED), name.lower())
        case _:
            return PeerLostError(ending_of(error))
