"""The POP3 dialogue from TLS to login; must not keep a password nor show the backend two commands at once."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum, auto
from types import MappingProxyType
from typing import ClassVar, Final

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits, Hangup, LoggedIn, LoginAction, ToBackend, ToClient
from tlsproxy.protocols.lines import LineBuffer, without_line_end
from tlsproxy.protocols.pop3.attempt import Attempt, attempt
from tlsproxy.protocols.pop3.capabilities import filtered_capability, filtered_mechanism
from tlsproxy.protocols.pop3.client_lines import ClientLines
from tlsproxy.protocols.pop3.syntax import CANCEL, CRLF, END_OF_LIST, Status, command, is_sasl_response, status
from tlsproxy.protocols.replies import pop3_parting, refusal

_BACKEND_LINE_LIMIT_BYTES: Final = 8192  # RFC 2449 §4 asks for 512; old servers say more

_BAD_COMMAND: Final = b"-ERR Not a command that can be used before login" + CRLF
_TLS_IS_ACTIVE: Final = b"-ERR TLS is already active" + CRLF  # RFC 2595 §4
_NO_SUCH_MECHANISM: Final = b"-ERR This mechanism cannot be used here" + CRLF
# Blanks at the end belong to these arguments (RFC 1939 §7, PASS); behind all others they are noise.
_VERBATIM: Final = frozenset({b"USER", b"PASS"})


class _Awaits(StrEnum):
    """Whose word comes next."""

    GREETING = auto()
    COMMAND = auto()  # the client's
    STATUS = auto()  # the first line of the backend's answer
    LIST = auto()  # the other lines of it
    CHALLENGE = auto()  # the backend's next word in a SASL exchange, or its last
    RESPONSE = auto()  # the client's line in a SASL exchange
    NOTHING = auto()  # the client has had its last answer


_CLIENTS_TURN: Final = frozenset({_Awaits.COMMAND, _Awaits.RESPONSE})


class Pop3Login:
    """Hands one well-formed command at a time to the backend and its answer to the client, until a login succeeds."""

    __slots__ = (
        "_attempt",
        "_awaits",
        "_bad_commands",
        "_client",
        "_failed_logins",
        "_from_backend",
        "_has_parted",
        "_is_over",
        "_limits",
        "_owes_greeting",
        "_refused_with",
        "_user",
    )

    def __init__(self, limits: DialogueLimits, greeting_passes: bool) -> None:  # noqa: FBT001 - MailProtocol's shape
        self._limits = limits
        self._owes_greeting = greeting_passes
        self._client = ClientLines(limits)
        self._from_backend = LineBuffer()
        self._awaits = _Awaits.GREETING
        self._is_over = False
        self._has_parted = False  # the backend said goodbye by itself
        self._attempt = Attempt(b"")
        self._user: bytes | None = None  # of the USER that the backend took
        self._refused_with = b""  # a greeting that was a refusal, and that the client has not seen
        self._bad_commands = 0
        self._failed_logins = 0

    @property
    def is_greeted(self) -> bool:
        """Whether the backend's greeting is complete."""
        return self._awaits is not _Awaits.GREETING

    @property
    def wants_client(self) -> bool:
        """Whether client bytes are useful now; False while a command waits for the backend's answer."""
        return not self._is_over and self._awaits in _CLIENTS_TURN

    def from_client(self, data: bytes) -> Sequence[LoginAction]:
        """Take bytes from the client, in any split; kept until the backend has greeted and answered."""
        if self._is_over:
            return []
        self._client.feed(data)
        return self._next_from_client()

    def from_backend(self, data: bytes) -> Sequence[LoginAction]:
        """Take bytes from the backend, in any split."""
        actions: list[LoginAction] = []
        self._from_backend.feed(data)
        while not self._is_over:
            line = self._from_backend.next_line(_BACKEND_LINE_LIMIT_BYTES)
            if line is None:
                return actions + self._hangup(Reason.BACKEND_GARBAGE) if self._from_backend.is_exceeded else actions
            actions += self._HEARD[self._awaits](self, line)
            actions += self._next_from_client()
        return actions

    def try_again(self) -> bool:
        """Make ready for a new backend connection, unless the lost one knew something that the new one does not."""
        is_idle = self._awaits in {_Awaits.GREETING, _Awaits.COMMAND} and self._user is None
        if self._is_over or self._has_parted or not is_idle:
            return False
        self._from_backend = LineBuffer()
        self._awaits = _Awaits.GREETING
        return True

    def parting(self, reason: Reason, why: str) -> bytes:
        """A -ERR for the answer or greeting that the client waits for; nothing unasked, nor inside a list.

        Args:
            reason: Why the connection ends.
            why: A sentence for a person, with ``ref=``; printable ASCII.
        """
        if self._has_parted:
            return b""
        if self._refused_with:
            return self._refused_with  # whatever the client asks first, this is the answer
        return pop3_parting(reason, why) if self._is_answer_owed else b""

    @property
    def _is_answer_owed(self) -> bool:
        match self._awaits:
            case _Awaits.GREETING:
                return self._owes_greeting or len(self._client) > 0
            case _Awaits.COMMAND:
                return len(self._client) > 0
            case _Awaits.STATUS | _Awaits.CHALLENGE | _Awaits.RESPONSE:
                return True
            case _:
                return False

    # What the client says.

    def _next_from_client(self) -> list[LoginAction]:
        actions: list[LoginAction] = []
        while self.wants_client:
            is_response = self._awaits is _Awaits.RESPONSE
            line = self._client.sasl_response() if is_response else self._client.command()
            if line is None:
                return actions
            if isinstance(line, Reason):
                return [*actions, *self._refuse(line)]
            said = without_line_end(line)
            actions += self._response(said) if is_response else self._command(said)
        if not self._is_over and self._client.is_full:
            actions += self._hangup(Reason.TOO_MUCH_BEFORE_LOGIN)
        return actions

    def _command(self, line: bytes) -> list[LoginAction]:
        said = command(line)
        if said is None:
            return self._bad_command(ToClient(_BAD_COMMAND))
        if said.verb == b"STLS":
            return [ToClient(_TLS_IS_ACTIVE)]
        attempted = attempt(said, self._user)
        if attempted is None:
            return self._bad_command(ToClient(_BAD_COMMAND))
        if attempted.is_bound_to_channel:
            return [ToClient(_NO_SUCH_MECHANISM)]
        self._attempt = attempted
        self._awaits = _Awaits.CHALLENGE if attempted.is_exchange else _Awaits.STATUS
        return [ToBackend((line if said.verb in _VERBATIM else line.rstrip(b" ")) + CRLF)]

    def _response(self, line: bytes) -> list[LoginAction]:
        self._awaits = _Awaits.CHALLENGE
        if is_sasl_response(line):
            self._attempt.see(line)
            return [ToBackend(line + CRLF)]
        # The backend waits for a response and must not be shown anything else; its answer to the star is the client's.
        self._attempt.see(CANCEL)
        return self._bad_command(ToBackend(CANCEL + CRLF))

    def _bad_command(self, answer: LoginAction) -> list[LoginAction]:
        self._bad_commands += 1
        return self._refuse(Reason.BAD_COMMANDS) if self._bad_commands >= self._limits.bad_commands else [answer]

    # What the backend says; one method for each thing that is awaited.

    def _greeting(self, line: bytes) -> list[LoginAction]:
        match status(line):
            case Status.OK:
                self._awaits = _Awaits.COMMAND
                passes, self._owes_greeting = self._owes_greeting, False
                return [ToClient(line + CRLF)] if passes else []
            case Status.ERROR if self._owes_greeting:
                return [ToClient(line + CRLF), *self._last_word(Reason.BACKEND_REFUSED)]
            case Status.ERROR:
                self._refused_with = line + CRLF
                return self._hangup(Reason.BACKEND_REFUSED)
            case _:
                return self._hangup(Reason.BACKEND_GARBAGE)

    def _unasked(self, line: bytes) -> list[LoginAction]:
        if status(line) is Status.ERROR:  # an old server's word before it closes on an idle client
            self._awaits = _Awaits.COMMAND
            self._has_parted = True
            return [ToClient(line + CRLF)]
        return self._hangup(Reason.BACKEND_GARBAGE)

    def _status(self, line: bytes) -> list[LoginAction]:
        match status(line):
            case Status.OK:
                return self._accepted(line)
            case Status.ERROR:
                return self._rejected(line)
            case _:
                return self._hangup(Reason.BACKEND_GARBAGE)

    def _challenge(self, line: bytes) -> list[LoginAction]:
        if status(line) is not Status.CONTINUE:
            return self._status(line)
        self._awaits = _Awaits.RESPONSE
        return [ToClient(line + CRLF)]

    def _list_line(self, line: bytes) -> list[LoginAction]:
        if line == END_OF_LIST:
            self._awaits = _Awaits.COMMAND
            return [ToClient(line + CRLF)]
        kept = filtered_capability(line) if self._attempt.verb == b"CAPA" else filtered_mechanism(line)
        return [] if kept is None else [ToClient(kept + CRLF)]

    def _accepted(self, line: bytes) -> list[LoginAction]:
        answer: list[LoginAction] = [ToClient(line + CRLF)]
        self._awaits = _Awaits.COMMAND
        if self._attempt.is_login:
            return answer + self._logged_in()
        match self._attempt.verb:
            case b"USER":
                self._user = self._attempt.user
            case b"CAPA" | b"AUTH":
                self._awaits = _Awaits.LIST
            case b"QUIT":
                return answer + self._last_word(Reason.LOGGED_OUT)
            case _:
                pass
        return answer

    def _rejected(self, line: bytes) -> list[LoginAction]:
        self._awaits = _Awaits.COMMAND
        if self._attempt.verb == b"QUIT":
            return [ToClient(line + CRLF), *self._last_word(Reason.LOGGED_OUT)]
        if not self._attempt.is_judged:
            return [ToClient(line + CRLF)]
        self._user = None  # RFC 1939 §7: after a failed PASS the client starts again with USER
        answer, event = self._attempt.failure(line)
        actions: list[LoginAction] = [ToClient(answer + CRLF), event]
        self._failed_logins += event.is_credential
        if self._failed_logins >= self._limits.failed_logins:
            actions += self._last_word(Reason.LOGIN_FAILURES)
        return actions

    def _logged_in(self) -> list[LoginAction]:
        self._is_over, self._awaits = True, _Awaits.NOTHING
        actions: list[LoginAction] = [LoggedIn(user=self._attempt.user, mechanism=self._attempt.mechanism)]
        if to_client := self._from_backend.rest():
            actions.append(ToClient(to_client))
        if to_backend := self._client.rest():
            actions.append(ToBackend(to_backend))
        return actions

    # Endings.

    def _hangup(self, reason: Reason) -> list[LoginAction]:
        """End without a word; ``parting`` still finds out what the client is owed."""
        self._is_over = True
        return [Hangup(reason)]

    def _last_word(self, reason: Reason) -> list[LoginAction]:
        """End behind an answer; nothing is owed any more."""
        self._awaits = _Awaits.NOTHING
        return self._hangup(reason)

    def _refuse(self, reason: Reason) -> list[LoginAction]:
        """End with our own answer to the client's line."""
        return [ToClient(pop3_parting(reason, refusal(reason).text)), *self._last_word(reason)]

    _HEARD: ClassVar[Mapping[_Awaits, Callable[["Pop3Login", bytes], list[LoginAction]]]] = MappingProxyType(
        {
            _Awaits.GREETING: _greeting,
            _Awaits.COMMAND: _unasked,
            _Awaits.STATUS: _status,
            _Awaits.LIST: _list_line,
            _Awaits.CHALLENGE: _challenge,
            _Awaits.RESPONSE: _unasked,
        }
    )
