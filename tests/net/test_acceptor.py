"""A listening socket being read: batches, pauses, errors of every kind."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from rig.planes import on_both_planes, until

from tlsproxy.net import acceptor as acceptor_room
from tlsproxy.net.acceptor import Accepted, Acceptor, accept_of
from tlsproxy.net.plane import Plane


class Listening:
    """A socket whose ``accept`` fails as often as it is told."""

    def __init__(self, errors: Iterable[int] = ()) -> None:
        self.real = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.real.settimeout(0)
        self.errors = list(errors)
        self._bare = accept_of(self.real)

    def fileno(self) -> int:
        return self.real.fileno()

    def _accept(self) -> Any:
        if self.errors:
            raise OSError(self.errors.pop(0), "made up")
        return self._bare()

    def close(self) -> None:
        self.real.close()


class Doorman:
    """Takes down who came and what went wrong."""

    def __init__(self, listening: Listening) -> None:
        self.listening = listening
        self.arrived: list[Accepted] = []
        self.batches: list[int] = []
        self.pauses: list[int | None] = []
        self.acceptor = Acceptor(listening, self.take, lambda error: self.pauses.append(error.errno))  # type: ignore[arg-type] # a fake

    def take(self, accepted: Sequence[Accepted]) -> None:
        self.batches.append(len(accepted))
        self.arrived += accepted

    def close(self) -> None:
        self.acceptor.close()
        for fd, _ in self.arrived:
            os.close(fd)


def knock(listening: Listening, closing: Any, count: int = 1) -> list[socket.socket]:
    return [closing(socket.create_connection(listening.real.getsockname())) for _ in range(count)]


@on_both_planes
async def test_everybody_is_handed_over_in_batches(plane: Plane, closing: Any, ends: Any) -> None:
    listening = Listening()
    callers = knock(listening, closing, 150)
    doorman = ends(Doorman(listening))
    await until(lambda: len(doorman.arrived) == 150)
    assert {peer for _, peer in doorman.arrived} == {caller.getsockname() for caller in callers}
    assert doorman.batches == [1, 2, 4, 8, 16, 32, 64, 23]
    assert not any(os.get_inheritable(fd) for fd, _ in doorman.arrived)


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
async def test_who_was_accepted_before_a_pause_is_handed_over(plane: Plane, closing: Any, ends: Any) -> None:
    listening = Listening()
    doorman = ends(Doorman(listening))
    real, turns = doorman.acceptor._accept, iter([None, errno.EMFILE])

    def accept() -> Any:
        if (code := next(turns, None)) is not None:
            raise OSError(code, "made up")
        return real()

    doorman.acceptor._accept = accept
    knock(listening, closing, 2)
    await until(lambda: doorman.pauses == [errno.EMFILE])
    assert len(doorman.arrived) == 1


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
async def test_closed_by_whoever_takes_a_batch(plane: Plane, closing: Any, ends: Any) -> None:
    listening = Listening()
    knock(listening, closing, 70)
    doorman = ends(Doorman(listening))
    doorman.acceptor._batch = 64

    def close_behind(accepted: Sequence[Accepted]) -> None:
        Doorman.take(doorman, accepted)
        doorman.acceptor.close()

    doorman.acceptor._on_connections = close_behind
    await until(lambda: bool(doorman.arrived))
    await asyncio.sleep(0)
    assert doorman.batches == [64]
    assert doorman.pauses == [], "what is closed is not asked again"


@on_both_planes
async def test_closed_by_whoever_takes_a_batch_that_ends_in_an_error(plane: Plane, closing: Any, ends: Any) -> None:
    listening = Listening()
    doorman = ends(Doorman(listening))
    real, turns = doorman.acceptor._accept, iter([None, errno.EMFILE])

    def accept() -> Any:
        if (code := next(turns, None)) is not None:
            raise OSError(code, "made up")
        return real()

    def close_behind(accepted: Sequence[Accepted]) -> None:
        Doorman.take(doorman, accepted)
        doorman.acceptor.close()

    doorman.acceptor._accept, doorman.acceptor._on_connections = accept, close_behind
    knock(listening, closing)
    await until(lambda: bool(doorman.arrived))
    assert doorman.pauses == []


def resting(doorman: Doorman) -> None:
    """Have each batch taken for a flood."""

    def take(accepted: Sequence[Accepted]) -> None:
        doorman.take(accepted)
        doorman.acceptor.rest()

    doorman.acceptor._on_connections = take


@on_both_planes
async def test_a_flood_gathers_while_the_acceptor_rests(
    plane: Plane, closing: Any, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor_room, "_REST_S", 0.05)
    listening = Listening()
    doorman = ends(Doorman(listening))
    resting(doorman)
    knock(listening, closing)
    await until(lambda: doorman.batches == [1])
    knock(listening, closing, 2)
    await asyncio.sleep(0.01)
    assert doorman.batches == [1]
    await until(lambda: doorman.batches == [1, 2])
    await asyncio.sleep(0.1)
    knock(listening, closing)
    await until(lambda: doorman.batches == [1, 2, 1])


@pytest.mark.parametrize("end", [Acceptor.close, Acceptor.hold], ids=["closed", "held"])
@on_both_planes
async def test_resting_ends_nothing_else(
    plane: Plane, closing: Any, ends: Any, end: Callable[[Acceptor], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor_room, "_REST_S", 0.01)
    listening = Listening()
    doorman = ends(Doorman(listening))
    resting(doorman)
    knock(listening, closing)
    await until(lambda: doorman.batches == [1])
    end(doorman.acceptor)
    doorman.acceptor.rest()
    if end is Acceptor.hold:
        knock(listening, closing)
    await asyncio.sleep(0.03)
    assert doorman.batches == [1]


@on_both_planes
async def test_bug_at_the_end_of_a_rest(plane: Plane, closing: Any, ends: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs one batch, and not the listener."""
    monkeypatch.setattr(acceptor_room, "_REST_S", 0.01)
    errors: list[Exception] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context["exception"]))
    listening = Listening()
    doorman = ends(Doorman(listening))

    def fail(accepted: Sequence[Accepted]) -> None:
        doorman.take(accepted)
        raise KeyError("bug")

    doorman.acceptor.rest()
    doorman.acceptor._on_connections = fail
    knock(listening, closing)
    await until(lambda: doorman.batches == [1] and len(errors) == 1)
    doorman.acceptor._on_connections = doorman.take
    knock(listening, closing)
    await until(lambda: doorman.batches == [1, 1])


