"""The POP3 side of the old server (RFC 1939): bytes in, answers out; does no I/O and keeps no password."""

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from tlsproxy.demo.mailserver import mime
from tlsproxy.demo.mailserver.journal import Record
from tlsproxy.demo.mailserver.mailbox import Account, Mailbox, Message
from tlsproxy.protocols.lines import LineBuffer, without_line_end

# RFC 2449 §4: a command line has 255 bytes; twice that, for long passwords.
_LINE_LIMIT_BYTES: Final = 512
_BAD_COMMANDS_LIMIT: Final = 10
_COMMAND: Final = re.compile(rb"([A-Za-z]{3,4})(?: (.*))?", re.DOTALL)
_LINE_BEGINNING_WITH_DOT: Final = re.compile(rb"(?m)^\.")
_CAPABILITIES: Final = (b"USER", b"TOP", b"UIDL")


class Pop3Conversation:
    """One client; ``feed`` it bytes and take ``answer`` until there is none."""

    def __init__(self, account: Account, mailbox: Mailbox, record: Record) -> None:
        self.is_over = False
        self._account = account
        self._mailbox = mailbox
        self._record = record
        self._lines = LineBuffer()
        self._bad_commands = 0
        self._user: bytes | None = None
        self._messages: list[Message] | None = None
        """The maildrop as it was at login; None before."""
        self._deleted: set[int] = set()

    def greeting(self) -> bytes:
        """The first line."""
        return b"+OK old server ready\r\n"

    def feed(self, data: bytes) -> None:
        """Take bytes from the client, in any split."""
        self._record.bytes_heard += len(data)
        self._lines.feed(data)

    def answer(self) -> bytes | None:
        """What to send next; None once more bytes are needed."""
        if self.is_over:
            return None
        if self._lines.is_over(_LINE_LIMIT_BYTES):
            self.is_over = True
            return b"-ERR Line too long\r\n"
        line = self._lines.line()
        if line is None:
            return None
        match = _COMMAND.fullmatch(without_line_end(line))
        verb, argument = (match[1].upper(), match[2] or b"") if match else (b"", b"")
        table = _BEFORE_LOGIN if self._messages is None else _AFTER_LOGIN
        handler = table.get(verb)
        if handler is None:
            return self._bad_command()
        self._record.note_command(verb)
        return handler(self, argument)

    def _bad_command(self) -> bytes:
        self._bad_commands += 1
        self.is_over = self._bad_commands >= _BAD_COMMANDS_LIMIT
        return b"-ERR Unknown command, or not now\r\n"

    def _capa(self, _argument: bytes) -> bytes:
        return _many(b"+OK List follows", b"\r\n".join(_CAPABILITIES) + b"\r\n")

    def _noop(self, _argument: bytes) -> bytes:
        return b"+OK\r\n"

    def _take_user(self, argument: bytes) -> bytes:
        self._user = argument
        return b"+OK Password?\r\n"

    def _take_pass(self, argument: bytes) -> bytes:
        user, self._user = self._user, None
        if user is None:
            return b"-ERR USER first\r\n"
        is_accepted = self._account.accepts(user, argument)
        self._record.note_login(user, is_accepted=is_accepted)
        if not is_accepted:
            return b"-ERR Login failed\r\n"  # without a response code, as old servers have it
        self._messages = list(self._mailbox.messages)
        return b"+OK %d messages\r\n" % len(self._messages)

    def _stat(self, _argument: bytes) -> bytes:
        there = self._there()
        return b"+OK %d %d\r\n" % (len(there), sum(len(message.raw) for _, message in there))

    def _list(self, argument: bytes) -> bytes:
        return self._told(argument, lambda message: len(message.raw))

    def _uidl(self, argument: bytes) -> bytes:
        return self._told(argument, lambda message: message.uid)

    def _told(self, argument: bytes, figure: Callable[[Message], int]) -> bytes:
        """One message's number and figure, or all of them."""
        if not argument:
            return _many(
                b"+OK", b"".join(b"%d %d\r\n" % (number, figure(message)) for number, message in self._there())
            )
        message = self._find(argument)
        return b"+OK %d %d\r\n" % (int(argument), figure(message)) if message else _NO_SUCH_MESSAGE

    def _retr(self, argument: bytes) -> bytes:
        message = self._find(argument)
        return _many(b"+OK %d octets" % len(message.raw), message.raw) if message else _NO_SUCH_MESSAGE

    def _top(self, argument: bytes) -> bytes:
        number, _, count = argument.partition(b" ")
        message = self._find(number)
        if message is None or not (count.isdigit() and len(count) < 7):  # noqa: PLR2004 - more lines than any message
            return _NO_SUCH_MESSAGE
        part = mime.parse(message.raw)
        lines = part.body.splitlines(keepends=True)[: int(count)]
        return _many(b"+OK", part.head + b"".join(lines))

    def _dele(self, argument: bytes) -> bytes:
        if self._find(argument) is None:
            return _NO_SUCH_MESSAGE
        self._deleted.add(int(argument))
        return b"+OK Marked\r\n"

    def _rset(self, _argument: bytes) -> bytes:
        self._deleted.clear()
        return b"+OK\r\n"

    def _quit(self, _argument: bytes) -> bytes:
        """Only QUIT makes deletions real (RFC 1939 §6)."""
        self.is_over = True
        if self._messages and self._deleted:
            self._mailbox.remove(self._messages[number - 1] for number in self._deleted)
        return b"+OK See you\r\n"

    def _there(self) -> list[tuple[int, Message]]:
        """The messages that are not marked as deleted, with their numbers."""
        numbered = enumerate(self._messages or (), start=1)
        return [(number, message) for number, message in numbered if number not in self._deleted]

    def _find(self, argument: bytes) -> Message | None:
        if not (argument.isdigit() and len(argument) < 7):  # noqa: PLR2004 - more than a mailbox holds
            return None
        return dict(self._there()).get(int(argument))


