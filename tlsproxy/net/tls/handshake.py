"""The handshake on both legs, and what can be said of one that failed; must not know mail."""

import contextlib
import socket
import ssl
from sys import intern
from typing import Final, NamedTuple

from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Ending, PeerLostError, ending_of
from tlsproxy.net.plane import READ, WRITE, Nap, Plane, Waiter
from tlsproxy.net.tls.client_hello import ClientHello, NeedMore, NotTls, NotTlsKind, examine
from tlsproxy.net.tls.endpoint import Tls, TlsEndpoint, accepting, inner_of

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


class TlsFacts(NamedTuple):
    """What was agreed on; one string for all connections that agreed on the same, and hold it for hours."""

    version: str | None
    cipher: str | None
    alpn: str | None
    is_resumed: bool


async def peek_hello(waiter: Waiter, sock: socket.socket) -> ClientHello | None:
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
            finding = examine(await _peek(waiter, sock, needed))
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


async def _peek(waiter: Waiter, sock: socket.socket, needed: int) -> bytes:
    if needed > 1:  # what is there is known already
        await waiter.wait(READ)
    try:
        data = sock.recv(_PEEK_BYTES, socket.MSG_PEEK)
    except BlockingIOError:  # nothing yet; or a descriptor's number was given anew within one batch of events
        await waiter.wait(READ)
        return await _peek(waiter, sock, needed)
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


async def accept_tls(waiter: Waiter, sock: socket.socket, context: ssl.SSLContext) -> TlsEndpoint:
    """Make the server's side of a handshake.

    Args:
        waiter: Waits for the socket; its plane watches it afterwards.
        sock: The connection; if this fails it may be closed already, and has to be closed all the same.
        context: With the certificate to show.

    Raises:
        HandshakeError: It failed.
        PeerLostError: The client left.
    """
    try:
        sock, tls = accepting(sock, context)
    except OSError as error:  # reset just now
        raise PeerLostError(Ending.RESET) from error
    return await _handshake(waiter, sock, tls)


async def connect_tls(
    plane: Plane, sock: socket.socket, context: ssl.SSLContext, server_name: str | None
) -> TlsEndpoint:
    """Make the client's side of a handshake, towards a backend.

    Raises:
        HandshakeError: It failed, or the backend's certificate is not accepted.
        PeerLostError: The backend left.
    """
    try:
        sock.getpeername()  # asked here too: an SSLSocket that finds it out half-made is left to the garbage collector
        tls = context.wrap_socket(sock, do_handshake_on_connect=False, server_hostname=server_name)
    except OSError as error:  # the peer reset the connection just now: the socket has no peer's name any more
        raise PeerLostError(Ending.RESET) from error
    return await _handshake(Waiter(plane, tls.fileno(), Nap()), tls, inner_of(tls))


def facts(endpoint: TlsEndpoint) -> TlsFacts:
    """What an established connection agreed on."""
    tls = endpoint.tls
    version, cipher = tls.version(), tls.cipher()
    return TlsFacts(
        intern(version) if version else None,
        intern(cipher[0]) if cipher else None,
        tls.selected_alpn_protocol(),
        bool(tls.session_reused),
    )


async def _handshake(waiter: Waiter, sock: socket.socket, tls: Tls) -> TlsEndpoint:
    try:
        await _shake_hands(waiter, tls)
    except BaseException as error:  # a deadline or a stop as well; nobody else holds an SSLSocket
        waiter.close()
        sock.close()
        if isinstance(error, OSError):
            raise _judged(error) from error
        raise
    return TlsEndpoint(waiter.plane, sock, tls, waiter.watched)


async def _shake_hands(waiter: Waiter, tls: Tls) -> None:
    do_handshake = tls.do_handshake
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