@on_both_planes
async def test_pause_at_the_end_of_a_rest(
    plane: Plane, closing: Any, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor_room, "_REST_S", 0.05)
    monkeypatch.setattr(acceptor_room, "_PAUSE_S", 0.05)
    listening = Listening()
    doorman = ends(Doorman(listening))
    resting(doorman)
    knock(listening, closing)
    await until(lambda: doorman.batches == [1])
    listening.errors.append(errno.EMFILE)
    await until(lambda: doorman.pauses == [errno.EMFILE])
    knock(listening, closing)
    await asyncio.sleep(0.01)
    assert doorman.batches == [1]
    await until(lambda: doorman.batches == [1, 1])


@on_both_planes
async def test_held(plane: Plane, closing: Any, ends: Any) -> None:
    """Whoever comes meanwhile waits in the kernel's queue and is refused by nobody."""
    listening = Listening()
    doorman = ends(Doorman(listening))
    doorman.acceptor.hold()
    doorman.acceptor.hold()
    knock(listening, closing, 3)
    await asyncio.sleep(0.02)
    assert doorman.arrived == []
    doorman.acceptor.go_on()
    doorman.acceptor.go_on()
    await until(lambda: len(doorman.arrived) == 3)


@on_both_planes
async def test_held_in_a_pause(plane: Plane, closing: Any, ends: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor_room, "_PAUSE_S", 0.01)
    listening = Listening([errno.EMFILE])
    doorman = ends(Doorman(listening))
    knock(listening, closing)
    await until(lambda: doorman.pauses == [errno.EMFILE])
    doorman.acceptor.hold()
    await asyncio.sleep(0.03)
    assert doorman.arrived == [], "the end of the pause does not end the hold"
    doorman.acceptor.go_on()
    await until(lambda: len(doorman.arrived) == 1)


@on_both_planes
async def test_held_by_whoever_takes_a_batch_that_ends_in_an_error(
    plane: Plane, closing: Any, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor_room, "_PAUSE_S", 0.01)
    listening = Listening()
    doorman = ends(Doorman(listening))
    real, turns = doorman.acceptor._accept, iter([None, errno.EMFILE])

    def accept() -> Any:
        if (code := next(turns, None)) is not None:
            raise OSError(code, "made up")
        return real()

    def hold_behind(accepted: Sequence[Accepted]) -> None:
        Doorman.take(doorman, accepted)
        doorman.acceptor.hold()

    doorman.acceptor._accept, doorman.acceptor._on_connections = accept, hold_behind
    knock(listening, closing, 2)
    await until(lambda: bool(doorman.arrived))
    await asyncio.sleep(0.03)
    assert len(doorman.arrived) == 1, "the end of a pause does not end a hold"
    doorman.acceptor.go_on()
    await until(lambda: len(doorman.arrived) == 2)


@on_both_planes
async def test_what_is_closed_is_neither_held_nor_let_go_on(plane: Plane, ends: Any) -> None:
    listening = Listening()
    doorman = ends(Doorman(listening))
    doorman.acceptor.close()
    doorman.acceptor.hold()
    doorman.acceptor.go_on()
    assert listening.fileno() == -1


def test_accepting_where_there_is_no_bare_accept(closing: Any) -> None:
    listening = closing(socket.create_server(("127.0.0.1", 0)))

    class Public:
        def accept(self) -> Any:
            return listening.accept()

    caller = closing(socket.create_connection(listening.getsockname()))
    fd, address = accept_of(Public())()  # type: ignore[arg-type] # all that is asked of a socket
    os.close(fd)
    assert address == caller.getsockname()
