"""How much mail a client may send: the supervisor counts for all workers, and is asked; must not count by itself.

Whatever goes wrong with an answer lets the mail pass: these limits keep a flood away from the old server, and mail that
is wanted is worth more than they are.
"""

import asyncio
import itertools
from typing import Final

from tlsproxy.admission.base import Ticket
from tlsproxy.config.model import Limits
from tlsproxy.process.line.channel import Channel
from tlsproxy.process.line.words import Spend, Spent, encode

_ANSWER_S: Final = 2.0  # it takes the supervisor a millisecond
_OPEN_QUESTIONS: Final = 4096  # a session has one at a time, and no worker has that many that speak at once


class SendingRates:
    """Implements ``MailBudget`` over the line; one a worker."""

    def __init__(self, channel: Channel, limits: Limits) -> None:
        """Ask nothing yet.

        Args:
            channel: The line to the supervisor.
            limits: Tell whether there is anything to ask.
        """
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._questions: dict[int, asyncio.Future[str]] = {}
        self.change(limits)

    def change(self, limits: Limits) -> None:
        """What is limited from now on."""
        self._counts_messages = limits.message_rate is not None
        self._counts_recipients = limits.recipient_rate is not None

    async def spend(self, ticket: Ticket, messages: int, recipients: int) -> str | None:
        """See MailBudget; without a limit on any of it nobody is asked."""
        is_counted = (messages and self._counts_messages) or (recipients and self._counts_recipients)
        if not is_counted or not self._channel.has_room or len(self._questions) >= _OPEN_QUESTIONS:
            return None
        number = next(self._numbers)
        self._questions[number] = answer = self._loop.create_future()
        try:
            word = Spend(question=number, ticket=ticket.id, messages=messages, recipients=recipients)
            self._channel.send(encode(word))
            async with asyncio.timeout(_ANSWER_S):
                return await answer or None
        except TimeoutError:
            return None
        finally:
            del self._questions[number]

    def answered(self, word: Spent) -> None:
        """The supervisor's answer; nobody may be waiting for it any more."""
        answer = self._questions.get(word.question)
        if answer is not None and not answer.done():
            answer.set_result(word.limit)

    def left_alone(self) -> None:
        """The supervisor is gone: nobody counts any more."""
        self._counts_messages = self._counts_recipients = False
        for answer in self._questions.values():
            if not answer.done():
                answer.set_result("")
