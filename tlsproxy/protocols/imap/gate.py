"""IMAP in clear, up to STARTTLS: every login is refused, nothing said here lives on; must not keep a password."""

from collections.abc import Sequence
from typing import Final, assert_never

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits, GateAction, Hangup, PasswordExposed, StartTls, ToClient
from tlsproxy.protocols.imap.arguments import AuthenticateArguments, LoginArguments
from tlsproxy.protocols.imap.command import OpenCommand, open_command
from tlsproxy.protocols.imap.intake import Intake
from tlsproxy.protocols.imap.syntax import Literal, split_literal
from tlsproxy.protocols.replies import imap_parting, refusal
from tlsproxy.protocols.sasl import gives_secret_away

# No AUTH=, LITERAL+ or SASL-IR: nothing that would make a client send its password.
_CAPABILITIES: Final = b"CAPABILITY IMAP4rev1 ID STARTTLS LOGINDISABLED"
# RFC 5530 §3.
_TLS_FIRST: Final = b"NO [PRIVACYREQUIRED] Start TLS first"
_EXPOSED: Final = (
    b"* BAD [ALERT] Your password was sent over the network without encryption. "
    b"Consider it known to others and change it, and set your mail program to use TLS.\r\n"
)
# A client that does not listen is put out the third time: each time costs its user a password.
_EXPOSURES: Final = 3
# A user's name for the log; the rest of a longer literal is thrown away like a password.
_USER_BYTES: Final = 256


