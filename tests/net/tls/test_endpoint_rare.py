"""A peer behind TLS in situations that real peers seldom bring about: new keys, a read that must write, odd errors."""

import asyncio
import errno
import fcntl
import shutil
import socket
import ssl
import subprocess
import termios
from typing import Any, Final

import pytest
from rig.planes import Listener, on_both_planes, until

from tlsproxy.net.endpoint import Ending
from tlsproxy.net.plane import READ, WRITE, Nap, Plane, Waiter
from tlsproxy.net.tls import endpoint as endpoint_room
from tlsproxy.net.tls.handshake import accept_tls, facts

RECORD: Final = 16384
ONLY_TLS13: Final = ssl.TLSVersion.TLSv1_3


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
    endpoint.sink = heard.append
    endpoint._decrypt = Answers(ssl.SSLWantWriteError(), RECORD, ssl.SSLWantWriteError(), 5)
    endpoint.watch(READ)
    endpoint.ready(READ)
    assert endpoint._events == WRITE
    endpoint.ready(WRITE)
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
    endpoint._read()
    assert endpoint.ending is ending
    endpoint.close()


@on_both_planes
async def test_event_that_is_no_longer_true(plane: Plane, shake_hands: Any) -> None:
    endpoint, _ = await shake_hands(plane, ONLY_TLS13)
    endpoint.watch(READ)
    endpoint.ready(READ)
    assert endpoint.ending is None
    endpoint.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@on_both_planes
async def test_key_update(plane: Plane, server_context: ssl.SSLContext, closing: Any) -> None:
    """New keys in the middle of it all (RFC 8446 §4.6.3): asked for by a client that nobody here wrote."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{listening.getsockname()[1]}", "-tls1_3"]
        client = closing(subprocess.Popen([*command, "-quiet", "-no_ign_eof"], **PIPES))  # noqa: ASYNC220 - it starts in no time
        listening.settimeout(5)
        ours, _ = await asyncio.to_thread(listening.accept)
    ours.settimeout(0)
    endpoint = await accept_tls(Waiter(plane, ours.fileno(), Nap()), ours, server_context)
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
    await until(lambda: fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4) == b"\0" * 4)


class PublicAlone:
    """What a context or an SSLSocket of any Python has; some keep nothing inside."""

    def __init__(self, whole: Any, *names: str) -> None:
        for name in names:
            setattr(self, name, getattr(whole, name))


@pytest.mark.parametrize("is_public", [True, False])
@on_both_planes
async def test_with_and_without_the_object_inside(
    plane: Plane,
    shake_hands: Any,
    server_context: ssl.SSLContext,
    tls_version: ssl.TLSVersion,
    is_public: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    context = PublicAlone(server_context, "wrap_socket") if is_public else server_context
    endpoint, client = await shake_hands(plane, tls_version, context=context)
    assert isinstance(endpoint.sock, ssl.SSLSocket) is is_public
    if is_public:
        inner = endpoint_room.inner_of(PublicAlone(endpoint.sock, "read", "write", "unwrap"))  # type: ignore[arg-type] # all of one that is used
        endpoint._decrypt, endpoint._encrypt = inner.read, inner.write
        assert endpoint._decrypt == endpoint.sock.read
    assert facts(endpoint).version == tls_version.name.replace("v1_", "v1.")
    listener = Listener(endpoint)
    endpoint.resume()
    client.send(b"ping")
    await listener.hears(b"ping")
    assert endpoint.push(b"pong")
    assert await asyncio.to_thread(client.take, 4) == b"pong"

    endpoint.say_goodbye()
    assert await asyncio.to_thread(client.rest) == b"", "close_notify, not only an end of file"
    client.close()
    await listener.until(lambda: bool(listener.endings))
    assert listener.endings == [Ending.CLOSED]
    endpoint.close()


@on_both_planes
async def test_nothing_is_read_or_written_after_the_close(plane: Plane, shake_hands: Any) -> None:
    """The number of the descriptor may be another connection's by now."""
    endpoint, _ = await shake_hands(plane, ONLY_TLS13)
    endpoint.close()
    with pytest.raises(ValueError, match="nothing more"):
        endpoint._decrypt(1, plane.buffer)
    endpoint.push(b"late")
    assert endpoint.bytes_out == 0
    assert not endpoint.unsent


@on_both_planes
async def test_end_of_file_in_the_middle_of_much(plane: Plane, shake_hands: Any) -> None:
    endpoint, _ = await shake_hands(plane, ONLY_TLS13)
    heard: list[int] = []
    endpoint.sink = heard.append
    endpoint._decrypt = Answers(RECORD, 7, RECORD, ssl.SSLEOFError(8, "eof"))
    endpoint._read()
    assert endpoint.ending is None
    endpoint._read()
    assert heard == [RECORD + 7, RECORD]
    assert endpoint.ending is Ending.CLOSED
    endpoint.close()
