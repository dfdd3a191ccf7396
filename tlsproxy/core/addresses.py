"""Client addresses: how they are written and what counts as one client; must not touch sockets."""

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

# The subnet prefix of a link (RFC 4291 §2.5.1): one IPv6 client can use every address in it.
_IPV6_CLIENT_PREFIX: Final = 64
_KEY_BYTES: Final = _IPV6_CLIENT_PREFIX // 8  # an IPv4 address has fewer, and all of them count

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Client:
    """What counts as one client, from wherever in its address it connects."""

    ip: IPv4Address | IPv6Address
    """The address that connected, see ``Peer.ip``."""
    packed: bytes
    """The same in 4 or 16 bytes."""
    key: bytes
    """``Peer.key``."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of an accepted connection."""

    ip: IPv4Address | IPv6Address
    """The address, with ::ffff:0:0/96 unfolded to IPv4 (RFC 4291 §2.5.5.2)."""
    port: int

    @property
    def key(self) -> bytes:
        """What counts as one client: 4 bytes for an IPv4 address, 8 for an IPv6 /64."""
        return self.ip.packed[:_KEY_BYTES]

    @property
    def client(self) -> Client:
        """The client that it is."""
        return _client_of(self.ip)

    def __str__(self) -> str:
        """``192.0.2.1:49152`` or ``[2001:db8::1]:49152``."""
        return f"{self.ip}:{self.port}" if isinstance(self.ip, IPv4Address) else f"[{self.ip}]:{self.port}"


def peer_from(host: str, port: int) -> Peer:
    """Make a Peer of what ``accept`` returned.

    Args:
        host: A numeric address; an IPv6 zone (``%eth0``) is cut off.
        port: The peer's port.

    Returns:
        The Peer, an IPv4-mapped address unfolded.

    Raises:
        ValueError: ``host`` is no numeric address.
    """
    return Peer(_ip_from(host), port)


def client_from(host: str) -> Client:
    """The client behind what ``accept`` returned; see ``peer_from``.

    Raises:
        ValueError: ``host`` is no numeric address.
    """
    return _client_of(_ip_from(host))


def is_within(ip: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    """Whether one of the networks holds the address."""
    return any(ip in network for network in networks)


def _ip_from(host: str) -> IPv4Address | IPv6Address:
    ip = ipaddress.ip_address(host.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip


def _client_of(ip: IPv4Address | IPv6Address) -> Client:
    packed = ip.packed
    return Client(ip, packed, packed[:_KEY_BYTES])
