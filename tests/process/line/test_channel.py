"""One end of a line: whole messages in order, descriptors with them, and what becomes of both when the other goes."""

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import pytest
from rig.planes import on_both_planes, until

from tlsproxy.net.plane import LoopPlane, Plane
from tlsproxy.net.selector import PlaneLoop
from tlsproxy.process.line import channel as room
from tlsproxy.process.line.channel import DESCRIPTORS, Channel, make_pair, receive
from tlsproxy.process.line.tickets import in_parts
from tlsproxy.process.line.words import Released, encode

LARGE: Final = bytes(8000)


@pytest.fixture(autouse=True, params=["loop", "plane"])
def nothing_is_left_open(request: Any, closing: Any) -> Iterator[Any]:
    """A descriptor that a test leaves behind fails it, whoever watches the line."""
    End.is_on_plane = request.param == "plane"
    yield closing
    End.is_on_plane = False


def plane_here() -> Plane:
    loop = asyncio.get_running_loop()
    return loop._plane if isinstance(loop, PlaneLoop) else LoopPlane(loop)


class End:
    """A channel that takes down what it hears."""

    is_on_plane: ClassVar = False

    def __init__(self, sock: socket.socket) -> None:
        self.messages: list[bytes] = []
        self.fds: list[int] = []
        self.closed = 0
        self.clear = 0
        plane = plane_here() if End.is_on_plane else None
        self.channel = Channel(sock, self._heard, self._closed, self._clear, plane)

    def close(self) -> None:
        self.channel.close()
        for fd in self.fds:
            os.close(fd)

    def _heard(self, message: bytes, fds: list[int]) -> None:
        self.messages.append(message)
        self.fds += fds

    def _closed(self) -> None:
        self.closed += 1

    def _clear(self) -> None:
        self.clear += 1


@contextmanager
def line() -> Iterator[tuple[End, socket.socket]]:
    """One end as a channel, the other as a bare socket."""
    ours, theirs = make_pair()
    end = End(ours)
    with theirs:
        theirs.settimeout(0)
        yield end, theirs
    end.close()


