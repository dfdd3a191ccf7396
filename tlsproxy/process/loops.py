"""Which event loop, the data plane that goes with it, and how the kernel is to share the cores out."""

import asyncio
import os
from contextlib import suppress

import uvloop

from tlsproxy.core.kinds import LoopKind
from tlsproxy.net.plane import LoopPlane, Plane
from tlsproxy.net.selector import EpollPlane, PlaneLoop


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
    return PlaneLoop(plane), plane


def yield_to_workers() -> None:
    """Never take a core from a worker that is at work: a flood at the door must not be felt inside (sched(7))."""
    with suppress(OSError):  # a sandbox may forbid it; then the scheduler treats all alike
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
