"""The IMAP4rev1 side of the old server (RFC 3501): bytes in, answers out; does no I/O and keeps no password."""

import base64
import binascii
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from tlsproxy.demo.mailserver.imap.mail import MAIL_COMMANDS, MailCommands, Reply, bad, no, ok
from tlsproxy.demo.mailserver.imap.syntax import Command, Value, literal_at_end, parse, tag_of
from tlsproxy.demo.mailserver.journal import Record
from tlsproxy.demo.mailserver.mailbox import Account, Mailbox
from tlsproxy.protocols.lines import LineBuffer, without_line_end

CAPABILITIES: Final = b"IMAP4rev1 ID IDLE AUTH=PLAIN SASL-IR"
# Long sets of UIDs fit; the same as the proxy allows before login.
_LINE_LIMIT_BYTES: Final = 8192
# A command without its APPEND literal: lines and literals before login together.
_COMMAND_LIMIT_BYTES: Final = 16384
_BAD_COMMANDS_LIMIT: Final = 10


class ImapConversation:
    """One client; ``feed`` it bytes and take ``answer`` until there is none."""

    def __init__(self, account: Account, mailbox: Mailbox, record: Record, *, greets_with_list: bool = True) -> None:
        self.is_over = False
        self._account = account
        self._mailbox = mailbox
        self._record = record
        self._greets_with_list = greets_with_list
        self._lines = LineBuffer()
        self._command = bytearray()
        self._literal_left_bytes = 0
        self._bad_commands = 0
        self._next_line: Callable[[bytes], Reply] | None = None
        """Takes the line that the client owes after a ``+``; its answer belongs to ``_owed_tag``."""
        self._owed_tag = b""
        self._mail: MailCommands | None = None
        """There once the client is logged in."""

    def greeting(self) -> bytes:
        """The first line."""
        return (
            b"* OK [CAPABILITY " + CAPABILITIES + b"] old server ready\r\n"
            if self._greets_with_list
            else b"* OK ready\r\n"
        )

    def feed(self, data: bytes) -> None:
        """Take bytes from the client, in any split."""
        self._record.bytes_heard += len(data)
        self._lines.feed(data)

    def answer(self) -> bytes | None:
        """What to send next: empty if nothing for now, None once more bytes are needed."""
        if self.is_over:
            return None
        if self._is_idling and (news := self._news()):
            return news
        if self._literal_left_bytes:
            return self._take_literal()
        if self._lines.is_over(_LINE_LIMIT_BYTES):
            return self._goodbye(b"Line too long")
        line = self._lines.line()
        return None if line is None else self._take_line(line)

    def _take_line(self, line: bytes) -> bytes:
        if self._next_line:
            return self._continue(without_line_end(line))
        self._command += line
        announced = literal_at_end(line)
        return self._announce(*announced) if announced else self._execute()

    @property
    def _is_idling(self) -> bool:
        return self._next_line == self._end_idle

    def _take_literal(self) -> bytes | None:
        taken = self._lines.take(self._literal_left_bytes)
        self._command += taken
        self._literal_left_bytes -= len(taken)
        return None if self._literal_left_bytes else b""

    def _announce(self, size: int, is_waiting: bool) -> bytes:  # noqa: FBT001 - a pair taken apart
        """A line ends with ``{size}``: give the go-ahead, or refuse while the client still waits for it."""
        room = self._mailbox.room_bytes if self._mail else 0
        if len(self._command) + size <= _COMMAND_LIMIT_BYTES + room:
            self._literal_left_bytes = size
            return b"+ go ahead\r\n" if is_waiting else b""
        if not is_waiting:
            return self._goodbye(b"Literal too long")
        tag = tag_of(bytes(self._command))
        self._command.clear()
        return tag + b" NO [TOOBIG] Too much\r\n"

    def _execute(self) -> bytes:
        """A command is complete: answer it."""
        raw = without_line_end(bytes(self._command))
        self._command.clear()
        command = parse(raw)
        if command is None:
            return self._status(tag_of(raw), bad(b"Syntax"))
        self._record.note_command(command.verb)
        self._owed_tag = command.tag
        return self._status(command.tag, self._reply(command))

    def _reply(self, command: Command) -> Reply:
        if handler := _ALWAYS.get(command.verb):
            return handler(self, command.arguments)
        if self._mail is None:
            starter = _BEFORE_LOGIN.get(command.verb)
            return starter(self, command.arguments) if starter else bad(b"Unknown command, or not before login")
        if command.verb == b"IDLE" and not command.arguments:
            self._next_line = self._end_idle
            return Reply(b"+ idling\r\n", b"")
        serve = MAIL_COMMANDS.get(command.verb)
        return serve(self._mail, command.arguments) if serve else bad(b"Unknown command")

    def _continue(self, line: bytes) -> bytes:
        """The client sent the line it owed."""
        take, self._next_line = self._next_line, None
        return self._status(self._owed_tag, take(line)) if take else b""

    def _status(self, tag: bytes, reply: Reply) -> bytes:
        """The whole answer: untagged lines, news of the mailbox, the tagged status."""
        if not reply.status:
            return reply.untagged
        news = b"" if reply.is_numbered else self._news()
        whole = reply.untagged + news + tag + b" " + reply.status + b"\r\n"
        if not reply.status.startswith(b"BAD"):
            return whole
        self._bad_commands += 1
        return whole + self._goodbye(b"Too many bad commands") if self._bad_commands >= _BAD_COMMANDS_LIMIT else whole

    def _news(self) -> bytes:
        return self._mail.news() if self._mail else b""

    def _goodbye(self, why: bytes) -> bytes:
        self.is_over = True
        self._command.clear()
        return b"* BYE " + why + b"\r\n"

    def _capability(self, _arguments: list[Value]) -> Reply:
        return ok(b"CAPABILITY completed", b"* CAPABILITY " + CAPABILITIES + b"\r\n")

    def _noop(self, _arguments: list[Value]) -> Reply:
        return ok(b"NOOP completed")

    def _id(self, _arguments: list[Value]) -> Reply:
        return ok(b"ID completed", b'* ID ("name" "old server")\r\n')

    def _logout(self, _arguments: list[Value]) -> Reply:
        self.is_over = True
        return ok(b"LOGOUT completed", b"* BYE See you\r\n")

    def _login(self, arguments: list[Value]) -> Reply:
        match arguments:
            case [bytes() as user, bytes() as password]:
                return self._try(user, password)
        return bad(b"LOGIN wants a user name and a password")

    def _authenticate(self, arguments: list[Value]) -> Reply:
        """AUTHENTICATE PLAIN, with the initial response (RFC 4959) or after a go-ahead."""
        match arguments:
            case [bytes() as mechanism, *rest] if mechanism.upper() == b"PLAIN":
                pass
            case _:
                return no(b"Unknown mechanism")
        match rest:
            case []:
                self._next_line = self._plain
                return Reply(b"+ \r\n", b"")
            case [bytes() as response]:
                return self._plain(response)
        return bad(b"Too many arguments")

    def _plain(self, response: bytes) -> Reply:
        """The response of SASL PLAIN (RFC 4616 §2): authorization identity, user, password."""
        if response == b"*":
            return bad(b"Cancelled")
        try:
            parts = base64.b64decode(response, validate=True).split(b"\0")
        except binascii.Error:
            return bad(b"This is no base64")
        return self._try(parts[1], parts[2]) if len(parts) == 3 else bad(b"This is no PLAIN")  # noqa: PLR2004 - RFC 4616

    def _try(self, user: bytes, password: bytes) -> Reply:
        is_accepted = self._account.accepts(user, password)
        self._record.note_login(user, is_accepted=is_accepted)
        if not is_accepted:
            return no(b"Login failed")  # without a response code, as old servers have it
        self._mail = MailCommands(self._mailbox)
        return ok(b"Logged in")

    def _end_idle(self, line: bytes) -> Reply:
        """Only DONE ends IDLE (RFC 2177 §3)."""
        return ok(b"IDLE completed") if line.upper() == b"DONE" else bad(b"Expected DONE")


_Handler = Callable[[ImapConversation, list[Value]], Reply]
_ALWAYS: Final[MappingProxyType[bytes, _Handler]] = MappingProxyType(
    {
        b"CAPABILITY": ImapConversation._capability,  # noqa: SLF001 - the class's own table
        b"NOOP": ImapConversation._noop,  # noqa: SLF001
        b"ID": ImapConversation._id,  # noqa: SLF001
        b"LOGOUT": ImapConversation._logout,  # noqa: SLF001
    }
)
_BEFORE_LOGIN: Final[MappingProxyType[bytes, _Handler]] = MappingProxyType(
    {
        b"LOGIN": ImapConversation._login,  # noqa: SLF001
        b"AUTHENTICATE": ImapConversation._authenticate,  # noqa: SLF001
    }
)
