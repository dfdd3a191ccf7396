"""The POP3 dialogue before STLS; must not let a login through nor keep what it heard."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits, GateAction, Hangup, PasswordExposed, StartTls, ToClient
from tlsproxy.protocols.lines import without_line_end
from tlsproxy.protocols.pop3.client_lines import ClientLines
from tlsproxy.protocols.pop3.syntax import CRLF, EMPTY_RESPONSE, KEYWORDS, Command, auth_argument, command
from tlsproxy.protocols.replies import pop3_parting, refusal
from tlsproxy.protocols.sasl import SaslUser, gives_secret_away

# A user who is told twice and goes on is served by a closed door.
_EXPOSURE_LIMIT: Final = 3

GREETING: Final = b"+OK ready" + CRLF  # no APOP timestamp (RFC 1939 §7): APOP is refused here
_OK: Final = b"+OK" + CRLF
# RFC 2449 §5 and §6, RFC 2595 §4, RFC 3206 §6; neither USER nor SASL, so that no client tries.
_CAPABILITIES: Final = CRLF.join([b"+OK", b"STLS", b"RESP-CODES", b"AUTH-RESP-CODE", b".", b""])
_TLS_FIRST: Final = b"-ERR [AUTH] No login in clear text here: say STLS, TLS first" + CRLF
_EXPOSED: Final = (
    b"-ERR [AUTH] Your password was sent without encryption and others may have read it: change it, and use TLS first"
    + CRLF
)
_BAD_COMMAND: Final = b"-ERR Not a command that can be used here" + CRLF


class Pop3Gate:
    """Answers what is harmless, refuses every login, and opens for STLS."""

    __slots__ = ("_bad_commands", "_exposures", "_has_spoken_pop3", "_is_over", "_limits", "_lines", "_user")

    def __init__(self, limits: DialogueLimits) -> None:
        self._limits = limits
        self._lines = ClientLines(limits)
        self._has_spoken_pop3 = False
        self._is_over = False
        self._user: bytes | None = None  # of USER, kept for the event of an exposed password alone
        self._bad_commands = 0
        self._exposures = 0

    def greeting(self) -> bytes:
        """The first line (RFC 1939 §4)."""
        return GREETING

    def receive(self, data: bytes) -> Sequence[GateAction]:
        """Take bytes from the client, in any split; after StartTls or Hangup nothing more comes."""
        actions: list[GateAction] = []
        if self._is_over:
            return actions
        if not self._has_spoken_pop3 and len(self._lines) == 0 and data and not data[:1].isalpha():
            return self._hangup(Reason.NOT_MAIL)  # a TLS ClientHello, which need not hold a line end, or other noise
        self._lines.feed(data)
        while not self._is_over:
            line = self._lines.command()
            if line is None:
                break
            actions += self._hangup(line) if isinstance(line, Reason) else self._answer(without_line_end(line))
        return actions

    def _answer(self, line: bytes) -> list[GateAction]:
        said = command(line)
        if not self._has_spoken_pop3:
            if said is None or said.verb not in KEYWORDS:
                return self._hangup(Reason.NOT_MAIL)
            self._has_spoken_pop3 = True
        answer = self._ANSWERS.get(said.verb) if said else None
        return answer(self, said) if said and answer else self._bad_command()

    def _capa(self, said: Command) -> list[GateAction]:
        return [ToClient(_CAPABILITIES)] if said.is_bare else self._bad_command()

    def _noop(self, said: Command) -> list[GateAction]:
        return [ToClient(_OK)] if said.is_bare else self._bad_command()

    def _quit(self, said: Command) -> list[GateAction]:
        if not said.is_bare:
            return self._bad_command()
        self._is_over = True
        return [ToClient(_OK), Hangup(Reason.LOGGED_OUT)]

    def _stls(self, said: Command) -> list[GateAction]:
        if not said.is_bare:
            return self._bad_command()
        if len(self._lines):
            return self._hangup(Reason.STARTTLS_INJECTION)
        self._is_over = True
        return [ToClient(_OK), StartTls()]  # RFC 2595 §4

    def _refused_user(self, said: Command) -> list[GateAction]:
        self._user = said.argument or None
        return [ToClient(_TLS_FIRST)]

    def _refused_pass(self, said: Command) -> list[GateAction]:
        return [ToClient(_TLS_FIRST)] if said.is_bare else self._password_exposed(self._user, "PASS")

    def _refused_apop(self, _said: Command) -> list[GateAction]:
        return [ToClient(_TLS_FIRST)]  # a digest, not the password

    def _refused_auth(self, said: Command) -> list[GateAction]:
        if said.is_bare:
            return [ToClient(_TLS_FIRST)]
        auth = auth_argument(said.argument)
        if auth is None:
            return self._bad_command()
        if auth.response in {None, EMPTY_RESPONSE} or not gives_secret_away(auth.mechanism):
            return [ToClient(_TLS_FIRST)]  # never "+": the password does not leave the client
        exchange = SaslUser(auth.mechanism)
        exchange.see(auth.response)
        return self._password_exposed(exchange.user, auth.mechanism.decode("ascii"))

    def _password_exposed(self, user: bytes | None, mechanism: str) -> list[GateAction]:
        self._exposures += 1
        self._user = None
        exposed = PasswordExposed(user=user, mechanism=mechanism)
        if self._exposures >= _EXPOSURE_LIMIT:
            return [exposed, *self._hangup(Reason.PASSWORDS_EXPOSED)]
        return [exposed, ToClient(_EXPOSED)]

    def _bad_command(self) -> list[GateAction]:
        self._bad_commands += 1
        if self._bad_commands >= self._limits.bad_commands:
            return self._hangup(Reason.BAD_COMMANDS)
        return [ToClient(_BAD_COMMAND)]

    def _hangup(self, reason: Reason) -> list[GateAction]:
        self._is_over = True
        return [ToClient(pop3_parting(reason, refusal(reason).text)), Hangup(reason)]

    _ANSWERS: ClassVar[Mapping[bytes, Callable[["Pop3Gate", Command], list[GateAction]]]] = MappingProxyType(
        {
            b"CAPA": _capa,
            b"NOOP": _noop,
            b"QUIT": _quit,
            b"STLS": _stls,
            b"USER": _refused_user,
            b"PASS": _refused_pass,
            b"APOP": _refused_apop,
            b"AUTH": _refused_auth,
        }
    )
