"""Whether an old SMTP server would send a stranger's mail to anywhere, if only it came from us; delivers nothing."""

import asyncio
from ipaddress import IPv4Address
from typing import Final

from tlsproxy.core.addresses import Peer
from tlsproxy.core.errors import BackendError
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import BackendIdentity
from tlsproxy.core.log import Log
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.smtp.backend_side.introduction import UNKNOWN_NAME, Dialogue, Guest, Refusal
from tlsproxy.server.smtp.delivering.old_server import called
from tlsproxy.server.smtp.delivering.presenting import first_words, introduction
from tlsproxy.server.way.way import Way

_LIMIT_S: Final = 30.0
# Reserved for examples (RFC 2606 §3), so that nobody is harmed, and known to the DNS, so that nobody refuses it for
# not existing.
_FOREIGN: Final = b"RCPT TO:<postmaster@example.net>\r\n"
# Reserved for documentation (RFC 5737 §3): an address that no server trusts. Asked under ours, an old server on this
# machine would say yes to us and no to those whom it is told of.
_STRANGER: Final = Peer(IPv4Address("192.0.2.1"), 49152)
_SETTINGS: Final = (
    "look at smtpd_relay_restrictions and mynetworks (Postfix), relay_from_hosts (Exim), match from src (OpenSMTPD)"
)
_HINTS: Final = {
    BackendIdentity.NONE: (
        "it takes tlsproxy's address for one of its own, and all mail comes from there; tlsproxy's local_domains are "
        f"all that stands before it: {_SETTINGS}"
    )
}
_OTHERS_HINT: Final = f"it relays for strangers, of whom it was told one; {_SETTINGS}"


async def is_open_relay(plane: Plane, way: Way, hostname: str) -> bool | None:
    """Ask the old server to take a stranger's mail for a foreign domain, and take the question back.

    Args:
        plane: Who watches the descriptor.
        way: The way to it.
        hostname: Our own name.

    Returns:
        Whether it would take it; None if it could not be asked.
    """
    config, name = way.backend.config, hostname.encode("ascii")
    guest = Guest(peer=_STRANGER, destination=_STRANGER, name=UNKNOWN_NAME, hello=name, is_esmtp=True, user=None)
    opening = introduction(name, config.identity, guest, is_required=config.identity_required)
    call = called(plane, way, b"", first_words(config.identity, guest), _LIMIT_S)
    try:
        async with asyncio.timeout(_LIMIT_S), call as server:
            await server.greeting()
            return await server.perform(_question(opening))
    except (BackendError, TimeoutError):
        return None


async def warn_if_open(plane: Plane, way: Way, hostname: str, log: Log) -> None:
    """Tell it if the old server is an open relay; see ``is_open_relay``."""
    if await is_open_relay(plane, way, hostname):
        config = way.backend.config
        log.warning(
            Event.RELAY_EXPOSED, backend=way.name, address=str(config.address), hint=relay_hint(config.identity)
        )


def relay_hint(identity: BackendIdentity) -> str:
    """Which settings of the old server to look at."""
    return _HINTS.get(identity, _OTHERS_HINT)


def _question(opening: Dialogue[object]) -> Dialogue[bool | None]:
    if isinstance((yield from opening), Refusal):
        return None
    if not (yield b"MAIL FROM:<>\r\n").is_positive:
        return None
    answer = yield _FOREIGN
    yield b"RSET\r\n"
    return answer.is_positive
