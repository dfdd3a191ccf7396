"""Who a client of SMTP is, as headers and the old server are told: one record that grows with the session."""

from dataclasses import dataclass

from tlsproxy.core.addresses import Peer
from tlsproxy.protocols.smtp.backend_side.introduction import Guest
from tlsproxy.senders.headers import Trace


@dataclass(slots=True, kw_only=True)
class ClientFacts:
    """The client, its words unjudged."""

    peer: Peer
    destination: Peer
    """Where it connected."""
    ref: str
    """The session's id."""
    receiver: str
    """Our host name."""
    hello: bytes = b""
    is_esmtp: bool = True
    is_tls: bool = False
    user: bytes | None = None
    """Who has logged in."""

    def guest(self, name: bytes, user: bytes | None) -> Guest:
        """The client as the old server is to see it.

        Args:
            name: Its confirmed host name, or XCLIENT's word for a client without one.
            user: Who the old server is told has logged in.
        """
        return Guest(
            peer=self.peer,
            destination=self.destination,
            name=name,
            hello=self.hello,
            is_esmtp=self.is_esmtp,
            user=user,
        )

    def trace(self, sender: bytes) -> Trace:
        """The client as headers tell of it; ``sender`` is the address of MAIL, without its brackets."""
        return Trace(
            ip=self.peer.ip,
            hello=self.hello,
            mail_from=sender,
            receiver=self.receiver,
            ref=self.ref,
            is_esmtp=self.is_esmtp,
            is_tls=self.is_tls,
            user=self.user or b"",
        )
