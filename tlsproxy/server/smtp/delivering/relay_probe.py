"""Whether an old SMTP server would send a stranger's mail to anywhere, if only it came from us; delivers nothing."""

import asyncio
from typing import Final

from tlsproxy.core.errors import BackendError
from tlsproxy.core.kinds import BackendIdentity
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.smtp.backend_side.introduction import Dialogue, Refusal, say_hello
from tlsproxy.protocols.smtp.backend_side.upgrade import SmtpUpgrade
from tlsproxy.server.smtp.delivering.knowledge import LOCAL_WORDS
from tlsproxy.server.smtp.delivering.old_server import OldServer
from tlsproxy.server.way.way import Way

_LIMIT_S: Final = 30.0
# Reserved for examples (RFC 2606 §3), so that nobody is harmed, and known to the DNS, so that nobody refuses it for
# not existing.
_FOREIGN: Final = b"RCPT TO:<postmaster@example.net>\r\n"


async def is_open_relay(plane: Plane, way: Way, hostname: str, identity: BackendIdentity) -> bool | None:
    """Ask the old server to take mail for a foreign domain, and take the question back.

    Args:
        plane: Who watches the descriptor.
        way: The way to it.
        hostname: Our own name.
        identity: How it is told of clients.

    Returns:
        Whether it would take it; None if it could not be asked.
    """
    server = None
    try:
        async with asyncio.timeout(_LIMIT_S):
            arrival = await way.connect(plane, b"", SmtpUpgrade(), LOCAL_WORDS.get(identity, b""))
            server = OldServer(arrival, _LIMIT_S)
            await server.greeting()
            would = await server.perform(_question(hostname.encode("ascii")))
            await server.quit()
    except (BackendError, TimeoutError):
        return None
    finally:
        if server is not None:
            server.close()
    return would


def _question(hostname: bytes) -> Dialogue[bool | None]:
    if isinstance((yield from say_hello(hostname)), Refusal):
        return None
    if not (yield b"MAIL FROM:<>\r\n").is_positive:
        return None
    answer = yield _FOREIGN
    yield b"RSET\r\n"
    return answer.is_positive
