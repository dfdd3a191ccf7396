"""How a client is presented to the old server, by what that server understands; must not do I/O."""

from tlsproxy.core.kinds import BackendIdentity
from tlsproxy.protocols.proxy_header import proxy_v1, proxy_v2
from tlsproxy.protocols.smtp.backend_side.introduction import Dialogue, Guest, Refusal, introduce, say_hello
from tlsproxy.protocols.smtp.capabilities import Capabilities


def first_words(identity: BackendIdentity, guest: Guest) -> bytes:
    """What is said before anything else, TLS too."""
    match identity:
        case BackendIdentity.PROXY_V1:
            return proxy_v1(guest.peer, guest.destination)
        case BackendIdentity.PROXY_V2:
            return proxy_v2(guest.peer, guest.destination)
        case _:
            return b""


def introduction(
    hostname: bytes, identity: BackendIdentity, guest: Guest, *, is_required: bool
) -> Dialogue[Capabilities | Refusal]:
    """What is said after the greeting.

    Args:
        hostname: Our own name.
        identity: How the old server is told who the client is.
        guest: The client.
        is_required: Whether a server that does not take the client's address is of no use.
    """
    if identity is BackendIdentity.XCLIENT:
        return introduce(hostname, guest, is_required=is_required)
    is_through = identity in {BackendIdentity.PROXY_V1, BackendIdentity.PROXY_V2}
    return say_hello(guest.hello if is_through and guest.hello else hostname)
