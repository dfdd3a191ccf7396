"""One message on its way from the client to the old server, re-framed; a half message is never ended."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from tlsproxy.protocols.smtp.answers import BARE_NEWLINE_IN_MESSAGE, MESSAGE_TOO_BIG
from tlsproxy.protocols.smtp.content import HeaderFilter
from tlsproxy.protocols.smtp.conversation import Conversation
from tlsproxy.protocols.smtp.data import Reframer
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.server.smtp.caller import Caller
from tlsproxy.server.smtp.delivering.carried import Carried
from tlsproxy.server.smtp.delivering.delivery import Delivery
from tlsproxy.server.smtp.service import SmtpService

Patience = Callable[[], AbstractContextManager[None]]
"""Makes a context in which a client may be waited for so long."""


class Message:
    """Carries content; nothing is kept but what is on its way."""

    def __init__(self, service: SmtpService, caller: Caller, conversation: Conversation, delivery: Delivery) -> None:
        self._service = service
        self._caller = caller
        self._conversation = conversation
        self._delivery = delivery
        self._reframer = Reframer(service.bare_newline)
        self._headers = HeaderFilter(service.hostname.encode("ascii"))

    async def carry(self, headers: bytes, patience: Patience) -> Carried:
        """Until the client has ended the message and somebody has answered for it.

        Args:
            headers: Ours, which go before the client's.
            patience: Bounds each wait for the client.

        Raises:
            SessionEndedError: The client left; nothing is delivered.
            PeerLostError: The same.
        """
        waiting = headers  # goes out with what comes next: a small message then takes one segment
        self._caller.detach()
        while True:
            content = self._reframer.feed(self._conversation.rest() or await self._more(patience))
            if self._refusal() is None:
                waiting += self._headers.feed(content)
            else:  # read on to the true end: what is not content must not be taken for commands
                waiting = b""
                self._delivery.drop()
            if self._reframer.is_over:
                break
            await self._delivery.push(waiting)
            waiting = b""
        self._caller.attach(self._caller.endpoint)
        self._conversation.feed(self._reframer.rest)
        return await self._end(waiting)

    async def _more(self, patience: Patience) -> bytes:
        with patience():
            return await self._caller.receive()

    async def _end(self, waiting: bytes) -> Carried:
        """Answer for the message, whose last part goes out together with its end."""
        refusal = self._refusal()
        if refusal is None:
            ending = b"".join((waiting, self._headers.finish(), self._reframer.finish()))
            answer = await self._delivery.end_content(ending)
        else:
            self._delivery.drop()
            answer = refusal
        return Carried(
            reply=answer,
            size=self._reframer.size,
            bare_newlines=self._reframer.bare_newlines,
            is_ours=refusal is not None,
        )

    def _refusal(self) -> Reply | None:
        """Why the message cannot be delivered, as far as it has been seen."""
        if self._reframer.size > self._service.max_message_bytes:
            return MESSAGE_TOO_BIG
        if self._reframer.is_refused:
            return BARE_NEWLINE_IN_MESSAGE
        return None
