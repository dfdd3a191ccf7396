"""The way to a backend: what came of it is reported, a knock, TLS where it begins with a command."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from rig.planes import on_both_planes, reset

from tlsproxy.config.model import BackendConfig
from tlsproxy.core.errors import BackendError
from tlsproxy.core.kinds import ProtocolName
from tlsproxy.core.outcome import Reason
from tlsproxy.net.backend import Backend
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.registry import PROTOCOLS
from tlsproxy.server.way.way import Arrival, Way

IMAP: Final = PROTOCOLS[ProtocolName.IMAP]
POP3: Final = PROTOCOLS[ProtocolName.POP3]


class KnownHealth:
    """Takes down what is reported."""

    def __init__(self) -> None:
        self.down = False
        self.failures: list[tuple[bytes, BackendError]] = []
        self.successes: list[str] = []

    def is_down(self) -> bool:
        return self.down

    def failed(self, client: bytes, error: BackendError) -> None:
        self.failures.append((client, error))

    def worked(self, address: str) -> None:
        self.successes.append(address)


class Road:
    """A way to one port of this machine."""

    def __init__(self, port: int, **keys: Any) -> None:
        config = BackendConfig.model_validate({"address": f"127.0.0.1:{port}", **keys})
        self.port = port
        self.health = KnownHealth()
        self.way = Way(Backend("old", config, connect_timeout_s=0.3, keepalive_s=60.0), self.health)

    async def go(self, plane: Plane, client: bytes = b"\1", protocol: Any = POP3) -> Arrival:
        return await self.way.connect(plane, client, protocol.make_upgrade)

    async def fail(self, plane: Plane, client: bytes = b"\1", protocol: Any = POP3) -> BackendError:
        with pytest.raises(BackendError) as caught:
            await self.go(plane, client, protocol)
        return caught.value


@contextmanager
def server(port: int = 0) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", port)) as sock:
        sock.settimeout(0)
        yield sock


def refusing() -> int:
    with server() as sock:
        return int(sock.getsockname()[1])


async def accepted(sock: socket.socket, closing: Any) -> socket.socket:
    connection, _ = await asyncio.get_running_loop().sock_accept(sock)
    found: socket.socket = closing(connection)
    return found


@on_both_planes
async def test_arrival_tells_the_source_port(plane: Plane, closing: Any) -> None:
    sock = closing(server())
    road = Road(sock.getsockname()[1])
    arrival = await road.go(plane)
    peer = await accepted(sock, closing)
    assert arrival.source_port == peer.getpeername()[1]
    assert arrival.address == road.way.backend.config.address.__str__()
    assert arrival.greeting == b""
    assert road.way.name == "old"
    arrival.endpoint.close()


@on_both_planes
async def test_what_came_of_it_is_reported(plane: Plane, closing: Any) -> None:
    road = Road(refusing())
    error = await road.fail(plane, b"\2")
    assert (road.health.failures, error.reason) == ([(b"\2", error)], Reason.BACKEND_DOWN)
    sock = closing(server(road.port))
    arrival = await road.go(plane)
    await accepted(sock, closing)
    assert road.health.successes == [arrival.address]
    arrival.endpoint.close()
    assert not road.way.is_down()
    road.health.down = True
    assert road.way.is_down()


@on_both_planes
async def test_knock(plane: Plane, closing: Any) -> None:
    road = Road(refusing())
    await road.way.knock(plane)
    assert (road.health.failures, road.health.successes) == ([], []), "that it is down is known"
    sock = closing(server(road.port))
    await road.way.knock(plane)
    assert road.health.successes == [f"127.0.0.1:{road.port}"]
    peer = await accepted(sock, closing)
    assert await asyncio.get_running_loop().sock_recv(peer, 1) == b"", "whoever knocks says nothing and leaves"


@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        (None, Reason.BACKEND_TIMEOUT, "no answer to the command that starts TLS"),
        (b"", Reason.BACKEND_DOWN, "closed before TLS"),
        (b"-ERR no\r\n", Reason.BACKEND_REFUSED, None),
        (b"+OK old\r\n-ERR no TLS\r\n", Reason.BACKEND_TLS_FAILED, None),
        (b"SSH-2.0\r\n", Reason.BACKEND_GARBAGE, None),
    ],
)
@on_both_planes
async def test_server_that_does_not_start_tls(
    plane: Plane, closing: Any, said: bytes | None, reason: Reason, words: str | None
) -> None:
    sock = closing(server())
    road = Road(sock.getsockname()[1], tls="starttls", verify=False)
    going = asyncio.create_task(road.fail(plane))
    peer = await accepted(sock, closing)
    if said:
        greeting, newline, rest = said.partition(b"\n")
        await asyncio.get_running_loop().sock_sendall(peer, greeting + newline)
        if rest:
            assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"STLS\r\n"
            await asyncio.get_running_loop().sock_sendall(peer, rest)
    elif said is not None:
        peer.close()
    error = await going
    assert error.reason in {reason, Reason.BACKEND_TLS_FAILED}
    if words is not None:
        assert (error.reason, error.detail) == (reason, words)


@on_both_planes
async def test_server_that_breaks_off_before_tls(plane: Plane, closing: Any) -> None:
    sock = closing(server())
    road = Road(sock.getsockname()[1], tls="starttls", verify=False)
    going = asyncio.create_task(road.fail(plane, protocol=IMAP))
    peer = await accepted(sock, closing)
    await asyncio.sleep(0)
    reset(peer)
    error = await going
    assert (error.reason, error.detail) == (Reason.BACKEND_DOWN, "reset before TLS")
