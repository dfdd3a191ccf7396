"""Two peers coupled, on real sockets: every byte, every way to end, and who is told to have ended it."""

import asyncio
import os
import socket
from typing import Any, Final

import pytest
from rig.planes import narrow, on_both_planes, read_all, read_exactly, reset, tcp_pair, until

from tlsproxy.core.kinds import Side
from tlsproxy.net import relay as relay_room
from tlsproxy.net.clocks.idle import IdleClock
from tlsproxy.net.endpoint import Ending, Endpoint
from tlsproxy.net.plane import BUFFER_BYTES, READ, Plane
from tlsproxy.net.relay import Relay, RelayEnd

MIB: Final = 1 << 20


class Site:
    """A relay between two sockets of ours, and the far ends of them."""

    def __init__(self, plane: Plane, closing: Any, *, is_narrow: bool = False) -> None:
        client_sock, self.client = tcp_pair(closing)
        backend_sock, self.backend = tcp_pair(closing)
        if is_narrow:
            for sock in (client_sock, self.client, backend_sock, self.backend):
                narrow(sock, 64 * 1024)
        self.to_client, self.to_backend = Endpoint(plane, client_sock), Endpoint(plane, backend_sock)
        self.clock = IdleClock(asyncio.get_running_loop())
        self.relay = Relay(self.to_client, self.to_backend)
        self.loop = asyncio.get_running_loop()

    def start(self, idle_limit_s: float | None = None) -> asyncio.Future[Any]:
        over = self.loop.create_future()
        self.relay.start(self.clock, idle_limit_s, over.set_result)
        return over

    async def talk(self) -> None:
        """One round trip, so that the relay is known to run."""
        await self.loop.sock_sendall(self.client, b"c")
        assert await read_exactly(self.backend, 1) == b"c"
        await self.loop.sock_sendall(self.backend, b"b")
        assert await read_exactly(self.client, 1) == b"b"

    def close(self) -> None:
        self.clock.close()
        self.to_client.close()
        self.to_backend.close()


@on_both_planes
async def test_both_ways_at_once(plane: Plane, closing: Any, ends: Any) -> None:
    site = ends(Site(plane, closing, is_narrow=True))
    running = site.start()
    down, up = os.urandom(4 * MIB), os.urandom(3 * MIB)
    heard = await asyncio.gather(
        read_exactly(site.client, len(down)),
        read_exactly(site.backend, len(up)),
        site.loop.sock_sendall(site.backend, down),
        site.loop.sock_sendall(site.client, up),
    )
    assert heard[:2] == [down, up]
    site.relay.stop()
    assert await running is RelayEnd.STOPPED


@pytest.mark.parametrize("side", [Side.CLIENT, Side.BACKEND])
@on_both_planes
async def test_source_stops_while_the_other_does_not_read(plane: Plane, closing: Any, ends: Any, side: Side) -> None:
    """What waits is at most one buffer; the rest stays with its sender."""
    site = ends(Site(plane, closing, is_narrow=True))
    running = site.start()
    source, reader = (site.client, site.backend) if side is Side.CLIENT else (site.backend, site.client)
    sink = site.to_backend if side is Side.CLIENT else site.to_client
    data = os.urandom(4 * MIB)
    sending = asyncio.create_task(site.loop.sock_sendall(source, data))
    source_endpoint = site.to_client if side is Side.CLIENT else site.to_backend
    await until(lambda: sink.unsent)
    assert len(sink.unsent) <= BUFFER_BYTES
    assert source_endpoint._events & READ == 0
    assert not sending.done()
    assert await read_exactly(reader, len(data)) == data
    await sending
    await site.talk()
    site.relay.stop()
    assert await running is RelayEnd.STOPPED


@on_both_planes
async def test_tail_is_the_last_of_the_backends_words(plane: Plane, closing: Any, ends: Any) -> None:
    site = ends(Site(plane, closing))
    running = site.start()
    assert site.relay.tail is None
    await site.loop.sock_sendall(site.backend, b"x" * 1000 + b"a OK\r\n")
    await read_exactly(site.client, 1006)
    assert site.relay.tail == b"x" * 154 + b"a OK\r\n"
    await site.loop.sock_sendall(site.client, b"b NOOP\r\n")
    await read_exactly(site.backend, 8)
    assert site.relay.tail == b"", "an answer is due"
    for piece in (b"b O", b"K done", b"\r\n"):
        await site.loop.sock_sendall(site.backend, piece)
        await read_exactly(site.client, len(piece))
    assert site.relay.tail == b"b OK done\r\n", "whatever pieces it came in"
    site.relay.stop()
    await running


@pytest.mark.parametrize(("side", "ending"), [(s, e) for s in (Side.CLIENT, Side.BACKEND) for e in ("close", "reset")])
@on_both_planes
async def test_endings(plane: Plane, closing: Any, ends: Any, side: Side, ending: str) -> None:
    site = ends(Site(plane, closing))
    running = site.start()
    await site.talk()
    peer, other = (site.client, site.backend) if side is Side.CLIENT else (site.backend, site.client)
    if ending == "reset":
        reset(peer)
    else:
        peer.close()
        if side is Side.CLIENT:
            assert await read_all(other) == b"", "the backend is told"
            other.close()
    assert await running == (side, Ending.RESET if ending == "reset" else Ending.CLOSED)
    assert site.to_client._events == site.to_backend._events == 0


