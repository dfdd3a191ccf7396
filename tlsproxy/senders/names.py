"""What the checks of a sender may ask of the DNS, and who answers; must not know how it is asked.

A look-up is a parameter of every check: ``net.dns`` brings the real one, a test brings a mapping.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from tlsproxy.core.errors import TlsProxyError


class RecordType(StrEnum):
    """A kind of record that some check needs."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    TXT = "TXT"
    PTR = "PTR"


class LookupFailedError(TlsProxyError):
    """A name could not be looked up now (SERVFAIL, a time-out, a broken answer); another try may work."""


@dataclass(frozen=True, slots=True)
class MailExchange:
    """One MX record."""

    preference: int
    """The lower, the more wanted (RFC 5321 §5.1)."""
    name: str
    """The host's absolute name without the final dot; empty for the root (RFC 7505 §3)."""


Record = IPv4Address | IPv6Address | MailExchange | bytes | str
"""One record's data: an address (A, AAAA), a MailExchange (MX), a name without the final dot (PTR), or a TXT record's
strings joined with nothing between them."""

Lookup = Callable[[str, RecordType], Awaitable[Sequence[Record]]]
"""Looks one name up: ``records = await lookup(name, record_type)``.

The name is absolute, with or without the final dot; no search list is ever tried. Nothing is returned where the name
or the type does not exist, and also for a name that cannot be asked for (an empty or too long label). CNAMEs are
followed. Raises LookupFailedError, and nothing else, where the answer cannot be had now.
"""
