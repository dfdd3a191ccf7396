"""The client's half of the login: its words read, judged and sent on, one command at a time; must not keep a password.

Nothing of a command is sent before it is whole, unless one of its literals has to be asked for at the backend.
"""

from enum import StrEnum, auto
from typing import Final, assert_never

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import (
    ClientIdentified,
    DialogueLimits,
    Hangup,
    LoginAction,
    ToBackend,
    ToClient,
)
from tlsproxy.protocols.imap.arguments import AuthenticateArguments, IdArguments, is_base64
from tlsproxy.protocols.imap.command import OpenCommand, open_command
from tlsproxy.protocols.imap.intake import Intake
from tlsproxy.protocols.imap.syntax import CRLF, Literal, split_literal
from tlsproxy.protocols.replies import imap_parting, refusal
from tlsproxy.protocols.sasl import is_bound_to_channel

# RFC 3501 §6.2.2.
_CANCEL: Final = b"*"
# RFC 7888: LITERAL- allows this many bytes unasked.
_SMALL_LITERAL_BYTES: Final = 4096
_NOT_UNDERSTOOD: Final = b"Not understood before login"


class _Turn(StrEnum):
    """Whose words are waited for."""

    COMMAND = auto()  # the client's: a line of a command
    LITERAL = auto()  # the client's: the bytes it announced
    SASL = auto()  # the client's: its response in an exchange
    GO_AHEAD = auto()  # the backend's: "+" for a literal
    ANSWER = auto()  # the backend's: the tagged answer, or "+" in an exchange


