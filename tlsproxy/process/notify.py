"""Readiness for systemd (sd_notify(3)); does nothing where nobody listens."""

import os
import socket
import time
from typing import Final

_MICROSECONDS: Final = 1_000_000


def ready() -> None:
    """Start-up or reload is complete."""
    _send("READY=1")


def reloading() -> None:
    """A reload begins; ``Type=notify-reload`` wants the time of it."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={int(time.clock_gettime(time.CLOCK_MONOTONIC) * _MICROSECONDS)}")


def stopping() -> None:
    """The drain begins."""
    _send("STOPPING=1")


def _send(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A leading @ is Linux's abstract namespace (unix(7)).
    where = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode(), where)
    except OSError:
        return  # systemd's own time-out tells more than we could
