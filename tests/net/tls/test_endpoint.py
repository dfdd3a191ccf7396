"""A peer behind TLS: record boundaries, full sockets, and every way of leaving."""

import asyncio
import hashlib
import os
import socket
import ssl
from typing import Any, Final

import pytest
from rig.peers import Peer
from rig.planes import Listener, narrow, on_both_planes, reset

from tlsproxy.net.endpoint import Ending, PeerLostError
from tlsproxy.net.plane import BUFFER_BYTES, READ, Plane

RECORD: Final = 16384
MIB: Final = 1 << 20


def raw(client: Peer) -> socket.socket:
    """The client's socket without its TLS, sharing the connection."""
    return socket.socket(fileno=os.dup(client.sock.fileno()))


def send_close_notify(client: Peer) -> None:
    """Without a FIN behind it."""
    client.sock.settimeout(0)
    with pytest.raises(ssl.SSLWantReadError):
        client.sock.unwrap()


@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, 2 * RECORD, BUFFER_BYTES, BUFFER_BYTES + RECORD])
@on_both_planes
async def test_any_size_arrives(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion, size: int) -> None:
    endpoint, client = await shake_hands(plane, tls_version)
    listener = Listener(endpoint)
    endpoint.resume()
    data = os.urandom(size)
    await asyncio.to_thread(client.send, data)
    await listener.hears(data)
    assert endpoint.bytes_in == size
    assert endpoint.ending is None
    endpoint.close()


