"""Names to addresses: one look-up for all who ask at once, and nobody is held up."""

import asyncio
import socket
import threading
from typing import Any

import pytest
from rig.planes import on_both_planes

from tlsproxy.net.lookup import Lookup
from tlsproxy.net.plane import Plane


class Resolver:
    """Takes the place of getaddrinfo; answers when it is let."""

    def __init__(self, answer: list[Any] | Exception) -> None:
        self.answer = answer
        self.asked = 0
        self.may_answer = threading.Event()

    def __call__(self, *_: object, **__: object) -> list[Any]:
        self.asked += 1
        self.may_answer.wait(5)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


V4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 143))
V6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 143, 0, 0))


@on_both_planes
async def test_one_for_all(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver([V6, V4])
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    lookup = Lookup()
    asking = [asyncio.create_task(lookup.candidates("old.example", 143)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    resolver.may_answer.set()
    found = await asyncio.gather(*asking[1:])
    assert [[str(candidate) for candidate in each] for each in found] == [["[2001:db8::1]:143", "192.0.2.1:143"]] * 4
    assert asking[0].cancelled()
    assert resolver.asked == 1
    await lookup.candidates("old.example", 143)
    assert resolver.asked == 2


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "unknown"), OSError(5, "unknown")])
@on_both_planes
async def test_failure_is_told_to_all(plane: Plane, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    resolver = Resolver(error)
    resolver.may_answer.set()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    found = await asyncio.gather(*(Lookup().candidates("old.example", 143) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in found] == [socket.gaierror] * 2
    assert all("unknown" in str(each) for each in found)


@on_both_planes
async def test_nobody_waits_any_more(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that nobody hears is no unheard exception."""
    resolver = Resolver(socket.gaierror(socket.EAI_NONAME, "unknown"))
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    lookup = Lookup()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await lookup.candidates("old.example", 143)
    pending = lookup._pending
    assert pending is not None
    resolver.may_answer.set()
    await asyncio.wait([pending])
    await asyncio.sleep(0)
    assert lookup._pending is None


@on_both_planes
async def test_name_that_cannot_be_asked_for(plane: Plane) -> None:
    """A label of 64 bytes, which the configuration lets through."""
    with pytest.raises(socket.gaierror):
        async with asyncio.timeout(0.3):
            await Lookup().candidates("a" * 64 + ".example", 143)
