"""The three questions about a client, each under its deadline: its names, its HELO, SPF; must not judge.

Asked by sessions and by ``tlsproxy check-sender`` alike, so that the one tells what the others do.
"""

import asyncio
import time
from dataclasses import dataclass

from tlsproxy.senders.identity import HelloResult, IpAddress, Iprev, IprevResult, check_hello, confirm_names
from tlsproxy.senders.local import KnownClients, domain_name
from tlsproxy.senders.names import Lookup
from tlsproxy.senders.policy import PolicySettings
from tlsproxy.senders.spf import SpfResult, SpfVerdict, check_host


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What is checked of every client of a listener."""

    lookup: Lookup
    settings: PolicySettings
    clients: KnownClients
    hostname: str
    identity_s: float
    """The deadline of the checks of reverse DNS and HELO."""
    spf_s: float
    """The deadline of one SPF check."""


async def ask_names(checks: Checks, ip: IpAddress) -> Iprev:
    """What reverse DNS says of an address."""
    try:
        async with asyncio.timeout(checks.identity_s):
            return await confirm_names(ip, checks.lookup, asyncio.gather)
    except TimeoutError:
        return Iprev(IprevResult.TEMPERROR)


async def ask_hello(
    checks: Checks,
    ip: IpAddress,
    hello: bytes,
    names: asyncio.Task[Iprev],
    own: IpAddress | None,
    *,
    is_relaxed: bool,
) -> HelloResult:
    """How the name that a client gives itself goes with its address.

    Args:
        checks: What is checked.
        ip: The client's address.
        hello: The name.
        names: What ``ask_names`` will say; it goes on if this is cancelled.
        own: The address that the client connected to, if that is known.
        is_relaxed: Whether it need only be of the same organisation as a confirmed name.
    """
    try:
        async with asyncio.timeout(checks.identity_s):
            await asyncio.wait({names})
            return await check_hello(
                hello,
                ip,
                names.result(),
                checks.lookup,
                is_relaxed=is_relaxed,
                own_names=(checks.hostname,) if checks.hostname else (),
                own_addresses=(own,) if own is not None else (),
            )
    except TimeoutError:
        return HelloResult.TEMPERROR


async def ask_spf(
    checks: Checks, ip: IpAddress, hello: bytes, *, domain: bytes, sender: bytes, names: asyncio.Task[Iprev] | None
) -> SpfResult:
    """What SPF says of a sender; NONE for one that passes on mail of others.

    Args:
        checks: What is checked.
        ip: The client's address.
        hello: The name that it gives itself.
        domain: The domain of the sender, the HELO name for the null sender (RFC 7208 §2.4).
        sender: The address of MAIL FROM; empty for the null sender.
        names: What ``ask_names`` will say, if it was asked; it goes on if this is cancelled.
    """
    name = domain_name(domain.decode("utf-8", "replace"))
    try:
        async with asyncio.timeout(checks.spf_s):
            if await _is_forwarder(checks.clients, ip, names):
                return SpfResult(verdict=SpfVerdict.NONE, domain=name)
            return await check_host(
                ip,
                name,
                sender.decode("utf-8", "replace"),
                hello.decode("ascii", "replace"),
                checks.lookup,
                receiver=checks.hostname,
                now=time.time(),
            )
    except TimeoutError:
        return SpfResult(verdict=SpfVerdict.TEMPERROR, domain=name, problem="no answer within the deadline")


async def _is_forwarder(clients: KnownClients, ip: IpAddress, names: asyncio.Task[Iprev] | None) -> bool:
    """Whether the client passes on mail of others; its names are waited for only if that depends on them."""
    if names is None or not clients.forwarder_names:
        return clients.is_forwarder(ip, ())
    await asyncio.wait({names})
    return clients.is_forwarder(ip, names.result().names)
