"""PROXY protocol headers for a backend that understands them: the first bytes of a connection; must not do I/O.

Source: "The PROXY protocol, versions 1 & 2", HAProxy, sections 2.1 and 2.2.
"""

import struct
from ipaddress import IPv4Address
from typing import Final

from tlsproxy.core.addresses import Peer

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_UNKNOWN_V1: Final = b"PROXY UNKNOWN\r\n"
_VERSION_2_LOCAL: Final = 0x20  # version 2, command LOCAL
_VERSION_2_PROXY: Final = 0x21  # version 2, command PROXY
_TCP_OVER_IPV4: Final = 0x11
_TCP_OVER_IPV6: Final = 0x21


def proxy_v1(source: Peer, destination: Peer) -> bytes:
    """The line of version 1.

    Args:
        source: The client.
        destination: Where it connected; if it is of the other family, nothing can be said but UNKNOWN.
    """
    if source.ip.version != destination.ip.version:
        return _UNKNOWN_V1
    version = source.ip.version
    return f"PROXY TCP{version} {source.ip} {destination.ip} {source.port} {destination.port}\r\n".encode("ascii")


def proxy_v2(source: Peer, destination: Peer) -> bytes:
    """The binary header of version 2, without TLVs; see ``proxy_v1``."""
    if source.ip.version != destination.ip.version:
        return _SIGNATURE + bytes([_VERSION_2_PROXY, 0]) + struct.pack("!H", 0)
    family = _TCP_OVER_IPV4 if isinstance(source.ip, IPv4Address) else _TCP_OVER_IPV6
    addresses = source.ip.packed + destination.ip.packed + struct.pack("!HH", source.port, destination.port)
    return _SIGNATURE + bytes([_VERSION_2_PROXY, family]) + struct.pack("!H", len(addresses)) + addresses


LOCAL_V1: Final = b"PROXY TCP4 127.0.0.1 127.0.0.1 25 25\r\n"
"""For a connection of our own, which is made for no client. Not UNKNOWN, which Postfix does not understand."""
LOCAL_V2: Final = _SIGNATURE + bytes([_VERSION_2_LOCAL, 0]) + struct.pack("!H", 0)
"""The same in version 2."""
