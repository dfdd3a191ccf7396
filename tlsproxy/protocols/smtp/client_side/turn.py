"""Whose turn it is to speak: what was said to the client, and what is asked of the runner; must not know a command."""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from tlsproxy.core.errors import TlsProxyError
from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.replies import refusal, smtp_parting
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.settings import DialogueSettings
from tlsproxy.protocols.smtp.steps import Hangup, Question, Step

# A message may have all its recipients refused, and so may the next one. Whoever goes on looks for addresses, or for
# something to keep us busy with.
_VAIN_PER_RECIPIENT: Final = 2


class Mode(Enum):
    """What is waited for."""

    COMMAND = auto()
    RESPONSE = auto()  # between AUTH and its outcome
    ANSWER = auto()  # the runner's, to the last question
    HANDSHAKE = auto()
    CONTENT = auto()
    NOTHING = auto()


class Turn:
    """Answers to the client, and steps for the runner, in the order in which they came to be."""

    __slots__ = ("_errors", "_output", "_settings", "_steps", "_then", "_vain", "mode")

    def __init__(self, settings: DialogueSettings) -> None:
        self.mode = Mode.COMMAND
        self._settings = settings
        self._output = bytearray()
        self._steps: deque[Step] = deque()
        self._then: Callable[[Reply], None] = _nothing_was_asked
        self._errors = 0
        self._vain = 0

    @property
    def is_clients(self) -> bool:
        """Whether the client's next line may be heard."""
        return not self._steps and self.mode in {Mode.COMMAND, Mode.RESPONSE}

    def say(self, reply: Reply) -> None:
        """Answer the client."""
        self._output += reply.encode()

    def tell(self, reply: Reply) -> None:
        """Answer a command that is about mail; what is refused for good was said in vain."""
        if reply.is_permanent:
            self.say_in_vain(reply)
        else:
            self.say(reply)

    def say_in_vain(self, reply: Reply) -> None:
        """Answer a command that brings no mail nearer; too many of them without a message are the end."""
        self._vain += 1
        if self._vain > self._settings.max_recipients * _VAIN_PER_RECIPIENT:
            self.hang_up(Reason.BAD_COMMANDS)
        else:
            self.say(reply)

    def carried(self, reply: Reply) -> None:
        """Answer the end of a message; its content is over."""
        self.mode = Mode.COMMAND
        self.say(reply)
        if reply.is_positive:
            self._vain = 0

    def refuse(self, reply: Reply) -> None:
        """Answer a bad command; too many of them are the end."""
        self._errors += 1
        if self._errors > self._settings.max_errors:
            self.hang_up(Reason.BAD_COMMANDS)
        else:
            self.say(reply)

    def report(self, step: Step) -> None:
        """Tell the runner something that needs no answer."""
        self._steps.append(step)

    def ask(self, question: Question, then: Callable[[Reply], None]) -> None:
        """Put a question to the runner.

        Args:
            question: What is to be done.
            then: Called with the answer; has to say it.
        """
        self._steps.append(question)
        self.mode, self._then = Mode.ANSWER, then

    def answer(self, reply: Reply) -> None:
        """Take the runner's answer.

        Raises:
            TlsProxyError: Nothing was asked.
        """
        then, self._then = self._then, _nothing_was_asked
        self.mode = Mode.COMMAND
        then(reply)

    def close(self) -> None:
        """Forget an open question: it would hold whoever asked it in a cycle, to wait for the garbage collector."""
        self._then = _nothing_was_asked

    def hang_up(self, reason: Reason) -> None:
        """Say why, and end."""
        ref = self._settings.ref.decode("ascii", "replace")
        self._output += smtp_parting(reason, f"{refusal(reason).text} {ref}".rstrip())
        self.end(reason)

    def end(self, reason: Reason) -> None:
        """End; all has been said."""
        self._steps.append(Hangup(reason))
        self.mode = Mode.NOTHING

    def take_step(self) -> Step | None:
        """Take the oldest step; None if there is none."""
        return self._steps.popleft() if self._steps else None

    def take_output(self) -> bytes:
        """Take what is to be sent to the client."""
        taken = bytes(self._output)
        self._output.clear()
        return taken


def _nothing_was_asked(_reply: Reply) -> None:
    raise TlsProxyError("an SMTP conversation was answered that had asked nothing")