@on_both_planes
async def test_records_that_wait_together(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    """A full record may have a small one behind it in the kernel, and nothing would announce it a second time."""
    endpoint, client = await shake_hands(plane, tls_version)
    parts = [b"a" * RECORD, b"b", b"c" * RECORD, b"d" * RECORD, b"e" * 7]
    for part in parts:
        client.send(part)
    listener = Listener(endpoint)
    endpoint.resume()
    await listener.hears(b"".join(parts))
    endpoint.close()


@pytest.mark.parametrize("said", [b"", b"bye", b"x" * RECORD, b"x" * (RECORD + 1)])
@on_both_planes
async def test_close_notify_alone_is_an_end(
    plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion, said: bytes
) -> None:
    """No FIN follows that would wake us."""
    endpoint, client = await shake_hands(plane, tls_version)
    if said:
        client.send(said)
    send_close_notify(client)
    listener = Listener(endpoint)
    endpoint.resume()
    await listener.ends(Ending.CLOSED)
    assert listener.heard == said
    endpoint.close()


@on_both_planes
async def test_fin_without_close_notify_is_an_end(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    endpoint, client = await shake_hands(plane, tls_version)
    client.send(b"QUIT\r\n")
    socket.socket.shutdown(client.sock, socket.SHUT_WR)
    listener = Listener(endpoint)
    endpoint.resume()
    await listener.ends(Ending.CLOSED)
    assert listener.heard == b"QUIT\r\n"
    assert endpoint.push(b"+OK\r\n"), "it still listens"
    assert client.line() == b"+OK\r\n"
    endpoint.close()


@pytest.mark.parametrize("said", [b"", b"x" * RECORD])
@on_both_planes
async def test_bytes_that_are_no_tls(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion, said: bytes) -> None:
    endpoint, client = await shake_hands(plane, tls_version)
    if said:
        client.send(said)
    with raw(client) as sock:
        sock.sendall(b"this is not a record" * 4)
    listener = Listener(endpoint)
    endpoint.resume()
    await listener.ends(Ending.TLS_BROKEN)
    assert listener.heard == said, "what came before it counts"
    assert not endpoint.push(b"x")
    with pytest.raises(PeerLostError):
        await endpoint.receive()
    endpoint.close()


@on_both_planes
async def test_reset_is_not_taken_for_an_end(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    endpoint, client = await shake_hands(plane, tls_version)
    listener = Listener(endpoint)
    endpoint.resume()
    reset(client.sock)
    await listener.ends(Ending.RESET)
    assert not endpoint.push(b"x" * 2 * RECORD)
    assert listener.endings == [Ending.RESET]
    endpoint.close()


@on_both_planes
async def test_writing_to_one_who_is_gone(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    """Nobody looks at what a paused peer does; the write finds out."""
    endpoint, client = await shake_hands(plane, tls_version)
    listener = Listener(endpoint)
    reset(client.sock)
    assert not endpoint.push(b"x" * 2 * RECORD)
    assert listener.endings == [Ending.RESET]
    endpoint.close()


def keep_narrow(ours: socket.socket, theirs: socket.socket) -> None:
    narrow(ours, 2 * RECORD)
    narrow(theirs, 2 * RECORD)


def read_slowly(client: Peer, size: int) -> bytes:
    """In odd pieces; returns the digest."""
    digest, pieces = hashlib.sha256(), (1, 999, 70_000, 3, RECORD)
    turn = 0
    while size:
        piece = client.sock.recv(min(pieces[turn % len(pieces)], size))
        if not piece:
            break
        digest.update(piece)
        size -= len(piece)
        turn += 1
    return digest.digest()


@on_both_planes
async def test_20_mib_to_a_slow_reader(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    """OpenSSL wants the same bytes again after each full socket; what is kept is one chunk and no more."""
    endpoint, client = await shake_hands(plane, tls_version, keep_narrow)
    data = os.urandom(MIB) * 20
    listener = Listener(endpoint)
    reading = asyncio.create_task(asyncio.to_thread(read_slowly, client, len(data)))
    times_full = 0
    for start in range(0, len(data), BUFFER_BYTES):
        if not endpoint.push(memoryview(data)[start : start + BUFFER_BYTES]):
            assert len(endpoint.unsent) <= BUFFER_BYTES
            times_full += 1
            await listener.until(lambda times=times_full: listener.drained >= times)  # type: ignore[misc] # bound now
    assert await reading == hashlib.sha256(data).digest()
    assert times_full > 10
    assert endpoint.bytes_out == len(data)
    endpoint.close()


@on_both_planes
async def test_who_does_not_take_is_heard(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    """Who writes before it reads is read meanwhile, or it would never come to reading."""
    endpoint, client = await shake_hands(plane, tls_version, keep_narrow)
    listener = Listener(endpoint)
    endpoint.resume()
    down, up = os.urandom(BUFFER_BYTES), os.urandom(RECORD // 2)
    assert not endpoint.push(down)
    endpoint.resume()
    await asyncio.to_thread(client.send, up)
    await listener.hears(up)
    assert endpoint.unsent
    assert await asyncio.to_thread(client.take, len(down)) == down
    await listener.until(lambda: not endpoint.unsent)
    assert endpoint._events == READ
    assert not endpoint.push(down)
    endpoint.pause()
    await asyncio.to_thread(client.take, len(down))
    await listener.until(lambda: not endpoint.unsent)
    assert endpoint._events == 0, "who was paused meanwhile stays so"
    endpoint.close()


@on_both_planes
async def test_goodbye(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    """The peer gets close_notify and a FIN, and what it still says is read away."""
    endpoint, client = await shake_hands(plane, tls_version)
    client.sock.suppress_ragged_eofs = False
    endpoint.push(b"bye\r\n")
    parting = asyncio.create_task(endpoint.part(60))
    assert await asyncio.to_thread(client.line) == b"bye\r\n"
    assert await asyncio.to_thread(client.sock.recv, 10) == b"", "a close_notify, or this would be an error"
    with raw(client) as sock:
        assert await asyncio.to_thread(sock.recv, 10) == b"", "and a FIN"
        sock.sendall(b"whatever")
        sock.shutdown(socket.SHUT_WR)
    await parting
    assert endpoint.ending is Ending.CLOSED
    assert endpoint.bytes_in == 0
    endpoint.close()


@on_both_planes
async def test_goodbye_to_one_who_said_it_first(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    endpoint, client = await shake_hands(plane, tls_version)
    listener = Listener(endpoint)
    send_close_notify(client)
    endpoint.resume()
    await listener.ends(Ending.CLOSED)
    endpoint.say_goodbye()
    assert not endpoint.push(b"x"), "TLS is gone; this is an ending, not a bug"
    assert endpoint.ending is Ending.RESET
    endpoint.close()


@on_both_planes
async def test_side_that_finished_writing_still_hears(
    plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion
) -> None:
    endpoint, client = await shake_hands(plane, tls_version)
    listener = Listener(endpoint)
    endpoint.resume()
    endpoint.finish_writing()
    await asyncio.to_thread(client.send, b"the rest")
    await listener.hears(b"the rest")
    socket.socket.shutdown(client.sock, socket.SHUT_WR)
    await listener.ends(Ending.CLOSED)
    endpoint.close()


@on_both_planes
async def test_receive(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    endpoint, client = await shake_hands(plane, tls_version)
    client.send(b"one")
    assert await endpoint.receive() == b"one"
    socket.socket.shutdown(client.sock, socket.SHUT_WR)
    assert await endpoint.receive() == b""
    endpoint.close()
