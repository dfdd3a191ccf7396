"""Handshakes that come about, and what is said of those that do not."""

import asyncio
import errno
import socket
import ssl
from typing import Any

import pytest
from rig.pki import Pki
from rig.planes import on_both_planes, reset, tcp_pair, until

from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Ending, PeerLostError
from tlsproxy.net.plane import Nap, Plane, Waiter
from tlsproxy.net.tls import handshake as handshake_room
from tlsproxy.net.tls.handshake import HandshakeError, accept_tls, connect_tls, facts, peek_hello, refuse_alpn


def client_hello(context: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="mail.example").do_handshake()
    return outgoing.read()


@on_both_planes
async def test_between_two_of_ours(
    plane: Plane, closing: Any, ends: Any, rig_pki: Pki, server_context: ssl.SSLContext, tls_version: ssl.TLSVersion
) -> None:
    ours, theirs = tcp_pair(closing)
    context = rig_pki.client_context(tls_version)
    context.set_alpn_protocols(["imap"])
    server, client = await asyncio.gather(
        accept_tls(Waiter(plane, ours.fileno(), Nap()), ours, server_context),
        connect_tls(plane, theirs, context, "localhost"),
    )
    found = [facts(ends(endpoint)) for endpoint in (server, client)]
    assert found[0] == found[1]
    assert (found[0].alpn, found[0].is_resumed) == ("imap", False)
    assert found[0].version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[tls_version.name]
    assert found[0].cipher
    server.push(b"hello")
    assert await client.receive() == b"hello"


@on_both_planes
async def test_server_that_is_not_trusted(
    plane: Plane, closing: Any, rig_pki: Pki, server_context: ssl.SSLContext
) -> None:
    ours, theirs = tcp_pair(closing)
    server = asyncio.create_task(accept_tls(Waiter(plane, ours.fileno(), Nap()), ours, server_context))
    with pytest.raises(HandshakeError) as caught:
        await connect_tls(plane, theirs, rig_pki.client_context(), "other.example")
    assert caught.value.reason is Reason.CERTIFICATE_REJECTED
    assert "other.example" in caught.value.detail
    with pytest.raises(HandshakeError) as caught:
        await server
    assert caught.value.reason is Reason.CERTIFICATE_REJECTED


@on_both_planes
async def test_peer_that_leaves(plane: Plane, closing: Any, server_context: ssl.SSLContext) -> None:
    for leave, ending in ((socket.socket.close, Ending.CLOSED), (reset, Ending.RESET)):
        ours, theirs = tcp_pair(closing)
        accepting = asyncio.create_task(accept_tls(Waiter(plane, ours.fileno(), Nap()), ours, server_context))
        await asyncio.sleep(0)
        leave(theirs)
        with pytest.raises(PeerLostError) as caught:
            await accepting
        assert caught.value.ending is ending


@on_both_planes
async def test_peer_that_is_gone_already(plane: Plane, closing: Any, server_context: ssl.SSLContext) -> None:
    ours, theirs = tcp_pair(closing)
    reset(theirs)
    try:
        await accept_tls(Waiter(plane, ours.fileno(), Nap()), ours, server_context)
    except PeerLostError as lost:
        ending = lost.ending  # to hold the error would hold the half-made TLS socket
    assert ending is Ending.RESET


@on_both_planes
async def test_deadline_closes_the_socket(plane: Plane, closing: Any, server_context: ssl.SSLContext) -> None:
    ours, theirs = tcp_pair(closing)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await accept_tls(Waiter(plane, ours.fileno(), Nap()), ours, server_context)
    assert await asyncio.get_running_loop().sock_recv(theirs, 1) == b""


class Handshake:
    """A TLS socket whose handshake goes as it is told."""

    def __init__(self, sock: socket.socket, *steps: Exception) -> None:
        self.sock, self.steps = sock, list(steps)
        self.is_closed = False

    def fileno(self) -> int:
        return self.sock.fileno()

    def do_handshake(self) -> None:
        if self.steps:
            raise self.steps.pop(0)

    def close(self) -> None:
        self.is_closed = True