@on_both_planes
async def test_half_closed_client_hears_the_rest(plane: Plane, closing: Any, ends: Any) -> None:
    """It is waited for as long as the backend goes on, piece by piece."""
    site = ends(Site(plane, closing))
    running = site.start()
    site.client.shutdown(socket.SHUT_WR)
    assert await read_all(site.backend) == b""
    for _ in range(5):
        count = site.relay.count()
        await site.loop.sock_sendall(site.backend, b"piece")
        assert await read_exactly(site.client, 5) == b"piece"
        site.relay._wait_for_backend(count)  # time is up, but something came meanwhile
        assert not running.done()
    site.relay._wait_for_backend(site.relay.count())
    assert await running == (Side.CLIENT, Ending.CLOSED)


@on_both_planes
async def test_half_closed_client_of_a_silent_backend(
    plane: Plane, closing: Any, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_room, "_HALF_CLOSED_S", 0.01)
    site = ends(Site(plane, closing))
    running = site.start()
    site.client.shutdown(socket.SHUT_WR)
    assert await running == (Side.CLIENT, Ending.CLOSED)


@on_both_planes
async def test_half_closed_client_that_reads_slowly_is_waited_for(plane: Plane, closing: Any, ends: Any) -> None:
    site = ends(Site(plane, closing, is_narrow=True))
    running = site.start()
    data = os.urandom(MIB)
    sending = asyncio.create_task(site.loop.sock_sendall(site.backend, data))
    site.client.shutdown(socket.SHUT_WR)
    await until(lambda: site.to_client.unsent)
    site.relay._wait_for_backend(site.relay.count())
    assert not running.done()
    assert await read_exactly(site.client, len(data)) == data
    await sending
    site.relay._wait_for_backend(site.relay.count())
    assert await running == (Side.CLIENT, Ending.CLOSED)


@on_both_planes
async def test_client_that_closes_behind_much_is_heard_out(plane: Plane, closing: Any, ends: Any) -> None:
    """The backend gets all of it before it is told that nothing more comes."""
    site = ends(Site(plane, closing, is_narrow=True))
    running = site.start()
    data = os.urandom(MIB)

    async def send_and_close() -> None:
        await site.loop.sock_sendall(site.client, data)
        site.client.shutdown(socket.SHUT_WR)

    sending = asyncio.create_task(send_and_close())
    await until(lambda: site.to_backend.unsent)
    assert await read_all(site.backend) == data
    await sending
    site.backend.close()
    assert await running == (Side.CLIENT, Ending.CLOSED)


@on_both_planes
async def test_backend_that_closes_behind_much_is_heard_out(plane: Plane, closing: Any, ends: Any) -> None:
    site = ends(Site(plane, closing, is_narrow=True))
    running = site.start()
    data = os.urandom(MIB)

    async def send_and_close() -> None:
        await site.loop.sock_sendall(site.backend, data)
        site.backend.close()

    sending = asyncio.create_task(send_and_close())
    await until(lambda: site.to_client.unsent)
    assert await read_exactly(site.client, len(data)) == data
    await sending
    assert await running == (Side.BACKEND, Ending.CLOSED)
    assert not site.to_client.unsent


@on_both_planes
async def test_backend_found_gone_after_its_close_costs_no_answer(plane: Plane, closing: Any, ends: Any) -> None:
    """A command that came too late meets a reset, while the client has not taken the last answer yet."""
    site = ends(Site(plane, closing, is_narrow=True))
    site.to_client.push(b"x" * MIB)
    running = site.start()
    await asyncio.sleep(0)
    site.to_backend.end(Ending.CLOSED)
    site.to_backend.end(Ending.RESET)
    assert not running.done()
    assert await read_exactly(site.client, MIB) == b"x" * MIB
    assert await running == (Side.BACKEND, Ending.CLOSED)


@pytest.mark.parametrize("side", [Side.CLIENT, Side.BACKEND])
@on_both_planes
async def test_one_who_left_before_it_began(
    plane: Plane, closing: Any, ends: Any, side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_room, "_HALF_CLOSED_S", 0.01)
    site = ends(Site(plane, closing))
    peer, endpoint = (site.client, site.to_client) if side is Side.CLIENT else (site.backend, site.to_backend)
    peer.close()
    assert await endpoint.receive() == b""
    assert await site.start() == (side, Ending.CLOSED)


@on_both_planes
async def test_what_is_unsent_at_the_start_goes_first(plane: Plane, closing: Any, ends: Any) -> None:
    site = ends(Site(plane, closing, is_narrow=True))
    site.to_client.push(b"x" * MIB)
    running = site.start()
    await site.loop.sock_sendall(site.backend, b"y")
    assert await read_exactly(site.client, MIB + 1) == b"x" * MIB + b"y"
    site.relay.stop()
    await running


class HandClock:
    """An idle clock that the test reads."""

    def __init__(self) -> None:
        self.watched: list[tuple[float, Any]] = []

    def watch(self, limit_s: float, watched: Any) -> int:
        self.watched.append((limit_s, watched))
        return len(self.watched) - 1

    def forget(self, watch: int) -> None:
        del self.watched[watch]

    def close(self) -> None: ...


@on_both_planes
async def test_idle(plane: Plane, closing: Any, ends: Any) -> None:
    """The count moves with every byte, both ways, on both legs."""
    site = ends(Site(plane, closing))
    site.clock = HandClock()  # type: ignore[assignment] # all of one that a relay may use
    running = site.start(idle_limit_s=40)
    await site.talk()
    ((limit_s, watched),) = site.clock.watched  # type: ignore[attr-defined] # see above
    assert (limit_s, watched.count()) == (40, 4)
    watched.idled()
    assert await running is RelayEnd.IDLE
    assert site.clock.watched == []  # type: ignore[attr-defined] # see above
