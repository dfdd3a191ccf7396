"""A peer as a dialogue sees it: what is awaited, and the parting."""

import asyncio
import socket
from typing import Any, Final

import pytest
from rig.planes import narrow, on_both_planes, read_all, read_exactly, reset, tcp_pair

from tlsproxy.net.endpoint import Ending, Endpoint, PeerLostError
from tlsproxy.net.plane import READ, Plane

# More than any narrow socket takes at once.
PATTERN: Final = bytes(range(251)) * 1000


@on_both_planes
async def test_receive(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    endpoint = Endpoint(plane, ours)
    theirs.send(b"one")
    assert await endpoint.receive() == b"one"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await endpoint.receive()
    assert endpoint._events == 0, "nobody listens any more"
    theirs.send(b"two")
    theirs.close()
    assert await endpoint.receive() == b"two"
    assert await endpoint.receive() == b""
    assert await endpoint.receive() == b"", "and again"
    endpoint.close()


@on_both_planes
async def test_receive_from_one_who_breaks_off(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    endpoint = Endpoint(plane, ours)
    waiting = asyncio.create_task(endpoint.receive())
    await asyncio.sleep(0)
    reset(theirs)
    for _ in range(2):
        with pytest.raises(PeerLostError) as caught:
            await waiting
        assert caught.value.ending is Ending.RESET
        waiting = asyncio.create_task(endpoint.receive())
    with pytest.raises(PeerLostError):
        await waiting
    endpoint.close()


@on_both_planes
async def test_drained(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    endpoint = Endpoint(plane, narrow(ours))
    await endpoint.drained()
    endpoint.resume()
    assert not endpoint.push(PATTERN)
    theirs.shutdown(socket.SHUT_WR)  # does not mean that it stops reading
    _, heard = await asyncio.gather(endpoint.drained(), read_exactly(theirs, len(PATTERN)))
    assert heard == PATTERN
    assert endpoint.ending is Ending.CLOSED
    endpoint.close()


@on_both_planes
async def test_drained_when_the_peer_breaks_off(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    endpoint = Endpoint(plane, narrow(ours))
    assert not endpoint.push(PATTERN)
    waiting = asyncio.create_task(endpoint.drained())
    await asyncio.sleep(0)
    reset(theirs)
    with pytest.raises(PeerLostError):
        await waiting
    endpoint.close()


@on_both_planes
async def test_part_waits_for_the_peer_to_leave(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    endpoint = Endpoint(plane, ours)
    endpoint.push(b"goodbye")
    parting = asyncio.create_task(endpoint.part(60))
    assert await read_all(theirs) == b"goodbye"
    theirs.send(b"one more thing")
    await asyncio.sleep(0)
    assert not parting.done()
    theirs.shutdown(socket.SHUT_WR)
    await parting
    assert endpoint.bytes_in == 0, "what comes too late does not count"
    assert ours.recv(1) == b""  # but it is read: a reset would overtake our last words
    endpoint.close()


@pytest.mark.parametrize("does_read", [True, False])
@on_both_planes
async def test_part_with_one_who_never_leaves(plane: Plane, closing: Any, does_read: bool) -> None:  # noqa: FBT001 - a parameter of the test
    ours, theirs = tcp_pair(closing)
    endpoint = Endpoint(plane, narrow(ours))
    endpoint.push(b"goodbye" if does_read else PATTERN)
    await endpoint.part(0.05)
    assert endpoint._events & READ == 0
    endpoint.close()
    theirs.close()


@on_both_planes
async def test_part_with_one_who_is_gone(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    endpoint = Endpoint(plane, ours)
    reset(theirs)
    await endpoint.part(60)
    assert endpoint.ending is Ending.RESET
    endpoint.close()