@on_both_planes
async def test_full_socket_is_waited_for(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    theirs.send(b"x")
    tls = Handshake(ours, ssl.SSLWantWriteError(), ssl.SSLWantReadError(), ssl.SSLWantWriteError())
    waiter = Waiter(plane, ours.fileno(), Nap())
    await handshake_room._shake_hands(waiter, tls)  # type: ignore[arg-type] # a fake
    assert tls.steps == []
    waiter.close()


@pytest.mark.parametrize(
    ("error", "ending"),
    [(OSError(errno.ETIMEDOUT, ""), Ending.TIMED_OUT), (OSError(errno.ECONNRESET, ""), Ending.RESET)],
)
@on_both_planes
async def test_errors_of_the_socket(plane: Plane, closing: Any, error: OSError, ending: Ending) -> None:
    ours, _ = tcp_pair(closing)
    tls = Handshake(ours, error)
    with pytest.raises(PeerLostError) as caught:
        await handshake_room._handshake(Waiter(plane, ours.fileno(), Nap()), tls, tls)  # type: ignore[arg-type] # a fake
    assert caught.value.ending is ending
    assert tls.is_closed


def test_reasons() -> None:
    def judged(text: str | None) -> tuple[Reason, str]:
        error = ssl.SSLError(1, "x")
        error.reason = text  # type: ignore[assignment] # None where OpenSSL gave no reason
        found = handshake_room._judged(error)
        return found.reason, found.detail

    assert judged("UNSUPPORTED_PROTOCOL") == (Reason.TLS_VERSION_TOO_OLD, "unsupported_protocol")
    assert judged("NO_SHARED_CIPHER") == (Reason.NO_SHARED_CIPHER, "no_shared_cipher")
    assert judged("BAD_EXTENSION") == (Reason.HANDSHAKE_FAILED, "bad_extension")
    assert judged(None) == (Reason.HANDSHAKE_FAILED, "unknown")


@on_both_planes
async def test_hello_is_looked_at_and_left(plane: Plane, closing: Any, rig_pki: Pki) -> None:
    ours, theirs = tcp_pair(closing)
    hello = client_hello(rig_pki.client_context())
    looking = asyncio.create_task(peek_hello(Waiter(plane, ours.fileno(), Nap()), ours))
    theirs.send(hello[:3])
    await until(lambda: ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) > 1)
    theirs.send(hello[3:40])
    await asyncio.sleep(0)
    theirs.send(hello[40:])
    found = await looking
    assert found is not None
    assert found.server_name == "mail.example"
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    assert ours.recv(65536) == hello


@on_both_planes
async def test_hello_that_breaks_off(plane: Plane, closing: Any, rig_pki: Pki) -> None:
    hello = client_hello(rig_pki.client_context())
    ours, theirs = tcp_pair(closing)
    theirs.send(hello[:50])
    theirs.close()
    assert await peek_hello(Waiter(plane, ours.fileno(), Nap()), ours) is None, "OpenSSL will judge it"
    ours, theirs = tcp_pair(closing)
    theirs.close()
    with pytest.raises(PeerLostError) as caught:
        await peek_hello(Waiter(plane, ours.fileno(), Nap()), ours)
    assert caught.value.ending is Ending.CLOSED
    ours, theirs = tcp_pair(closing)
    reset(theirs)
    with pytest.raises(PeerLostError) as caught:
        await peek_hello(Waiter(plane, ours.fileno(), Nap()), ours)
    assert caught.value.ending is Ending.RESET


@on_both_planes
async def test_event_that_was_for_another(plane: Plane, closing: Any, rig_pki: Pki) -> None:
    """Woken without a byte: it waits on."""
    ours, theirs = tcp_pair(closing)
    hello = client_hello(rig_pki.client_context())

    class Early:
        """A plane that wakes its first watcher for nothing."""

        buffer = plane.buffer
        is_first = True

        def watch(self, fd: int, watcher: Any, events: int) -> None:
            plane.watch(fd, watcher, events)
            if events and Early.is_first:
                Early.is_first = False
                asyncio.get_running_loop().call_soon(watcher.ready, events)
                asyncio.get_running_loop().call_later(0.01, theirs.send, hello)

    assert await peek_hello(Waiter(Early(), ours.fileno(), Nap()), ours) is not None


def test_alpn_is_refused_with_an_alert(closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    theirs.send(b"hello")
    refuse_alpn(ours)
    assert theirs.recv(100) == b"\x15\x03\x01\x00\x02\x02\x78"
    reset(theirs)
    refuse_alpn(ours)
