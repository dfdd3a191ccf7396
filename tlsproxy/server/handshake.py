"""A client's handshake, and what is written down of it; the deadline is the caller's."""

from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Endpoint
from tlsproxy.net.plane import Rest, Waiter
from tlsproxy.net.tls.contexts import ServerTls
from tlsproxy.net.tls.endpoint import TlsEndpoint
from tlsproxy.net.tls.handshake import HandshakeError, accept_tls, peek_hello, refuse_alpn
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.ending import SessionEndedError


async def shake_hands(plain: Endpoint, server_tls: ServerTls, chronicle: Chronicle, rest: Rest) -> TlsEndpoint:
    """Put TLS on a client's connection.

    Args:
        plain: The client in plaintext; worth nothing any more afterwards.
        server_tls: The certificates to choose from.
        chronicle: Gets to know what was agreed on, or why nothing was.
        rest: How the caller waits.

    Raises:
        SessionEndedError: It failed.
        PeerLostError: The client left.
    """
    sock = plain.detach()
    waiter = Waiter(plain.plane, plain.fd, rest)
    try:
        hello = await peek_hello(waiter, sock)
        chronicle.summary.tls_sni = hello.server_name if hello is not None else None
        client = await accept_tls(waiter, sock, server_tls.context_for(hello))
    except BaseException as error:
        waiter.close()
        if not isinstance(error, HandshakeError):
            raise
        chronicle.summary.tls_error = error.detail
        if error.reason is Reason.ALPN_MISMATCH:
            refuse_alpn(sock)
        raise SessionEndedError(error.reason) from error
    client.bytes_in, client.bytes_out = plain.bytes_in, plain.bytes_out
    chronicle.secured(client)
    return client
