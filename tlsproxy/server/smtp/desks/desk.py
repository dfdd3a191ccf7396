"""Who decides whether a client may send: the interface of the two roles, ``mx`` and ``submission``."""

from typing import Protocol

from tlsproxy.protocols.smtp.backend_side.introduction import Guest
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.syntax import MailFrom, RcptTo


class Desk(Protocol):
    """Judges one client; None means that nothing speaks against it."""

    def arrived(self) -> None:
        """The client is here; what takes time may begin."""
        ...

    def heard(self, hello: bytes) -> None:
        """It gave its name."""
        ...

    async def sender(self, mail: MailFrom) -> Reply | None:
        """Whether it may send under this address."""
        ...

    async def recipient(self, rcpt: RcptTo) -> Reply | None:
        """Whether it may send to this address."""
        ...

    def headers(self) -> bytes:
        """What is to stand above the message, about the client and the checks."""
        ...

    def guest(self) -> Guest:
        """The client as the old server is to see it."""
        ...

    def close(self) -> None:
        """The client is gone: nothing that it caused goes on."""
        ...
