"""Both planes: who is called for what, and who is not."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from rig.planes import on_both_planes, tcp_pair

from tlsproxy.net.plane import READ, WRITE, Nap, Plane, Waiter, ready_for


class Witness:
    """A watcher that takes down its calls, and answers as it is told."""

    def __init__(self, *, act: Callable[[], object] = lambda: None) -> None:
        self.calls: list[int] = []
        self.errors: list[Exception] = []
        self.act = act

    def ready(self, events: int) -> None:
        self.calls.append(events)
        self.act()

    def broken(self, error: Exception) -> None:
        self.errors.append(error)


async def turn() -> None:
    """Let the loop look at its descriptors a few times."""
    for _ in range(5):
        await asyncio.sleep(0)


@on_both_planes
async def test_only_what_is_asked_for(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    fd, witness = ours.fileno(), Witness()
    plane.watch(fd, witness, READ)
    await turn()
    assert witness.calls == []
    theirs.send(b"x")
    await turn()
    assert set(witness.calls) == {READ}
    plane.watch(fd, witness, READ | WRITE)
    witness.calls.clear()
    await turn()
    assert {bit for call in witness.calls for bit in (READ, WRITE) if call & bit} == {READ, WRITE}
    plane.watch(fd, witness, WRITE)
    witness.calls.clear()
    await turn()
    assert set(witness.calls) == {WRITE}
    plane.watch(fd, witness, WRITE)
    plane.watch(fd, witness, 0)
    plane.watch(fd, witness, 0)
    witness.calls.clear()
    await turn()
    assert witness.calls == []


@on_both_planes
async def test_hang_up_of_one_who_is_not_watched(plane: Plane, closing: Any) -> None:
    """A reset is reported by epoll to an empty mask too; nobody must be woken for ever."""
    ours, theirs = tcp_pair(closing)
    witness = Witness()
    plane.watch(ours.fileno(), witness, READ)
    plane.watch(ours.fileno(), witness, 0)
    theirs.close()
    await turn()
    assert witness.calls == []


@on_both_planes
async def test_new_watcher_takes_over(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    first, second = Witness(), Witness()
    plane.watch(ours.fileno(), first, READ)
    plane.watch(ours.fileno(), second, READ)
    theirs.send(b"x")
    await turn()
    assert first.calls == []
    assert set(second.calls) == {READ}
    plane.watch(ours.fileno(), second, 0)


@on_both_planes
async def test_watcher_that_raises_is_told(plane: Plane, closing: Any) -> None:
    ours, _ = tcp_pair(closing)
    bug = KeyError("bug")

    def fail() -> None:
        raise bug

    witness, other = Witness(act=fail), Witness()
    beside, _ = tcp_pair(closing)
    plane.watch(ours.fileno(), witness, WRITE)
    plane.watch(beside.fileno(), other, WRITE)
    await turn()
    assert set(witness.errors) == {bug}
    assert other.calls
    for sock in (ours, beside):
        plane.watch(sock.fileno(), other, 0)


@pytest.mark.parametrize("is_busy", [True, False])
@on_both_planes
async def test_timers_while_traffic_is_constant(plane: Plane, closing: Any, is_busy: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A socket that is always ready must not keep asyncio from its own business."""
    ours, _ = tcp_pair(closing)
    loop = asyncio.get_running_loop()
    witness = Witness(act=lambda: loop.call_soon(len, "") if is_busy else None)
    plane.watch(ours.fileno(), witness, WRITE)
    rung, soon = asyncio.Event(), asyncio.Event()
    loop.call_later(0.02, rung.set)
    loop.call_soon(soon.set)
    await soon.wait()
    await rung.wait()
    await turn()
    assert len(witness.calls) > 2
    plane.watch(ours.fileno(), witness, 0)


@on_both_planes
async def test_soon(plane: Plane, closing: Any) -> None:
    """After the watchers of the batch; what one asks for meanwhile comes after the others, and a bug is told."""
    told: list[object] = []
    ours, _ = tcp_pair(closing)
    witness = Witness(act=lambda: plane.soon(lambda: told.append("from a watcher")))
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    bug = KeyError("bug")

    def first() -> None:
        plane.soon(lambda: told.append("later"))
        raise bug

    plane.soon(first)
    plane.soon(lambda: told.append("second"))
    assert told == []
    await turn()
    assert told == [bug, "second", "later"]
    plane.watch(ours.fileno(), witness, WRITE)
    await turn()
    plane.watch(ours.fileno(), witness, 0)
    await turn()
    assert set(told[3:]) == {"from a watcher"}
    assert len(told) - 3 == len(witness.calls)


@on_both_planes
async def test_watcher_that_gives_asyncio_something_to_do(plane: Plane, closing: Any) -> None:
    """A callback or a timer of a watcher is not kept waiting until the next event."""
    ours, theirs = tcp_pair(closing)
    loop = asyncio.get_running_loop()
    gifts: list[Callable[[Any], object]] = [
        lambda done: loop.call_soon(done.set_result, None),
        lambda done: loop.call_later(0.001, done.set_result, None),
    ]
    for give in gifts:
        done = loop.create_future()
        witness = Witness(act=lambda give=give, done=done: (ours.recv(1), give(done)))  # type: ignore[misc] # bound now
        plane.watch(ours.fileno(), witness, READ)
        theirs.send(b"x")
        async with asyncio.timeout(5):
            await done
    plane.watch(ours.fileno(), Witness(), 0)


@on_both_planes
async def test_ready_for(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    await ready_for(plane, ours.fileno(), WRITE)
    waiting = asyncio.create_task(ready_for(plane, ours.fileno(), READ))
    await turn()
    assert not waiting.done()
    theirs.send(b"x")
    await waiting
    waiting = asyncio.create_task(ready_for(plane, theirs.fileno(), READ))
    await turn()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    ours.send(b"y")
    await turn()  # nobody is called for it


@on_both_planes
async def test_ready_for_is_woken_once(plane: Plane, closing: Any) -> None:
    class Held:
        """A plane that hands its one watcher to the test."""

        buffer = plane.buffer

        def watch(self, _fd: int, watcher: Any, events: int) -> None:
            self.watcher, self.events = watcher, events

    for act in (lambda watcher: watcher.ready(READ), lambda watcher: watcher.broken(ZeroDivisionError())):
        held = Held()
        waiting = asyncio.create_task(ready_for(held, 5, READ))
        await turn()
        act(held.watcher)
        held.watcher.ready(READ)
        held.watcher.broken(KeyError())
        (found,) = await asyncio.gather(waiting, return_exceptions=True)
        assert found is None or isinstance(found, ZeroDivisionError)
        assert held.events == 0


@on_both_planes
async def test_waiter_stays_watched_until_an_event_finds_nobody(plane: Plane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    theirs.send(b"x")
    waiter = Waiter(plane, ours.fileno(), Nap())
    for _ in range(2):
        await waiter.wait(READ)
        assert waiter.watched == READ
    await turn()
    assert waiter.watched == 0
    await waiter.wait(WRITE)
    waiter.close()
    assert waiter.watched == 0