class ImapGate:
    """The dialogue on port 143 before TLS.

    A literal that its sender asks leave for is refused instead of asked for, so the password stays at home. The bytes
    of one that comes unasked are counted and thrown away, so that they are never read as commands.
    """

    __slots__ = ("_bad_commands", "_command", "_exposures", "_intake", "_is_over", "_kept", "_limits")

    def __init__(self, limits: DialogueLimits) -> None:
        self._limits = limits
        self._intake = Intake(limits)
        self._command: OpenCommand | None = None
        self._kept = b""
        self._bad_commands = 0
        self._exposures = 0
        self._is_over = False

    def greeting(self) -> bytes:
        """RFC 3501 §7.1.1, with the capabilities that hold before TLS."""
        return b"* OK [" + _CAPABILITIES + b"] ready\r\n"

    def receive(self, data: bytes) -> Sequence[GateAction]:
        """Take bytes from the client, in any split; after StartTls or Hangup nothing more comes."""
        actions: list[GateAction] = []
        self._intake.feed(data)
        while not self._is_over and (answer := self._step()) is not None:
            actions += answer
        if self._intake.is_exceeded and not self._is_over:
            actions += self._hang_up(Reason.TOO_MUCH_BEFORE_LOGIN)
        return actions

    def _step(self) -> list[GateAction] | None:
        """Read one line or run of a literal's bytes; None if more bytes are needed."""
        command = self._command
        if command is not None and command.left is not None:
            return self._throw_away(command, command.left)
        line = self._intake.line(self._limits.line_bytes) if command else self._intake.command_line()
        match line:
            case None:
                return None
            case Reason():
                return self._hang_up(line)
            case bytes():
                return self._read(line)
        assert_never(line)

    def _read(self, line: bytes) -> list[GateAction]:
        command, text = (self._command, line) if self._command else open_command(line)
        text, literal = split_literal(text)
        command.read(text)
        if literal is None:
            self._command = None
            return self._obey(command) if command.is_fine else self._refuse(command, is_asking=False)
        return self._literal(command, literal)

    def _literal(self, command: OpenCommand, literal: Literal) -> list[GateAction]:
        """Decide what becomes of an announced literal."""
        command.announce(literal)
        is_too_large = command.literal_bytes > self._limits.literal_bytes
        # ID tells no secret, so its literals are asked for.
        is_welcome = command.name == b"ID" and not command.is_refused and not is_too_large
        if literal.is_synchronizing and not is_welcome:
            self._command = None
            return self._refuse(command, is_asking=True)
        if is_too_large:
            # RFC 7888: what is on its way cannot be refused, only cut off.
            return self._hang_up(Reason.TOO_MUCH_BEFORE_LOGIN)
        self._command, command.left, self._kept = command, literal.size, b""
        return [ToClient(b"+ Go on\r\n")] if literal.is_synchronizing else []

    def _throw_away(self, command: OpenCommand, left: int) -> list[GateAction] | None:
        """Count a literal's bytes, and keep no more of them than the beginning of a user's name."""
        data = self._intake.take(left)
        if isinstance(command.arguments, LoginArguments) and command.arguments.expects_user:
            self._kept += data[: _USER_BYTES - len(self._kept)]
        if len(data) < left:
            command.left = left - len(data)
            return None
        command.read_literal(self._kept)
        return []

    def _obey(self, command: OpenCommand) -> list[GateAction]:
        match command.name:
            case b"LOGIN" | b"AUTHENTICATE":
                return self._refuse(command, is_asking=False)
            case b"STARTTLS":
                return self._start_tls(command)
            case b"LOGOUT":
                self._is_over = True
                bye = imap_parting(Reason.LOGGED_OUT, refusal(Reason.LOGGED_OUT).text)
                return [ToClient(bye), _tagged(command, b"OK Logged out"), Hangup(Reason.LOGGED_OUT)]
            case b"CAPABILITY":
                return [ToClient(b"* " + _CAPABILITIES + b"\r\n"), _tagged(command, b"OK That is all before TLS")]
            case b"ID":
                return [ToClient(b"* ID NIL\r\n"), _tagged(command, b"OK Noted")]
            case _:
                return [_tagged(command, b"OK Nothing done")]

    def _start_tls(self, command: OpenCommand) -> list[GateAction]:
        """RFC 9051 §6.2.1: nothing follows before TLS, so what does was put there by somebody in between."""
        if len(self._intake) or self._intake.is_exceeded:
            answer = _tagged(command, b"BAD [CLIENTBUG] Nothing may follow STARTTLS before TLS")
            return [answer, *self._hang_up(Reason.STARTTLS_INJECTION)]
        self._is_over = True
        return [_tagged(command, b"OK Start TLS now"), StartTls()]

    def _refuse(self, command: OpenCommand, *, is_asking: bool) -> list[GateAction]:
        """Answer a login, or a command that is not understood.

        Args:
            command: What was said of it so far.
            is_asking: Whether the client waits for leave to send a literal.
        """
        match command.arguments:
            case LoginArguments() as login:
                is_exposed = login.is_complete or (login.is_past_user and command.is_refused)
                is_harmless = is_asking
            case AuthenticateArguments() as login:
                is_exposed = command.is_fine and login.has_response and gives_secret_away(login.mechanism)
                is_harmless = command.is_fine
            case _:
                return self._bad(command)
        if is_exposed:
            return self._raise_alarm(command, login)
        return [_tagged(command, _TLS_FIRST)] if is_harmless else self._bad(command)

    def _raise_alarm(self, command: OpenCommand, login: LoginArguments | AuthenticateArguments) -> list[GateAction]:
        self._exposures += 1
        exposed = PasswordExposed(user=login.user, mechanism=login.mechanism.decode("ascii"))
        answer: list[GateAction] = [ToClient(_EXPOSED), _tagged(command, _TLS_FIRST), exposed]
        return answer if self._exposures < _EXPOSURES else [*answer, *self._hang_up(Reason.PASSWORDS_EXPOSED)]

    def _bad(self, command: OpenCommand) -> list[GateAction]:
        self._bad_commands += 1
        answer = _tagged(command, b"BAD Not understood before TLS")
        is_enough = self._bad_commands >= self._limits.bad_commands
        return [answer, *self._hang_up(Reason.BAD_COMMANDS)] if is_enough else [answer]

    def _hang_up(self, reason: Reason) -> list[GateAction]:
        self._is_over = True
        return [ToClient(imap_parting(reason, refusal(reason).text)), Hangup(reason)]


def _tagged(command: OpenCommand, text: bytes) -> ToClient:
    return ToClient(command.tag + b" " + text + b"\r\n")
