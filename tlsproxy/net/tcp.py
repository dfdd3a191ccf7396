"""What is asked of TCP on both legs."""

import socket
from typing import Final

_PROBE_PERIOD_S: Final = 30
_PROBES: Final = 4


def keep_alive(sock: socket.socket, idle_s: float) -> None:
    """No Nagle delay, and probes on a silent connection; a listening socket passes both on to what it accepts.

    Args:
        sock: A TCP socket.
        idle_s: Seconds of silence before the first probe.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, round(idle_s)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_PERIOD_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
