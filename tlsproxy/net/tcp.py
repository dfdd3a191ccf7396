"""What is asked of TCP on both legs."""

import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tlsproxy.core.addresses import Peer, peer_from

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


def socket_of(fd: int, ip: IPv4Address | IPv6Address) -> socket.socket:
    """An accepted connection as a non-blocking socket.

    Args:
        fd: Its descriptor; the socket's from now on.
        ip: The peer's address; an IPv4 one may have come in by an IPv6 socket, which makes no difference here.
    """
    family = socket.AF_INET if isinstance(ip, IPv4Address) else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=fd)
    sock.settimeout(0)
    return sock


def local_peer_of(sock: socket.socket) -> Peer:
    """Our own end of a TCP connection."""
    host, port = sock.getsockname()[:2]
    return peer_from(host, port)
