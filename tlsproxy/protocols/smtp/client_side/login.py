"""How a client logs in, from AUTH to the judgement; must not judge."""

from typing import Final

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.smtp import answers
from tlsproxy.protocols.smtp.client_side.auth import AuthExchange, Challenge, auth_argument, exposure
from tlsproxy.protocols.smtp.client_side.standing import Standing
from tlsproxy.protocols.smtp.client_side.turn import Mode, Turn
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.settings import DialogueSettings
from tlsproxy.protocols.smtp.steps import Credentials

# A user who is told twice and goes on is served by a closed door.
_EXPOSURE_LIMIT: Final = 3


class Login:
    """One client's tries to log in."""

    __slots__ = ("_exchange", "_exposures", "_failures", "_settings", "_standing", "_turn")

    def __init__(self, settings: DialogueSettings, standing: Standing, turn: Turn) -> None:
        self._settings = settings
        self._standing = standing
        self._turn = turn
        self._exchange = AuthExchange(())
        self._exposures = 0
        self._failures = 0

    def begin(self, argument: bytes) -> None:
        """Take what followed AUTH."""
        auth = auth_argument(argument)
        if refused := self._standing.against_auth():
            exposed = exposure(auth) if auth and not self._standing.is_tls else None
            if exposed:
                self._turn.report(exposed)
                self._exposures += 1
            if self._exposures >= _EXPOSURE_LIMIT:
                self._turn.hang_up(Reason.PASSWORDS_EXPOSED)
            else:
                self._turn.refuse(refused)
        elif auth is None:
            self._turn.refuse(answers.WRONG_ARGUMENTS)
        else:
            self._exchange = AuthExchange(self._settings.mechanisms)
            self._go_on(self._exchange.begin(auth))

    def hear(self, line: bytes) -> None:
        """Take the client's next line of the exchange."""
        self._go_on(self._exchange.answer(line))

    def _go_on(self, outcome: Challenge | Credentials | Reply) -> None:
        self._turn.mode = Mode.COMMAND
        match outcome:
            case Challenge():
                self._turn.say(Reply(334, (outcome.text,)))
                self._turn.mode = Mode.RESPONSE
            case Credentials():
                self._turn.ask(outcome, self._judged)
            case answers.WRONG_PASSWORD:
                self._judged(outcome)
            case _:
                self._turn.refuse(outcome)

    def _judged(self, reply: Reply) -> None:
        self._failures += reply.is_permanent
        if self._failures >= self._settings.max_auth_failures:
            self._turn.hang_up(Reason.LOGIN_FAILURES)
        else:
            self._turn.say(reply)
