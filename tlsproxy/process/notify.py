"""Readiness and signs of life for systemd (sd_notify(3)); does nothing where nobody listens."""

import asyncio
import os
import socket
import time
from types import TracebackType
from typing import Final, Self

_MICROSECONDS: Final = 1_000_000
_WITHIN_S: Final = 2.0  # systemd takes it at once; one that does not must not keep clients waiting


def ready() -> None:
    """Start-up or reload is complete."""
    _send("READY=1")


def reloading() -> None:
    """A reload begins; ``Type=notify-reload`` wants the time of it."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={int(time.clock_gettime(time.CLOCK_MONOTONIC) * _MICROSECONDS)}")


def stopping() -> None:
    """The drain begins."""
    _send("STOPPING=1")


class Watchdog:
    """Signs of life for as long as the loop turns, twice in each ``WatchdogSec`` (sd_watchdog_enabled(3))."""

    def __init__(self) -> None:
        self._period_s = _watchdog_s() / 2
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Begin, if systemd waits for it."""
        if self._period_s:
            self._sign()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _sign(self) -> None:
        _send("WATCHDOG=1", within_s=0)  # with no room for it, there are signs enough that wait to be read
        self._timer = asyncio.get_running_loop().call_later(self._period_s, self._sign)


def _watchdog_s() -> float:
    """How long systemd waits for a sign; 0 if it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    is_for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / _MICROSECONDS if microseconds.isdecimal() and is_for_us else 0.0


def _send(state: str, within_s: float = _WITHIN_S) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A leading @ is Linux's abstract namespace (unix(7)).
    where = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(within_s)
            sock.sendto(state.encode(), where)
    except OSError:
        return  # systemd's own time-out tells more than we could
