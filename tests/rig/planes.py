"""Tests of rooms with sockets, run on both data planes, and the sockets they take."""

import asyncio
import functools
import inspect
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from tlsproxy.core.kinds import LoopKind
from tlsproxy.net.endpoint import Ending, Endpoint
from tlsproxy.net.plane import Plane
from tlsproxy.process.loops import make_loop

WITHIN_S: Final = 10.0


def run_on(kind: LoopKind, main: Callable[[Plane], Awaitable[Any]]) -> Any:
    """Run a coroutine on a fresh loop of the kind, under a deadline."""
    loop, plane = make_loop(kind)

    async def bounded() -> Any:
        async with asyncio.timeout(WITHIN_S):
            return await main(plane)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(bounded())


def on_both_planes(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Turn ``async def test(plane, ...)`` into a test for each plane."""

    @pytest.mark.parametrize("plane_kind", [LoopKind.SELECTOR, LoopKind.UVLOOP])
    @functools.wraps(test)
    def run(plane_kind: LoopKind, **fixtures: Any) -> None:
        run_on(plane_kind, lambda plane: test(plane=plane, **fixtures))

    asked = inspect.signature(test).parameters
    own = [inspect.Parameter("plane_kind", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    run.__signature__ = inspect.Signature([*own, *(p for name, p in asked.items() if name != "plane")])  # type: ignore[attr-defined] # pytest reads it
    return run


def tcp_pair(closing: Any) -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection over loopback, both non-blocking, closed after the test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = closing(socket.create_connection(listener.getsockname()))
        theirs = closing(listener.accept()[0])
    for sock in (ours, theirs):
        sock.settimeout(0)
    return ours, theirs


def narrow(sock: socket.socket, size: int = 4096) -> socket.socket:
    """A socket whose buffers are soon full."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    return sock


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def read_all(sock: socket.socket, size: int = 65536) -> bytes:
    """Everything until the other side closes."""
    heard = bytearray()
    while data := await asyncio.get_running_loop().sock_recv(sock, size):
        heard += data
    return bytes(heard)


async def read_exactly(sock: socket.socket, size: int) -> bytes:
    heard = bytearray()
    while len(heard) < size and (data := await asyncio.get_running_loop().sock_recv(sock, size - len(heard))):
        heard += data
    return bytes(heard)


async def until(is_so: Callable[[], bool]) -> None:
    """Look again and again; the test's deadline bounds it."""
    while not is_so():  # noqa: ASYNC110 - hot paths tell nobody what they do
        await asyncio.sleep(0.001)


class Listener:
    """Sits on an endpoint and takes down what it is told."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.heard = bytearray()
        self.endings: list[Ending] = []
        self.drained = 0
        self._changed = asyncio.Event()
        endpoint.sink, endpoint.on_end, endpoint.on_drained = self._sink, self._end, self._drain

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._changed.clear()
            await self._changed.wait()

    async def hears(self, data: bytes) -> None:
        await self.until(lambda: len(self.heard) >= len(data))
        assert bytes(self.heard) == data

    async def ends(self, *endings: Ending) -> None:
        await self.until(lambda: len(self.endings) >= len(endings))
        assert self.endings == list(endings), self.endings

    def _sink(self, size: int) -> bool:
        self.heard += self.endpoint.plane.buffer[:size]
        self._changed.set()
        return False

    def _end(self, ending: Ending) -> None:
        self.endings.append(ending)
        self._changed.set()

    def _drain(self) -> None:
        self.drained += 1
        self._changed.set()
