"""One peer in plaintext: what is read, what is kept, and how it leaves."""

import asyncio
import errno
import socket
from typing import Any, Final

import pytest
from rig.planes import Listener, narrow, on_both_planes, read_all, read_exactly, reset, tcp_pair

from tlsproxy.net.endpoint import Ending, Endpoint, PeerLostError, ending_of
from tlsproxy.net.plane import BUFFER_BYTES, READ, WRITE, Plane

# More than any narrow socket takes at once.
PATTERN: Final = bytes(range(251)) * 1000


class NoPlane:
    """A plane that watches nothing."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.watched: list[int] = []

    def watch(self, _fd: int, _watcher: object, events: int) -> None:
        self.watched.append(events)


class BadSocket:
    """A socket on which everything goes wrong in one way."""

    def __init__(self, code: int) -> None:
        self.code = code

    def fileno(self) -> int:
        return -1

    def recv_into(self, _view: memoryview) -> int:
        raise OSError(self.code, "made up")

    def send(self, _data: bytes) -> int:
        raise OSError(self.code, "made up")


@on_both_planes
async def test_bytes_go_to_the_sink_and_back(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    listener = Listener(Endpoint(plane, ours))
    listener.endpoint.resume()
    theirs.send(b"to us")
    await listener.hears(b"to us")
    assert listener.endpoint.push(b"to ")
    assert listener.endpoint.push(memoryview(b"them"))
    assert await read_exactly(theirs, 7) == b"to them"
    assert (listener.endpoint.bytes_in, listener.endpoint.bytes_out) == (5, 7)
    listener.endpoint.close()
    assert await read_all(theirs) == b""


@on_both_planes
async def test_what_does_not_fit_is_kept_and_sent_in_order(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    listener = Listener(Endpoint(plane, narrow(ours)))
    endpoint = listener.endpoint
    assert not endpoint.push(PATTERN)
    assert endpoint.unsent
    assert 0 < endpoint.bytes_out < len(PATTERN)
    assert len(endpoint.unsent) == len(PATTERN) - endpoint.bytes_out
    assert not endpoint.push(b"the end"), "nothing may overtake what is kept"
    assert await read_exactly(theirs, len(PATTERN) + 7) == PATTERN + b"the end"
    await listener.until(lambda: listener.drained > 0)
    assert (listener.drained, endpoint.unsent) == (1, b"")
    assert endpoint.bytes_out == len(PATTERN) + 7
    assert endpoint._events == 0, "a socket that is always writable would wake us for ever"
    endpoint.close()


@on_both_planes
async def test_paused_peer_is_not_read(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    listener = Listener(Endpoint(plane, ours))
    listener.endpoint.resume()
    listener.endpoint.pause()
    theirs.send(b"one")
    theirs.shutdown(socket.SHUT_WR)
    other, beside = tcp_pair(closing)
    beside.send(b"x")
    assert await asyncio.get_running_loop().sock_recv(other, 1) == b"x"
    assert (listener.heard, listener.endings) == (b"", [])
    listener.endpoint.resume()
    await listener.ends(Ending.CLOSED)
    assert listener.heard == b"one"
    listener.endpoint.resume()
    assert listener.endpoint._events == 0, "who has closed is not read again"
    listener.endpoint.close()


@on_both_planes
async def test_reset_throws_away_what_is_kept(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    listener = Listener(Endpoint(plane, narrow(ours)))
    assert not listener.endpoint.push(PATTERN)
    reset(theirs)
    await listener.ends(Ending.RESET)
    assert not listener.endpoint.unsent
    assert listener.drained == 0
    assert not listener.endpoint.push(b"into the void"), "no use in going on"
    assert not listener.endpoint.unsent
    assert listener.endings == [Ending.RESET], "told once"
    listener.endpoint.finish_writing()
    listener.endpoint.close()


@on_both_planes
async def test_closed_peer_may_still_be_lost(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    listener = Listener(Endpoint(plane, narrow(ours)))
    listener.endpoint.resume()
    theirs.shutdown(socket.SHUT_WR)
    await listener.ends(Ending.CLOSED)
    assert not listener.endpoint.push(PATTERN)
    reset(theirs)
    await listener.ends(Ending.CLOSED, Ending.RESET)
    assert listener.endpoint.ending is Ending.RESET
    listener.endpoint.close()


@on_both_planes
async def test_bug_in_a_sink_ends_this_peer_only(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    other, beside = tcp_pair(closing)
    broken, whole = Listener(Endpoint(plane, ours)), Listener(Endpoint(plane, other))
    bug = ZeroDivisionError("a bug")

    def sink(_size: int) -> bool:
        raise bug

    broken.endpoint.sink = sink
    broken.endpoint.resume()
    whole.endpoint.resume()
    theirs.send(b"x")
    await broken.ends(Ending.INTERNAL)
    assert broken.endpoint.error is bug
    beside.send(b"still here")
    await whole.hears(b"still here")
    with pytest.raises(PeerLostError) as caught:
        await broken.endpoint.receive()
    assert caught.value.ending is Ending.INTERNAL
    broken.endpoint.close()
    whole.endpoint.close()


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (errno.ETIMEDOUT, Ending.TIMED_OUT),
        (errno.EHOSTUNREACH, Ending.TIMED_OUT),
        (errno.ECONNRESET, Ending.RESET),
        (errno.EPIPE, Ending.RESET),
    ],
)
@pytest.mark.parametrize("is_reading", [True, False])
def test_errors_are_told_apart(code: int, ending: Ending, is_reading: bool) -> None:  # noqa: FBT001 - a parameter of the test
    plane = NoPlane()
    endpoint = Endpoint(plane, BadSocket(code))  # type: ignore[arg-type] # fakes
    endpoint.resume()
    if is_reading:
        endpoint.ready(READ)
    else:
        assert endpoint.push(b"x") is False
    assert endpoint.ending is ending
    assert ending_of(OSError(code, "")) is ending
    assert plane.watched[-1] == 0


def test_event_that_is_no_longer_true_is_no_error() -> None:
    """A number may be closed and given anew within one batch of events."""
    endpoint = Endpoint(NoPlane(), BadSocket(errno.EAGAIN))  # type: ignore[arg-type] # fakes
    endpoint.resume()
    endpoint.ready(READ)
    endpoint.ready(WRITE)
    assert not endpoint.push(b"x")
    endpoint.ready(WRITE | READ)
    assert (endpoint.ending, endpoint.unsent) == (None, b"x")
    endpoint.pause()
    endpoint.ready(READ)
    assert endpoint.bytes_in == 0, "a paused peer is not read, whatever its event says"


@on_both_planes
async def test_detached_socket_is_open_and_unwatched(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    listener = Listener(Endpoint(plane, ours))
    listener.endpoint.resume()
    bare = listener.endpoint.detach()
    theirs.send(b"for the next")
    assert await asyncio.get_running_loop().sock_recv(bare, 100) == b"for the next"
    assert listener.heard == b""


@on_both_planes
async def test_closing_lets_go_of_everybody(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    listener = Listener(Endpoint(plane, narrow(ours)))
    listener.endpoint.resume()
    listener.endpoint.push(PATTERN)
    endpoint = listener.endpoint
    endpoint.close()
    assert not endpoint.unsent
    assert ours.fileno() == -1
    endpoint.sink(5)
    endpoint.on_end(Ending.CLOSED)
    endpoint.on_drained()
    assert (listener.heard, listener.endings, listener.drained) == (b"", [], 0)
    assert len(await read_all(theirs)) == endpoint.bytes_out


def test_pause_is_told_to_the_plane_only_if_the_peer_speaks() -> None:
    plane = NoPlane()
    endpoint = Endpoint(plane, BadSocket(errno.EAGAIN))  # type: ignore[arg-type] # fakes
    endpoint.resume()
    endpoint.pause()
    endpoint.resume()
    assert plane.watched == [READ]
    endpoint.pause()
    endpoint.ready(READ)
    assert plane.watched == [READ, 0]
    endpoint.resume()
    assert plane.watched == [READ, 0, READ]


def test_event_that_the_plane_watched_for_before() -> None:
    """Taken over from a handshake: nothing is read before somebody listens."""
    plane = NoPlane()
    endpoint = Endpoint(plane, BadSocket(errno.ECONNRESET), READ)  # type: ignore[arg-type] # fakes
    assert plane.watched == [READ]
    endpoint.ready(READ)
    assert endpoint.ending is None
    assert plane.watched == [READ, 0]