def pipe_end() -> int:
    """A descriptor to give away."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def fill(end: End) -> int:
    """Send until it has to wait; how many messages that took."""
    count = 0
    while end.channel.is_clear:
        end.channel.send(LARGE)
        count += 1
        assert count < 100, "the line has no bound"
    return count


def drain(sock: socket.socket) -> list[tuple[bytes, list[int]]]:
    taken = []
    while True:
        try:
            taken.append(receive(sock))
        except BlockingIOError:
            return taken


@on_both_planes
async def test_whole_messages_in_order_both_ways(plane: Plane) -> None:
    ours, theirs = make_pair()
    one, other = End(ours), End(theirs)
    said = [bytes([number]) * (number + 1) for number in range(100)]
    for message in said:
        one.channel.send(message)
        other.channel.send(message[::-1] + b"!")
    await until(lambda: len(one.messages) == len(other.messages) == len(said))
    assert other.messages == said
    assert one.messages == [message + b"!" for message in said]
    assert (one.closed, other.closed) == (0, 0)
    one.close()
    await until(lambda: other.closed == 1)
    other.close()


@on_both_planes
async def test_descriptors_arrive_and_are_closed_here(plane: Plane, closing: Any) -> None:
    end, theirs = closing(line())
    given = [pipe_end() for _ in range(DESCRIPTORS)]
    end.channel.send(b"these", given)
    assert not any(is_open(fd) for fd in given)
    message, fds = receive(theirs)
    assert (message, len(fds)) == (b"these", DESCRIPTORS)
    assert not any(os.get_inheritable(fd) for fd in fds)
    for fd in fds:
        os.close(fd)


@on_both_planes
async def test_descriptors_are_the_hearers(plane: Plane, closing: Any) -> None:
    end, theirs = closing(line())
    fd = pipe_end()
    socket.send_fds(theirs, [b"this"], [fd])
    os.close(fd)
    await until(lambda: end.messages == [b"this"])
    assert len(end.fds) == 1
    assert is_open(end.fds[0])


@on_both_planes
async def test_full_line(plane: Plane, closing: Any) -> None:
    """What has no room waits, in its turn, with its descriptors; that all has gone is told once."""
    end, theirs = closing(line())
    count = fill(end)
    assert count <= 6, "so that a worker that is stuck is noticed"
    fd = pipe_end()
    end.channel.send(b"after", [fd])
    assert is_open(fd)
    waiting = asyncio.create_task(end.channel.cleared())
    await asyncio.sleep(0.01)
    assert (end.clear, waiting.done()) == (0, False)
    heard = drain(theirs)
    await until(lambda: end.channel.is_clear)
    heard += drain(theirs)
    await waiting
    assert [message for message, _ in heard] == [LARGE] * count + [b"after"]
    assert not is_open(fd)
    for taken in heard[-1][1]:
        os.close(taken)
    assert end.clear == 1


@on_both_planes
async def test_nothing_waits_to_begin_with(plane: Plane, closing: Any) -> None:
    end, _ = closing(line())
    await end.channel.cleared()
    assert end.channel.is_clear


@on_both_planes
async def test_all_that_was_said_before_the_end_is_heard(plane: Plane, closing: Any) -> None:
    """Though the kernel tells of what we said and it has not read first."""
    end, theirs = closing(line())
    end.channel.send(b"never read")
    for number in range(40):
        theirs.send(b"%d" % number)
    theirs.close()
    await until(lambda: end.closed == 1)
    assert end.messages == [b"%d" % number for number in range(40)]
    end.channel.read_rest()
    assert end.closed == 1, "told once"


@on_both_planes
async def test_rest_is_read_at_once(plane: Plane, closing: Any) -> None:
    end, theirs = closing(line())
    end.channel.send(b"never read")
    for number in range(40):
        theirs.send(b"%d" % number)
    theirs.close()
    end.channel.read_rest()
    assert (len(end.messages), end.closed) == (40, 1)


@on_both_planes
async def test_what_nobody_is_there_to_take_is_kept(plane: Plane, closing: Any) -> None:
    """A process closes its end before it is seen to end; connections that it is given then must not be lost."""
    end, theirs = closing(line())
    end.channel.send(b"never read")
    theirs.close()
    fds = [pipe_end(), pipe_end()]
    end.channel.send(b"first", fds[:1])
    end.channel.send(b"second", fds[1:])
    assert not end.channel.is_clear
    await until(lambda: end.closed == 1)
    assert all(is_open(fd) for fd in fds)
    assert end.channel.take_back() == [(b"first", fds[:1]), (b"second", fds[1:])]
    assert end.channel.take_back() == []
    await end.channel.cleared()
    for fd in fds:
        os.close(fd)


@on_both_planes
async def test_what_waits_when_the_other_side_goes_is_kept(plane: Plane, closing: Any) -> None:
    end, theirs = closing(line())
    fill(end)
    fd = pipe_end()
    end.channel.send(b"connection", [fd])
    theirs.close()
    await until(lambda: end.closed == 1)
    await asyncio.sleep(0.01)
    assert end.channel.take_back() == [(LARGE, ()), (b"connection", [fd])]
    os.close(fd)


@on_both_planes
async def test_closing_twice_and_with_something_that_waits(plane: Plane, closing: Any) -> None:
    end, _ = closing(line())
    fill(end)
    fd = pipe_end()
    end.channel.send(b"never", [fd])
    end.channel.close()
    end.channel.close()
    assert not is_open(fd)
    await end.channel.cleared()
    end.channel.read_rest()
    assert (end.messages, end.closed) == ([], 0)


@on_both_planes
async def test_closed_by_the_hearer(plane: Plane, closing: Any) -> None:
    end, theirs = closing(line())
    for number in range(5):
        theirs.send(b"%d" % number)

    def close_behind(message: bytes, _: Sequence[int]) -> None:
        end.messages.append(message)
        end.channel.close()

    end.channel._on_message = close_behind
    await until(lambda: bool(end.messages))
    await asyncio.sleep(0)
    assert end.messages == [b"0"]


class Short:
    """A socket that says so many times that the kernel is short of something."""

    def __init__(self, sock: socket.socket, codes: list[int]) -> None:
        self._sock = sock
        self.codes = codes

    def sendmsg(self, *args: Any) -> int:
        if self.codes:
            raise OSError(self.codes.pop(0), "made up")
        return self._sock.sendmsg(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@on_both_planes
async def test_too_many_descriptors_under_way(plane: Plane, closing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_RETRY_S", 0.005)
    end, theirs = closing(line())
    codes = [errno.ETOOMANYREFS, errno.ETOOMANYREFS, errno.ENOBUFS]
    end.channel._sock = Short(end.channel._sock, codes)  # type: ignore[assignment] # a fake
    fd = pipe_end()
    end.channel.send(b"one", [fd])
    end.channel.send(b"two")
    assert is_open(fd)
    await until(lambda: end.channel.is_clear)
    assert not is_open(fd)
    (first, fds), second = drain(theirs)
    assert (first, second) == (b"one", (b"two", []))
    assert codes == []
    os.close(fds[0])


@on_both_planes
async def test_closed_while_it_waits_to_try_again(plane: Plane, closing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_RETRY_S", 0.005)
    end, _ = closing(line())
    end.channel._sock = Short(end.channel._sock, [errno.ETOOMANYREFS])  # type: ignore[assignment] # a fake
    end.channel.send(b"never")
    end.channel.close()
    await asyncio.sleep(0.02)
    assert end.clear == 0


@on_both_planes
async def test_message_that_fits_no_line_is_a_mistake_of_ours(plane: Plane, closing: Any) -> None:
    end, _ = closing(line())
    with pytest.raises(OSError, match="Message too long"):
        end.channel.send(bytes(room.MESSAGE_BYTES))


@on_both_planes
async def test_as_many_tickets_as_are_told_at_once_fit(plane: Plane, closing: Any) -> None:
    end, theirs = closing(line())
    for part in in_parts(range(10**9, 10**9 + 5000)):
        message = encode(Released(tickets=part))
        end.channel.send(message)
        assert receive(theirs)[0] == message


@on_both_planes
async def test_hearer_without_room_for_descriptors(plane: Plane, closing: Any) -> None:
    """It hears the message, and that there are fewer than there should be."""
    end, theirs = closing(line())
    given = [pipe_end() for _ in range(4)]
    end.channel.send(b"four", given)
    spare = pipe_end()  # the lowest number that is free
    os.close(spare)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, limits[1]))
    try:
        message, fds = receive(theirs)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert message == b"four"
    assert len(fds) < 4
    for fd in fds:
        os.close(fd)


def test_neither_end_is_passed_on() -> None:
    ours, theirs = make_pair()
    with ours, theirs:
        assert not ours.get_inheritable()
        assert not theirs.get_inheritable()


@on_both_planes
async def test_descriptor_for_a_successor(plane: Plane, closing: Any) -> None:
    ours, theirs = make_pair()
    number = ours.fileno()
    with theirs:
        end = End(ours)
        assert end.channel.fileno() == number
        end.close()
