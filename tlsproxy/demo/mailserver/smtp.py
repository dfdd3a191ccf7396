"""The SMTP side of the old server (RFC 5321), naive on purpose: it takes anybody's mail to anywhere.

All of it lands in the one mailbox there is, so that nothing leaves this machine. Does no I/O.
"""

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from tlsproxy.demo.mailserver.journal import Record
from tlsproxy.demo.mailserver.mailbox import Mailbox
from tlsproxy.protocols.lines import LineBuffer, without_line_end

# Twice what RFC 5321 §4.5.3.1.4 has, for parameters.
_COMMAND_LIMIT_BYTES: Final = 1024
# RFC 5321 §4.5.3.1.6 has 1000; many programs do not count.
_CONTENT_LINE_LIMIT_BYTES: Final = 64 * 1024
_RECIPIENTS_LIMIT: Final = 100
_BAD_COMMANDS_LIMIT: Final = 10
_COMMAND: Final = re.compile(rb"([A-Za-z]{4})(?: +(.*))?", re.DOTALL)
# What stands behind the address, such as BODY=8BITMIME, is not looked at.
_PATH: Final = re.compile(rb"(?i)(?:FROM|TO): *<([^<>\r]*)>.*", re.DOTALL)


class SmtpConversation:
    """One client; ``feed`` it bytes and take ``answer`` until there is none."""

    def __init__(self, mailbox: Mailbox, record: Record) -> None:
        self.is_over = False
        self._mailbox = mailbox
        self._record = record
        self._lines = LineBuffer()
        self._bad_commands = 0
        self._sender: bytes | None = None
        self._recipients: list[bytes] = []
        self._content: bytearray | None = None
        """The message that is being taken in; None between messages."""
        self._room_bytes = 0
        self._is_too_big = False

    def greeting(self) -> bytes:
        """The first line."""
        return b"220 old.example ready\r\n"

    def feed(self, data: bytes) -> None:
        """Take bytes from the client, in any split."""
        self._record.bytes_heard += len(data)
        self._lines.feed(data)

    def answer(self) -> bytes | None:
        """What to send next; None once more bytes are needed."""
        while not self.is_over:
            if self._lines.is_over(_COMMAND_LIMIT_BYTES if self._content is None else _CONTENT_LINE_LIMIT_BYTES):
                self.is_over = True
                return b"500 Line too long\r\n"
            raw = self._lines.line()
            if raw is None:
                return None
            line = without_line_end(raw)
            answer = self._obey(line) if self._content is None else self._take_in(line, self._content)
            if answer:
                return answer
        return None

    def _obey(self, line: bytes) -> bytes:
        match = _COMMAND.fullmatch(line)
        verb, argument = (match[1].upper(), match[2] or b"") if match else (b"", b"")
        handler = _COMMANDS.get(verb)
        if handler is None:
            self._bad_commands += 1
            self.is_over = self._bad_commands >= _BAD_COMMANDS_LIMIT
            return b"500 Unknown command\r\n"
        self._record.note_command(verb)
        return handler(self, argument)

    def _take_in(self, line: bytes, content: bytearray) -> bytes:
        """Take one line of a message.

        Its end is a lone dot, whether its line ends are CRLF, as RFC 5321 §4.1.1.4 wants, or LF, as many old servers
        let pass: by this, mail is smuggled into them.
        """
        if line == b".":
            return self._keep(bytes(content))
        content += line.removeprefix(b".") + b"\r\n"
        if len(content) > self._room_bytes:
            self._is_too_big = True
            content.clear()
        return b""

    def _keep(self, content: bytes) -> bytes:
        """The message is whole; its envelope goes before it (RFC 5321 §4.4)."""
        head = [b"Return-Path: <%b>\r\n" % (self._sender or b"")]
        head += [b"Delivered-To: %b\r\n" % recipient for recipient in self._recipients]
        is_kept = not self._is_too_big and self._mailbox.add(b"".join(head) + content) is not None
        self._forget()
        return b"250 Taken\r\n" if is_kept else b"552 No room for it\r\n"

    def _forget(self) -> None:
        self._sender = self._content = None
        self._recipients = []
        self._is_too_big = False

    def _helo(self, _argument: bytes) -> bytes:
        self._forget()
        return b"250 old.example\r\n"

    def _ehlo(self, _argument: bytes) -> bytes:
        self._forget()
        return b"250-old.example\r\n250 8BITMIME\r\n"

    def _mail(self, argument: bytes) -> bytes:
        match = _PATH.fullmatch(argument)
        if match is None or self._sender is not None:
            return _NOT_NOW
        self._sender = match[1]
        return _OK

    def _rcpt(self, argument: bytes) -> bytes:
        match = _PATH.fullmatch(argument)
        if match is None or self._sender is None:
            return _NOT_NOW
        if len(self._recipients) >= _RECIPIENTS_LIMIT:
            return b"452 Too many recipients\r\n"
        self._recipients.append(match[1])
        return _OK

    def _data(self, _argument: bytes) -> bytes:
        if not self._recipients:
            return _NOT_NOW
        self._content, self._room_bytes = bytearray(), self._mailbox.room_bytes
        return b"354 Go on, a lone dot ends it\r\n"

    def _rset(self, _argument: bytes) -> bytes:
        self._forget()
        return _OK

    def _noop(self, _argument: bytes) -> bytes:
        return _OK

    def _quit(self, _argument: bytes) -> bytes:
        self.is_over = True
        return b"221 See you\r\n"


_OK: Final = b"250 OK\r\n"
_NOT_NOW: Final = b"503 Not so, or not now\r\n"

_COMMANDS: Final[MappingProxyType[bytes, Callable[[SmtpConversation, bytes], bytes]]] = MappingProxyType(
    {
        b"HELO": SmtpConversation._helo,  # noqa: SLF001 - the class's own table
        b"EHLO": SmtpConversation._ehlo,  # noqa: SLF001
        b"MAIL": SmtpConversation._mail,  # noqa: SLF001
        b"RCPT": SmtpConversation._rcpt,  # noqa: SLF001
        b"DATA": SmtpConversation._data,  # noqa: SLF001
        b"RSET": SmtpConversation._rset,  # noqa: SLF001
        b"NOOP": SmtpConversation._noop,  # noqa: SLF001
        b"QUIT": SmtpConversation._quit,  # noqa: SLF001
    }
)
