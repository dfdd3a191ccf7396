"""Which last words a client gets, if any; pure, and the words themselves stand in ``protocols``."""

from typing import Final

from tlsproxy.core.outcome import Phase, Reason
from tlsproxy.protocols.base import Login, MailProtocol

# A logged-in client hears from us for these reasons only; everything else is between it and its server.
_OURS: Final = frozenset({Reason.SHUTDOWN, Reason.IDLE_TIMEOUT})
# POP3 says nothing unasked, but a client that is dropped while it is silent must learn why: its next command finds
# the answer waiting. A restart of ours is no such news: it just connects again.
_TOLD_UNASKED: Final = frozenset(
    {
        Reason.LOGIN_TIMEOUT,
        Reason.UNAUTHENTICATED_FULL,
        Reason.BACKEND_DOWN,
        Reason.BACKEND_TIMEOUT,
        Reason.BACKEND_CLOSED,
        Reason.BACKEND_RESET,
        Reason.BACKEND_TLS_FAILED,
    }
)


def last_words(
    protocol: MailProtocol, phase: Phase, login: Login | None, reason: Reason, why: str, *, is_between: bool
) -> bytes:
    """The last bytes for a client that has not been told yet.

    Args:
        protocol: What it speaks.
        phase: Where the connection ends.
        login: The dialogue it is in, from the end of the handshake to the end of the login.
        reason: Why it ends.
        why: A sentence for a person.
        is_between: In the relay: whether the backend's last response is whole.
    """
    match phase:
        case Phase.HANDSHAKE:
            return b""
        case Phase.RELAY:
            return protocol.parting(reason, why) if is_between and reason in _OURS and protocol.has_goodbye else b""
        case _ if login is not None:
            is_silent = login.wants_client or not login.is_greeted
            is_told_unasked = is_silent and reason in _TOLD_UNASKED and not protocol.has_goodbye
            return login.parting(reason, why) or (protocol.parting(reason, why) if is_told_unasked else b"")
        case _:
            return protocol.parting(reason, why)
