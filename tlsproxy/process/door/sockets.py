"""Listening sockets, bound here or passed by systemd; must not accept."""

import errno
import os
import socket
from typing import Final

from tlsproxy.config.model import BindAddress, InheritedSocket, TcpAddress
from tlsproxy.core.errors import BindError, NoIpv6Error
from tlsproxy.net.tcp import keep_alive

_BACKLOG: Final = 4096  # the kernel lowers it to net.core.somaxconn
# sd_listen_fds(3): the first descriptor that systemd passes.
_LISTEN_FDS_START: Final = 3

# Without IPv6 in the kernel, and with it switched off (net.ipv6.conf.all.disable_ipv6).
_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_HINTS: Final = {
    errno.EADDRINUSE: (
        "something listens there already; tlsproxy itself? A listener that moves to another address of the same port "
        "needs a restart"
    ),
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE (the systemd unit grants it) or root",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EAFNOSUPPORT: "this machine has no IPv6",
}

Place = tuple[BindAddress, str]
"""Where something listens; the second part tells apart the listeners that leave the port to the kernel."""


def place_of(listener: str, address: BindAddress) -> Place:
    """The place of a listener's address: the same for as long as a socket bound there can be kept."""
    is_any_port = isinstance(address, TcpAddress) and not address.port
    return address, listener if is_any_port else ""


def listen(address: BindAddress, keepalive_s: float) -> socket.socket:
    """Bind a listening socket, or take the one that systemd passed under this name.

    Raises:
        BindError: It cannot be had; the text says why and what to do.
        NoIpv6Error: It is ``[::]`` on a machine without IPv6.
    """
    sock = _inherited(address.name) if isinstance(address, InheritedSocket) else _bound(address)
    try:
        sock.settimeout(0)
        keep_alive(sock, keepalive_s)
    except OSError as error:
        sock.close()
        raise BindError(f"{address}: no TCP socket ({error.strerror})") from error
    return sock


def address_of(sock: socket.socket) -> str:
    """``0.0.0.0:993`` or ``[::]:993``."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"


def _bound(address: TcpAddress) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise _bind_error(address, error) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 has a socket of its own
        sock.bind(where)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _bind_error(address, error) from error
    return sock


def _inherited(name: str) -> socket.socket:
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    count = int(os.environ.get("LISTEN_FDS", "0") or 0)
    is_ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    for offset, passed in enumerate(names[:count] if is_ours else []):
        if passed == name:
            # A duplicate, so that a reload that drops and takes the listener again finds the original open.
            return socket.socket(fileno=os.dup(_LISTEN_FDS_START + offset))
    has = ", ".join(names[:count]) if is_ours and count else "none"
    raise BindError(f"fd:{name}: systemd passed no socket of that name (passed: {has})")


def _bind_error(address: TcpAddress, error: OSError) -> BindError:
    said = error.strerror or str(error)
    hint = f"; {_HINTS[error.errno]}" if error.errno in _HINTS else ""
    kind = NoIpv6Error if address.host == "::" and error.errno in _NO_IPV6 else BindError
    return kind(f"{address}: {said}{hint}")