_NO_SUCH_MESSAGE: Final = b"-ERR No such message\r\n"


def _many(status: bytes, lines: bytes) -> bytes:
    """A multi-line response: dots doubled, ended by a lone dot (RFC 1939 §3)."""
    whole = lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"
    return status + b"\r\n" + _LINE_BEGINNING_WITH_DOT.sub(b"..", whole) + b".\r\n"


_Handler = Callable[[Pop3Conversation, bytes], bytes]
_BEFORE_LOGIN: Final[MappingProxyType[bytes, _Handler]] = MappingProxyType(
    {
        b"CAPA": Pop3Conversation._capa,  # noqa: SLF001 - the class's own tables
        b"USER": Pop3Conversation._take_user,  # noqa: SLF001
        b"PASS": Pop3Conversation._take_pass,  # noqa: SLF001
        b"NOOP": Pop3Conversation._noop,  # noqa: SLF001
        b"QUIT": Pop3Conversation._quit,  # noqa: SLF001
    }
)
_AFTER_LOGIN: Final[MappingProxyType[bytes, _Handler]] = MappingProxyType(
    {
        b"CAPA": Pop3Conversation._capa,  # noqa: SLF001
        b"STAT": Pop3Conversation._stat,  # noqa: SLF001
        b"LIST": Pop3Conversation._list,  # noqa: SLF001
        b"UIDL": Pop3Conversation._uidl,  # noqa: SLF001
        b"RETR": Pop3Conversation._retr,  # noqa: SLF001
        b"TOP": Pop3Conversation._top,  # noqa: SLF001
        b"DELE": Pop3Conversation._dele,  # noqa: SLF001
        b"RSET": Pop3Conversation._rset,  # noqa: SLF001
        b"NOOP": Pop3Conversation._noop,  # noqa: SLF001
        b"QUIT": Pop3Conversation._quit,  # noqa: SLF001
    }
)
