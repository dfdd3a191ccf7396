"""Envelopes and messages of one session, one after the other: judged by the desk, counted, judged by the old server.

Answers the conversation's questions about mail; must not know who the client is.
"""

from typing import Final

from tlsproxy.core.kinds import SmtpRole
from tlsproxy.protocols.smtp.answers import GO_AHEAD, MESSAGE_TOO_BIG
from tlsproxy.protocols.smtp.conversation import Conversation
from tlsproxy.protocols.smtp.reply import reply
from tlsproxy.protocols.smtp.syntax import MailFrom, RcptTo
from tlsproxy.server.smtp.caller import Caller
from tlsproxy.server.smtp.delivering.delivery import Delivery
from tlsproxy.server.smtp.delivering.message import Message, Patience
from tlsproxy.server.smtp.desks.desk import Desk
from tlsproxy.server.smtp.notes import Notes
from tlsproxy.server.smtp.service import SmtpService
from tlsproxy.server.smtp.spending import Spending

_SENDER_OK: Final = reply(250, "2.1.0", "sender ok")


class Transactions:
    """MAIL, RCPT and DATA."""

    def __init__(
        self,
        service: SmtpService,
        desk: Desk,
        spending: Spending,
        delivery: Delivery,
        notes: Notes,
        *,
        conversation: Conversation,
        caller: Caller,
    ) -> None:
        self._service = service
        self._desk = desk
        self._spending = spending
        self._delivery = delivery
        self._notes = notes
        self._conversation = conversation
        self._caller = caller

    async def begin(self, mail: MailFrom, size_limit: int) -> None:
        """MAIL.

        Args:
            mail: The sender.
            size_limit: Octets of the largest message that was offered.
        """
        self._notes.began(mail)
        if mail.size is not None and mail.size > size_limit:
            self._notes.refused("message_too_big", MESSAGE_TOO_BIG)
            self._conversation.answer(MESSAGE_TOO_BIG)
            return
        with self._caller.served():
            answer = await self._desk.sender(mail) or await self._spending.message()
            if answer is None:
                self._delivery.begin(mail)
                # A stranger's mail reaches the old server with the first recipient that is welcome.
                answer = await self._delivery.announce() if self._service.role is SmtpRole.SUBMISSION else _SENDER_OK
                if not answer.is_positive:
                    self._notes.refused("sender", answer, by="backend")
        self._conversation.answer(answer)

    async def add(self, rcpt: RcptTo) -> bool:
        """RCPT; whether the recipient was taken."""
        with self._caller.served():
            answer = await self._desk.recipient(rcpt) or await self._spending.recipient(rcpt)
            if answer is None:
                answer = await self._delivery.recipient(rcpt)
                if answer.is_positive:
                    self._notes.accepted(rcpt)
                else:
                    self._notes.refused("recipient", answer, rcpt, by="backend")
        self._conversation.answer(answer)
        return answer.is_positive

    async def carry(self, patience: Patience) -> None:
        """DATA, and the message; ``patience`` bounds each wait for more of it."""
        with self._caller.served():
            answer = await self._delivery.begin_content()
        if answer.code != GO_AHEAD.code:
            self._notes.refused("data", answer, by="backend")
            self._conversation.answer(answer)
            return
        self._conversation.answer(GO_AHEAD)
        await self._caller.flush()
        message = Message(self._service, self._caller, self._conversation, self._delivery)
        carried = await message.carry(self._desk.headers(), patience)
        if carried.reply.is_positive:
            self._notes.relayed(carried)
        else:
            self._notes.refused(carried.word, carried.reply, by="proxy" if carried.is_ours else "backend")
        self._notes.ended()
        self._conversation.data_done(carried.reply)

    async def give_up(self) -> None:
        """RSET, or EHLO in its place."""
        with self._caller.served():
            await self._delivery.reset()
        self._notes.ended()
