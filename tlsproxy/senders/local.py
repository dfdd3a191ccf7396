"""Whom the checks concern: which clients skip them, which recipients are ours, and which are to be reached always."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network
from typing import Final, Self

from tlsproxy.core.addresses import Network, is_within
from tlsproxy.senders.identity import IpAddress, fold, is_full_name

# What no reverse DNS of the Internet knows: RFC 1122 §3.2.1.3, RFC 1918, RFC 3927, RFC 6598, RFC 4291 §2.5, RFC 4193.
# ``is_private`` is not asked: it holds the networks of documentation too, and what it holds changes between Pythons.
_PRIVATE: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "100.64.0.0/10",
            "::1/128",
            "fe80::/10",
            "fc00::/7",
        ),
    )
)

# RFC 1035 §2.3.4; no name gets shorter on its way into ASCII.
_NAME_LENGTH: Final = 253

_POSTMASTER: Final = b"postmaster"


class Skip(StrEnum):
    """Why an address is not checked at all."""

    PRIVATE = "private"
    EXEMPT = "exempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownClients:
    """The clients of whom less is asked."""

    exempt: tuple[Network, ...] = ()
    """Not checked at all."""
    forwarders: tuple[Network, ...] = ()
    """They pass on mail of others, which no SPF record allows: SPF is not checked, identity is."""
    forwarder_names: tuple[str, ...] = ()
    """The same by the end of a confirmed host name, with or without a dot before it."""

    def skip(self, ip: IpAddress) -> Skip | None:
        """Why an address is not checked; None if it is.

        Args:
            ip: The client's address, an IPv4-mapped one unfolded.

        Returns:
            EXEMPT before PRIVATE: what an operator has said comes first.
        """
        if is_within(ip, self.exempt):
            return Skip.EXEMPT
        return Skip.PRIVATE if is_within(ip, _PRIVATE) else None

    def is_forwarder(self, ip: IpAddress, names: Collection[str]) -> bool:
        """Whether a client passes on mail of others.

        Args:
            ip: The client's address, an IPv4-mapped one unfolded.
            names: Its host names, confirmed ones only: anybody can publish a PTR with any name.

        Returns:
            Whether its network or the end of one of its names is listed.
        """
        return is_within(ip, self.forwarders) or any(
            f".{name}".endswith(f".{fold(suffix).lstrip('.')}") for suffix in self.forwarder_names for name in names
        )


@dataclass(frozen=True, slots=True)
class LocalDomains:
    """The domains for which mail is taken in."""

    names: frozenset[str]
    """The domains themselves, lower case, in ASCII (IDNA); an address literal with its brackets."""
    parents: frozenset[str]
    """Domains of which every sub-domain is ours, but not they themselves."""

    @classmethod
    def read(cls, values: Iterable[str]) -> Self:
        """Take ``example.org``, ``.example.org`` or ``*.example.org`` for its sub-domains, or ``[192.0.2.1]``.

        Args:
            values: The names, in any case, in ASCII or not.

        Returns:
            The domains.

        Raises:
            ValueError: A value is none of these; the text names it.
        """
        names, parents = set[str](), set[str]()
        for value in values:
            stem = value.removeprefix("*").removeprefix(".") if value.startswith(("*.", ".")) else value
            name = domain_name(stem)
            if not name:
                raise ValueError(f"{value!r} is no domain name")
            (names if stem == value else parents).add(name)
        return cls(frozenset(names), frozenset(parents))

    def __contains__(self, domain: bytes) -> bool:
        """Whether mail for a domain is taken in."""
        name = domain_name(domain.decode("utf-8", "replace"))
        if not _is_spelled(name, domain):
            return False
        labels = name.split(".")
        return name in self.names or any(".".join(labels[n:]) in self.parents for n in range(1, len(labels)))


@dataclass(frozen=True, slots=True)
class ExemptRecipients:
    """Who is to be reached even by those who fail the checks: how else should they tell us?"""

    locals: frozenset[bytes]
    """Local parts in lower case, at any local domain."""
    addresses: frozenset[tuple[bytes, str]]
    """Local parts in lower case, with a domain in ASCII."""

    @classmethod
    def read(cls, values: Iterable[str]) -> Self:
        """Take ``postmaster`` or ``abuse@example.org``.

        Args:
            values: Local parts or whole addresses, in any case.

        Returns:
            The recipients.

        Raises:
            ValueError: A value is neither; the text names it.
        """
        parts, addresses = set[bytes](), set[tuple[bytes, str]]()
        for value in values:
            local, at, domain = value.rpartition("@") if "@" in value else (value, "", "")
            name = domain_name(domain)
            if not local or (at and not name):
                raise ValueError(f"{value!r} is neither a local part nor an address")
            if at:
                addresses.add((local.lower().encode(), name))
            else:
                parts.add(local.lower().encode())
        return cls(frozenset(parts), frozenset(addresses))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """For whom mail is taken in, and for whom always."""

    domains: LocalDomains
    exempt: ExemptRecipients

    def is_local(self, local: bytes, domain: bytes) -> bool:
        """Whether a recipient is ours.

        Args:
            local: The local part, unquoted.
            domain: The domain; empty only for the bare postmaster, who is everybody's (RFC 5321 §4.5.1).

        Returns:
            Whether mail for it is taken in.
        """
        return domain in self.domains if domain else local.lower() == _POSTMASTER

    def is_exempt(self, local: bytes, domain: bytes) -> bool:
        """Whether a recipient is ours and is to be reached always; see ``is_local``."""
        name = domain_name(domain.decode("utf-8", "replace"))
        part = local.lower()
        return self.is_local(local, domain) and (part in self.exempt.locals or (part, name) in self.exempt.addresses)


def domain_name(text: str) -> str:
    """A domain as it is compared: lower case, in ASCII, without the final dot; empty if it is no domain name.

    Args:
        text: A name in ASCII or in Unicode (IDNA 2003, which is what Python brings), or an address literal.

    Returns:
        The name, or the literal as it stands.
    """
    if text.startswith("[") and text.endswith("]") and text.isascii():
        return text.lower()
    if len(text) > _NAME_LENGTH:
        return ""
    try:
        name = fold(text.encode("idna").decode("ascii"))
    except UnicodeError:
        return ""
    return name if is_full_name(name) or name.replace("-", "").isalnum() else ""


def _is_spelled(name: str, domain: bytes) -> bool:
    """Whether a domain is its name as it is written, but for case.

    What IDNA 2003 takes for a letter, for a dot or for nothing, another server may take for a domain of its own: for it
    "straße" is not "strasse". The old server gets the recipient as it was written and must not read a foreign domain.
    """
    if domain.isascii():
        return True
    try:
        return name.encode("ascii").decode("idna") == domain.decode("utf-8").lower()
    except UnicodeError:
        return False
