"""A peer behind TLS: record boundaries, full sockets, and every way of leaving."""

import asyncio
import errno
import fcntl
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import termios
from typing import Any, Final

import pytest
from rig.peers import Peer
from rig.planes import Listener, narrow, on_both_planes, reset

from tlsproxy.net.endpoint import Ending, PeerLostError
from tlsproxy.net.plane import BUFFER_BYTES, READ, WRITE, Plane
from tlsproxy.net.tls.handshake import accept_tls, facts

RECORD: Final = 16384
MIB: Final = 1 << 20
ONLY_TLS13: Final = ssl.TLSVersion.TLSv1_3


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
async def test_fin_without_close_notify_is_an_end(
    plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion
) -> None:
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
            assert len(endpoint._unsent) <= BUFFER_BYTES
            times_full += 1
            await listener.until(lambda: listener.drained >= times_full)
    assert await reading == hashlib.sha256(data).digest()
    assert times_full > 10
    assert endpoint.bytes_out == len(data)
    endpoint.close()


@on_both_planes
async def test_who_does_not_take_is_not_heard(plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion) -> None:
    """A write that is to be tried again keeps us from reading, and no longer."""
    endpoint, client = await shake_hands(plane, tls_version, keep_narrow)
    listener = Listener(endpoint)
    endpoint.resume()
    down, up = os.urandom(BUFFER_BYTES), os.urandom(RECORD // 2)
    assert not endpoint.push(down)
    endpoint.resume()
    await asyncio.to_thread(client.send, up)
    assert endpoint._events == WRITE
    assert await asyncio.to_thread(client.take, len(down)) == down
    await listener.hears(up)
    assert endpoint._events == READ
    assert not endpoint.push(down)
    endpoint.pause()
    await asyncio.to_thread(client.take, len(down))
    await listener.until(lambda: not endpoint.has_unsent)
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
async def test_goodbye_to_one_who_said_it_first(
    plane: Plane, shake_hands: Any, tls_version: ssl.TLSVersion
) -> None:
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


class Answers:
    """Plays OpenSSL's read or write: one answer after the other."""

    def __init__(self, *answers: Exception | int) -> None:
        self.answers = list(answers)

    def __call__(self, *_: object) -> int:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@on_both_planes
async def test_read_that_wants_to_write(plane: Plane, shake_hands: Any) -> None:
    """A KeyUpdate has to be answered, and the socket is full: read again when it can be sent."""
    endpoint, _ = await shake_hands(plane, ONLY_TLS13)
    heard: list[int] = []
    endpoint.sink = lambda size: bool(heard.append(size))
    endpoint._decrypt = Answers(ssl.SSLWantWriteError(), RECORD, ssl.SSLWantWriteError(), 5)
    endpoint.watch(READ)
    assert endpoint.ready(READ) is True
    assert endpoint._events == WRITE
    assert endpoint.ready(WRITE) is False
    assert endpoint._events == READ, "wanted again"
    endpoint.ready(READ)
    assert heard == [RECORD], "what came before it is delivered"
    endpoint.pause()
    endpoint.ready(WRITE)
    assert endpoint._events == 0, "who was paused meanwhile stays so"
    assert endpoint.ending is None
    endpoint.close()


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (OSError(errno.ETIMEDOUT, ""), Ending.TIMED_OUT),
        (OSError(errno.ECONNRESET, ""), Ending.RESET),
        (ssl.SSLError(1, "bad record mac"), Ending.TLS_BROKEN),
        (ssl.SSLEOFError(8, "eof"), Ending.CLOSED),
        (ssl.SSLZeroReturnError(6, "closed"), Ending.CLOSED),
        (ValueError("unwrapped"), Ending.CLOSED),
    ],
)
@on_both_planes
async def test_errors_of_a_read(plane: Plane, shake_hands: Any, error: Exception, ending: Ending) -> None:
    endpoint, _ = await shake_hands(plane, ONLY_TLS13)
    endpoint._decrypt = Answers(error)
    assert endpoint._read() is False
    assert endpoint.ending is ending
    endpoint.close()


@on_both_planes
async def test_event_that_is_no_longer_true(plane: Plane, shake_hands: Any) -> None:
    endpoint, _ = await shake_hands(plane, ONLY_TLS13)
    endpoint.watch(READ)
    assert endpoint.ready(READ) is True
    assert endpoint.ending is None
    endpoint.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@on_both_planes
async def test_key_update(plane: Plane, server_context: ssl.SSLContext, closing: Any) -> None:
    """New keys in the middle of it all (RFC 8446 §4.6.3): asked for by a client that nobody here wrote."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = ["openssl", "s_client", "-connect", "127.0.0.1:%d" % listening.getsockname()[1], "-tls1_3"]
        client = closing(subprocess.Popen([*command, "-quiet", "-no_ign_eof"], **PIPES))
        listening.settimeout(5)
        ours, _ = await asyncio.to_thread(listening.accept)
    ours.settimeout(0)
    endpoint = await accept_tls(plane, ours, server_context)
    assert facts(endpoint).version == "TLSv1.3"
    listener = Listener(endpoint)
    endpoint.resume()
    said = b""
    for number in range(3):
        line = b"line %d\n" % number
        said += line
        client.stdin.write(line)
        await listener.hears(said)
        client.stdin.write(b"K\n")
        await until_read(client.stdin.fileno())
        assert endpoint.push(b"answer %d\n" % number)
        assert await asyncio.to_thread(client.stdout.readline) == b"answer %d\n" % number
    client.stdin.write(b"Q\n")
    await listener.until(lambda: bool(listener.endings))
    endpoint.close()


PIPES: Final[dict[str, Any]] = {
    "stdin": subprocess.PIPE,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.DEVNULL,
    "bufsize": 0,
}


async def until_read(pipe: int) -> None:
    """The client takes a command only at the beginning of what it reads."""
    while fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4) != b"\0" * 4:
        await asyncio.sleep(0.001)
