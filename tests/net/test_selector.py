"""The epoll plane as asyncio's selector, and what happens within one batch of events."""

import os
import selectors
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rig.planes import tcp_pair

from tlsproxy.net.endpoint import Ending, Endpoint
from tlsproxy.net.plane import READ, WRITE
from tlsproxy.net.selector import EpollPlane, PlaneLoop

BOTH = selectors.EVENT_READ | selectors.EVENT_WRITE


@pytest.fixture
def plane(closing: Any) -> Iterator[EpollPlane]:
    found = EpollPlane()
    yield found
    found.close()


def test_registered_once(plane: EpollPlane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    key = plane.register(ours, selectors.EVENT_READ, "data")
    assert key == (ours, ours.fileno(), selectors.EVENT_READ, "data")
    with pytest.raises(KeyError, match="already registered"):
        plane.register(ours.fileno(), selectors.EVENT_READ)
    assert plane.get_key(ours) is plane.get_key(ours.fileno()) is key
    assert dict(plane.get_map()) == {ours.fileno(): key}
    assert plane.select(0) == []
    theirs.send(b"x")
    assert plane.select(0) == [(key, selectors.EVENT_READ)]
    assert plane.unregister(ours) is key
    assert plane.select(0) == []
    assert dict(plane.get_map()) == {}


@pytest.mark.parametrize("act", ["unregister", "get_key", "modify"])
def test_unknown_is_a_key_error(plane: EpollPlane, closing: Any, act: str) -> None:
    ours, _ = tcp_pair(closing)
    with pytest.raises(KeyError):
        getattr(plane, act)(ours, *([BOTH] if act == "modify" else []))


def test_modified(plane: EpollPlane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    plane.register(ours, selectors.EVENT_READ, "old")
    same = plane.modify(ours, selectors.EVENT_READ, "new data, same events")
    assert plane.select(0) == []
    theirs.send(b"x")
    assert plane.select(0) == [(same, selectors.EVENT_READ)]
    key = plane.modify(ours, selectors.EVENT_WRITE)
    assert plane.select(0) == [(key, selectors.EVENT_WRITE)]
    key = plane.modify(ours, BOTH)
    assert plane.select(0) == [(key, BOTH)]


def test_closed_before_it_is_unregistered(plane: EpollPlane, closing: Any) -> None:
    ours, _ = tcp_pair(closing)
    fd = ours.fileno()
    key = plane.register(fd, BOTH)
    ours.close()
    assert plane.unregister(fd) is key


def test_hang_up_is_told_as_what_was_asked(plane: EpollPlane, closing: Any) -> None:
    ours, theirs = tcp_pair(closing)
    key = plane.register(ours, selectors.EVENT_READ)
    ours.shutdown(socket.SHUT_WR)
    theirs.close()
    assert plane.select(1) == [(key, selectors.EVENT_READ)]


def test_waits_as_long_as_asked(plane: EpollPlane) -> None:
    before = time.monotonic()
    assert plane.select(0.0201) == []
    assert time.monotonic() - before >= 0.0201, "a timer would be looked at too early"
    assert plane.select(-1.0 if False else 0) == []


class Doing:
    """A watcher that does something."""

    def __init__(self, act: Any) -> None:
        self.act = act
        self.calls = 0

    def ready(self, _events: int) -> None:
        self.calls += 1
        self.act()

    def broken(self, error: Exception) -> None:
        raise error


def test_quiet_watchers_are_served_until_time_is_up(plane: EpollPlane, closing: Any) -> None:
    ours, _ = tcp_pair(closing)
    watcher = Doing(lambda: None)
    plane.watch(ours.fileno(), watcher, WRITE)
    assert plane.select(0.02) == []
    assert watcher.calls > 2


def test_quiet_watchers_are_served_without_end(plane: EpollPlane, closing: Any) -> None:
    """Until one of asyncio's own is due."""
    ours, _theirs = tcp_pair(closing)
    mine, other = tcp_pair(closing)
    key = plane.register(mine, selectors.EVENT_READ)

    def knock() -> None:
        if watcher.calls == 5:
            other.send(b"x")

    watcher = Doing(knock)
    plane.watch(ours.fileno(), watcher, WRITE)
    assert plane.select(None) == [(key, selectors.EVENT_READ)]
    assert watcher.calls >= 5


def test_what_is_asked_for_meanwhile_waits_for_no_event(plane: EpollPlane) -> None:
    told: list[str] = []
    plane.soon(lambda: (told.append("first"), plane.soon(lambda: told.append("second"))))  # type: ignore[arg-type, func-returns-value] # in one line
    assert plane.select(0.001) == []
    assert told == ["first", "second"]


@pytest.mark.parametrize("give", ["call_soon", "call_at"])
def test_watcher_that_gives_asyncio_something_ends_the_wait(plane: EpollPlane, closing: Any, give: str) -> None:
    ours, _ = tcp_pair(closing)
    loop = PlaneLoop(plane)
    things = {"call_soon": lambda: loop.call_soon(len, ""), "call_at": lambda: loop.call_at(1e9, len, "")}
    watcher = Doing(things[give])
    plane.watch(ours.fileno(), watcher, WRITE)
    assert plane.select(None) == []
    assert watcher.calls == 1
    loop.close()


def two_ready(closing: Any) -> list[tuple[socket.socket, socket.socket]]:
    """Two connections with a byte for us in each."""
    pairs = [tcp_pair(closing) for _ in range(2)]
    for _, theirs in pairs:
        theirs.send(b"x")
    return pairs


def test_one_who_is_unwatched_within_the_batch_is_not_called(plane: EpollPlane, closing: Any) -> None:
    (first, _), (second, _) = two_ready(closing)

    def unwatch() -> None:
        for sock in (first, second):
            plane.watch(sock.fileno(), watcher, 0)

    watcher = Doing(unwatch)
    for sock in (first, second):
        plane.watch(sock.fileno(), watcher, READ)
    plane.select(0.01)
    assert watcher.calls == 1


def test_number_that_is_given_anew_within_the_batch(plane: EpollPlane, closing: Any) -> None:
    """The event was for the old connection; the new one finds nothing to read, which is no error."""
    pairs = two_ready(closing)
    fresh, _ = tcp_pair(closing)
    endpoints = [Endpoint(plane, ours) for ours, _ in pairs]
    born: list[Endpoint] = []

    def close_the_other(dying: Endpoint) -> None:
        number = dying.fd
        dying.close()
        os.dup2(fresh.fileno(), number)
        newcomer = Endpoint(plane, closing(socket.socket(fileno=number)))
        newcomer.resume()
        born.append(newcomer)

    for endpoint, other in (endpoints, endpoints[::-1]):
        endpoint.sink = lambda _size, other=other: close_the_other(other)  # type: ignore[misc] # bound now
        endpoint.resume()
    plane.select(0.01)
    (newcomer,) = born
    assert newcomer.ending is None
    assert newcomer.bytes_in == 0
    (survivor,) = [endpoint for endpoint in endpoints if endpoint.ending is not Ending.CLOSED]
    for endpoint in (survivor, newcomer):
        endpoint.close()
