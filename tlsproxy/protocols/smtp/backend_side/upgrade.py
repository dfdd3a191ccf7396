"""Our own dialogue with an old server that wants STARTTLS first; must not let anything heard before TLS through."""

from collections.abc import Sequence
from typing import Final

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Hangup, StartTls, ToBackend, UpgradeAction
from tlsproxy.protocols.smtp.capabilities import read_capabilities
from tlsproxy.protocols.smtp.reply import Reply, ReplyFault, ReplyReader
from tlsproxy.protocols.smtp.syntax import Extension

_GREETING_CODE: Final = 220
_HELLO: Final = b"EHLO localhost\r\n"  # thrown away with everything else that is said before TLS (RFC 3207 §4.2)


class SmtpUpgrade:
    """Waits for the greeting, says EHLO and STARTTLS, and waits for the go-ahead (RFC 3207 §4)."""

    __slots__ = ("_awaits", "_is_over", "_replies")

    def __init__(self) -> None:
        self._replies = ReplyReader()
        self._awaits = self._greeted
        self._is_over = False

    @property
    def greeting(self) -> bytes:
        """A greeting to go on from, with nothing in it that was heard before TLS."""
        return b"220 ready\r\n"

    def from_backend(self, data: bytes) -> Sequence[UpgradeAction]:
        """Take bytes from the backend, in any split; bytes behind its go-ahead are an injection and a Hangup."""
        if self._is_over:
            return []
        self._replies.feed(data)
        reply = self._replies.take()
        if reply is None:
            return []
        if isinstance(reply, ReplyFault):
            return self._hangup(Reason.BACKEND_GARBAGE)
        if len(self._replies):  # one command at a time: nothing can be said behind an answer
            return self._hangup(Reason.BACKEND_TLS_FAILED)
        return self._awaits(reply)

    def _greeted(self, reply: Reply) -> list[UpgradeAction]:
        if reply.code != _GREETING_CODE:
            return self._hangup(Reason.BACKEND_REFUSED)
        self._awaits = self._introduced
        return [ToBackend(_HELLO)]

    def _introduced(self, reply: Reply) -> list[UpgradeAction]:
        if not reply.is_positive or Extension.STARTTLS not in read_capabilities(reply).extensions:
            return self._hangup(Reason.BACKEND_TLS_FAILED)
        self._awaits = self._allowed
        return [ToBackend(b"STARTTLS\r\n")]

    def _allowed(self, reply: Reply) -> list[UpgradeAction]:
        if reply.code != _GREETING_CODE:
            return self._hangup(Reason.BACKEND_TLS_FAILED)
        self._is_over = True
        return [StartTls()]

    def _hangup(self, reason: Reason) -> list[UpgradeAction]:
        self._is_over = True
        return [Hangup(reason)]
