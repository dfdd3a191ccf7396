"""A parsed policy; must not hold behaviour."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from tlsproxy.senders.spf.macros import MacroText
from tlsproxy.senders.spf.result import SpfVerdict


@dataclass(frozen=True, slots=True)
class All:
    """Matches always (RFC 7208 §5.1)."""


@dataclass(frozen=True, slots=True)
class Include:
    """Matches where another domain's policy passes (RFC 7208 §5.2)."""

    target: MacroText


@dataclass(frozen=True, slots=True)
class Hosts:
    """Matches the addresses of a name (``a``, RFC 7208 §5.3), or of its mail exchanges (``mx``, §5.4)."""

    target: MacroText | None
    """None for the domain itself."""
    ip4_prefix: int
    ip6_prefix: int
    is_mx: bool


@dataclass(frozen=True, slots=True)
class Ptr:
    """Matches the client's confirmed names (RFC 7208 §5.5)."""

    target: MacroText | None
    """None for the domain itself."""


@dataclass(frozen=True, slots=True)
class Network:
    """Matches addresses (``ip4`` and ``ip6``, RFC 7208 §5.6)."""

    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Exists:
    """Matches where a name has an A record (RFC 7208 §5.7)."""

    target: MacroText


Mechanism = All | Include | Hosts | Ptr | Network | Exists


@dataclass(frozen=True, slots=True)
class Directive:
    """A mechanism, and the verdict if it matches."""

    verdict: SpfVerdict
    mechanism: Mechanism
    text: str
    """As published."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole record."""

    directives: tuple[Directive, ...]
    redirect: MacroText | None
    explanation: MacroText | None
