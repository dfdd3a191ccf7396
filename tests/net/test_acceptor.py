"""A listening socket being read: batches, pauses, errors of every kind."""

import asyncio
import errno
import socket
from collections.abc import Iterable
from typing import Any

import pytest
from rig.planes import on_both_planes, until

from tlsproxy.net import acceptor as acceptor_room
from tlsproxy.net.acceptor import Acceptor
from tlsproxy.net.plane import Plane


class Listening:
    """A socket whose ``accept`` fails as often as it is told."""

    def __init__(self, errors: Iterable[int] = ()) -> None:
        self.real = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.real.settimeout(0)
        self.errors = list(errors)

    def fileno(self) -> int:
        return self.real.fileno()

    def accept(self) -> Any:
        if self.errors:
            raise OSError(self.errors.pop(0), "made up")
        return self.real.accept()

    def close(self) -> None:
        self.real.close()


class Doorman:
    """Takes down who came and what went wrong."""

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.arrived: list[tuple[socket.socket, tuple[str, int]]] = []
        self.pauses: list[int | None] = []
        self.acceptor = Acceptor(listening, self.take, lambda error: self.pauses.append(error.errno))  # type: ignore[arg-type] # a fake

    def take(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        self.arrived.append((sock, peer))

    def close(self) -> None:
        self.acceptor.close()
        for sock, _ in self.arrived:
            sock.close()


def knock(listening: Listening, closing: Any, count: int = 1) -> list[socket.socket]:
    return [closing(socket.create_connection(listening.real.getsockname())) for _ in range(count)]


@on_both_planes
async def test_everybody_is_handed_over(plane: Plane, closing: Any, ends: Any) -> None:
    listening = Listening()
    callers = knock(listening, closing, 150)
    doorman = ends(Doorman(listening))
    await until(lambda: len(doorman.arrived) == 150)
    assert {peer for _, peer in doorman.arrived} == {caller.getsockname() for caller in callers}
    assert all(sock.gettimeout() == 0 for sock, _ in doorman.arrived)


@on_both_planes
async def test_connection_that_died_in_the_queue_is_passed_over(plane: Plane, closing: Any, ends: Any) -> None:
    listening = Listening([errno.ECONNABORTED, errno.EPROTO, errno.EHOSTUNREACH])
    doorman = ends(Doorman(listening))
    knock(listening, closing)
    await until(lambda: len(doorman.arrived) == 1)
    assert doorman.pauses == []


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL])
@on_both_planes
async def test_pause(plane: Plane, closing: Any, ends: Any, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_room, "_PAUSE_S", 0.01)
    listening = Listening([code, code])
    doorman = ends(Doorman(listening))
    knock(listening, closing)
    await until(lambda: len(doorman.arrived) == 1)
    assert doorman.pauses == [code, code], "once for each pause, not once for each look"


@on_both_planes
async def test_closed_in_a_pause(plane: Plane, closing: Any, ends: Any) -> None:
    listening = Listening([errno.EMFILE])
    doorman = ends(Doorman(listening))
    knock(listening, closing)
    await until(lambda: doorman.pauses == [errno.EMFILE])
    doorman.acceptor.close()
    doorman.acceptor.close()
    assert listening.fileno() == -1
    assert doorman.arrived == []


@on_both_planes
async def test_closed_within_a_batch(plane: Plane, closing: Any, ends: Any) -> None:
    listening = Listening()
    knock(listening, closing, 3)
    doorman = ends(Doorman(listening))

    def close_behind(sock: socket.socket, peer: tuple[str, int]) -> None:
        Doorman.take(doorman, sock, peer)
        doorman.acceptor.close()

    doorman.acceptor._on_connection = close_behind
    await until(lambda: bool(doorman.arrived))
    await asyncio.sleep(0)
    assert len(doorman.arrived) == 1
    assert doorman.pauses == [], "what is closed is not asked again"