class ClientSide:
    """What the client says before it is logged in, and the one command that is between it and the backend."""

    __slots__ = (
        "_bad_commands",
        "_held",
        "_limits",
        "_turn",
        "capabilities",
        "command",
        "intake",
        "is_awaited",
        "is_cancelled",
        "is_sent",
    )

    def __init__(self, limits: DialogueLimits) -> None:
        self._limits = limits
        self.intake = Intake(limits)
        self.capabilities: frozenset[bytes] = frozenset()
        """Every capability that the backend has listed, upper case."""
        self.command: OpenCommand | None = None
        self.is_sent = False
        """Whether the backend has heard of the command."""
        self.is_cancelled = False
        """Whether the client gave the exchange up."""
        self.is_awaited = True
        """Whether it is the client's turn: always, but between ``_send`` and what the backend says to it."""
        self._turn = _Turn.COMMAND
        self._held = b""
        """What of the command is to be sent."""
        self._bad_commands = 0

    @property
    def exchange(self) -> AuthenticateArguments | None:
        """The SASL exchange, if the command is one."""
        arguments = self.command.arguments if self.command else None
        return arguments if isinstance(arguments, AuthenticateArguments) else None

    def continued(self) -> bool:
        """The backend said ``+``; False if nothing asked for it."""
        match self._turn:
            case _Turn.GO_AHEAD:
                self._turn = _Turn.LITERAL
            case _Turn.ANSWER if self.exchange is not None and not self.is_cancelled:
                self._turn = _Turn.SASL
            case _:
                return False
        self.is_awaited = True
        return True

    def may_be_answered(self, condition: bytes) -> bool:
        """Whether the backend may answer now: a yes only to all of the command, a no from its first part on."""
        if self._turn is _Turn.ANSWER:
            return True
        return self._turn in {_Turn.GO_AHEAD, _Turn.SASL} and condition != b"OK"

    def end(self) -> None:
        """The command is over; the next one is the client's to give."""
        self._turn, self.command = _Turn.COMMAND, None
        self.is_sent = self.is_cancelled = False
        self.is_awaited = True
        self._held = b""

    def count_bad(self) -> list[LoginAction]:
        """One more bad command; the last of too many is followed by the end."""
        self._bad_commands += 1
        return farewell(Reason.BAD_COMMANDS) if self._bad_commands >= self._limits.bad_commands else []

    def step(self) -> list[LoginAction] | None:
        """Read one line or literal of the client; None if more bytes are needed."""
        command = self.command
        if command is not None and command.left is not None:
            return self._read_literal(command, command.left)
        exchange = None
        if command is None:
            line = self.intake.command_line()
        else:
            exchange = self.exchange if self._turn is _Turn.SASL else None
            line = self.intake.line(self._limits.sasl_line_bytes if exchange else self._limits.line_bytes)
        match line:
            case None:
                return None
            case bytes():
                return self._pass_response(line, exchange) if exchange else self._read_line(line)
            case Reason():
                return farewell(line)
        assert_never(line)

    def _read_literal(self, command: OpenCommand, size: int) -> list[LoginAction] | None:
        if len(self.intake) < size:
            return None
        data = self.intake.take(size)
        command.read_literal(data)
        self._hold(data)
        self._turn = _Turn.COMMAND
        return []

    def _read_line(self, line: bytes) -> list[LoginAction]:
        command, text = (self.command, line) if self.command else open_command(line)
        self.command = command
        text, literal = split_literal(text)
        command.read(text)
        if literal is not None:
            self._hold(line[: line.rindex(b"{")] + literal.announcement + CRLF)
            return self._announced(command, literal)
        self._hold(line + CRLF)
        return self._obey(command) if command.is_fine else self._bad(command, _NOT_UNDERSTOOD)

    def _announced(self, command: OpenCommand, literal: Literal) -> list[LoginAction]:
        """Decide what becomes of an announced literal."""
        command.announce(literal)
        is_too_large = command.literal_bytes > self._limits.literal_bytes
        if literal.is_synchronizing and (is_too_large or command.is_refused):
            return self._bad(command, _NOT_UNDERSTOOD)
        if is_too_large:
            # RFC 7888: what is on its way cannot be refused, only cut off.
            return farewell(Reason.TOO_MUCH_BEFORE_LOGIN)
        command.left = literal.size
        if literal.is_synchronizing:
            return self._ask(command)
        is_small = literal.size <= _SMALL_LITERAL_BYTES
        is_offered = b"LITERAL+" in self.capabilities or (is_small and b"LITERAL-" in self.capabilities)
        # It comes all the same, and is read so that nothing of it is taken for a command.
        command.is_refused = command.is_refused or not is_offered
        self._turn = _Turn.LITERAL
        return []

    def _ask(self, command: OpenCommand) -> list[LoginAction]:
        """Get the client leave to send a literal: from the backend, but for ID, which is written anew."""
        if command.name == b"ID":
            self._turn = _Turn.LITERAL
            return [ToClient(b"+ Go on\r\n")]
        return [self._send(_Turn.GO_AHEAD)]

    def _obey(self, command: OpenCommand) -> list[LoginAction]:
        match command.arguments:
            case IdArguments() as identity:
                client_id = identity.client_id()
                known = [ClientIdentified(client_id)] if client_id else []
                return [*known, self._send_line(command.tag + b" ID " + identity.line())]
            case AuthenticateArguments(mechanism=mechanism) if is_bound_to_channel(mechanism):
                self.end()
                return [ToClient(command.tag + b" NO [CANNOT] This mechanism needs a channel of its own\r\n")]
            case _ if command.name == b"STARTTLS":
                return self._bad(command, b"TLS is already active")
            case _:
                return [self._send(_Turn.ANSWER)]

    def _pass_response(self, line: bytes, exchange: AuthenticateArguments) -> list[LoginAction]:
        """Pass a response of an exchange on; what is no base64 becomes a cancel, for a server says BAD to both."""
        self.is_cancelled = line == _CANCEL
        exchange.see(line)
        return [self._send_line(line if is_base64(line) else _CANCEL)]

    def _bad(self, command: OpenCommand, why: bytes) -> list[LoginAction]:
        is_torn = self.is_sent
        self.end()
        answer = ToClient(command.tag + b" BAD " + why + CRLF)
        # What the backend has begun to hear cannot be taken back.
        return [answer, *(farewell(Reason.BAD_COMMANDS) if is_torn else self.count_bad())]

    def _hold(self, data: bytes) -> None:
        """Keep a part of the command to be sent; nothing is kept of one that is refused or is written anew."""
        if self.command is None or self.command.is_refused or self.command.name == b"ID":
            self._held = b""
        else:
            self._held += data

    def _send(self, turn: _Turn) -> ToBackend:
        """Send what is held; the turn says what is waited for then."""
        data, self._held = self._held, b""
        self._turn, self.is_sent, self.is_awaited = turn, True, False
        return ToBackend(data)

    def _send_line(self, line: bytes) -> ToBackend:
        """Send a line that was not held."""
        self._held = line + CRLF
        return self._send(_Turn.ANSWER)


def farewell(reason: Reason) -> list[LoginAction]:
    """A goodbye of our own and the end."""
    return [ToClient(imap_parting(reason, refusal(reason).text)), Hangup(reason)]
