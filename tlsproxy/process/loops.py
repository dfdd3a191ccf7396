"""Which event loop, and the data plane that goes with it."""

import asyncio

import uvloop

from tlsproxy.core.kinds import LoopKind
from tlsproxy.net.plane import LoopPlane, Plane
from tlsproxy.net.selector import EpollPlane


def kind_of(kind: LoopKind) -> LoopKind:
    """What is behind ``auto``.

    Args:
        kind: ``auto`` is the epoll plane under asyncio's own loop: a round trip through it costs less than through
            any loop's ``add_reader``, uvloop's too.
    """
    return LoopKind.SELECTOR if kind is LoopKind.AUTO else kind


def make_loop(kind: LoopKind) -> tuple[asyncio.AbstractEventLoop, Plane]:
    """Make a loop and its plane."""
    if kind_of(kind) is LoopKind.UVLOOP:
        loop = uvloop.new_event_loop()
        return loop, LoopPlane(loop)
    plane = EpollPlane()
    return asyncio.SelectorEventLoop(plane), plane
