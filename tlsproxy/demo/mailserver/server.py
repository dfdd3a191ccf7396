"""Sockets of the old server: one protocol object a connection, bounded; knows no protocol."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Protocol, Self, cast

from tlsproxy.demo.mailserver.imap.conversation import ImapConversation
from tlsproxy.demo.mailserver.journal import Journal, Record
from tlsproxy.demo.mailserver.mailbox import Account, Mailbox
from tlsproxy.demo.mailserver.pop3 import Pop3Conversation
from tlsproxy.demo.mailserver.smtp import SmtpConversation

_HOST: Final = "127.0.0.1"
_CONNECTIONS_LIMIT: Final = 256
# IDLE is renewed every 29 minutes (RFC 2177 §3); RFC 3501 §5.4 asks for 30.
_IDLE_LIMIT_S: Final = 31 * 60.0
_START_LIMIT_S: Final = 10.0


class Conversation(Protocol):
    """A dialogue without I/O."""

    is_over: bool

    def greeting(self) -> bytes:
        """The first line."""
        ...

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        ...

    def answer(self) -> bytes | None:
        """What to send next; None once more bytes are needed."""
        ...


class MailServer:
    """IMAP, POP3 and SMTP in clear on three ports of 127.0.0.1."""

    def __init__(self, account: Account, mailbox: Mailbox) -> None:
        self.journal = Journal()
        self.mailbox = mailbox
        self.imap_port = 0
        self.pop3_port = 0
        self.smtp_port = 0
        self._account = account
        self._servers: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()

    async def start(self) -> None:
        """Listen on three free ports; they are in ``imap_port``, ``pop3_port`` and ``smtp_port`` then."""
        self.imap_port = await self._listen("imap", partial(ImapConversation, self._account, self.mailbox))
        self.pop3_port = await self._listen("pop3", partial(Pop3Conversation, self._account, self.mailbox))
        self.smtp_port = await self._listen("smtp", partial(SmtpConversation, self.mailbox))

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.abort()
        for server in self._servers:
            await server.wait_closed()

    async def _listen(self, name: str, converse: Callable[[Record], Conversation]) -> int:
        def connect() -> _Connection:
            return _Connection(self._connections, self.mailbox, lambda port: converse(self.journal.open(name, port)))

        server = await asyncio.get_running_loop().create_server(connect, _HOST, 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port


class _Connection(asyncio.Protocol):
    """Carries bytes between one socket and one Conversation."""

    def __init__(
        self, connections: "set[_Connection]", mailbox: Mailbox, converse: Callable[[int], Conversation]
    ) -> None:
        self._connections = connections
        self._mailbox = mailbox
        self._converse = converse
        self._conversation: Conversation | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # a TCP server's transport is a whole one
        if len(self._connections) >= _CONNECTIONS_LIMIT:
            self._transport.abort()
            return
        self._connections.add(self)
        self._mailbox.watch(self, partial(asyncio.get_running_loop().call_soon, self._pump))
        self._conversation = self._converse(transport.get_extra_info("peername")[1])
        self._transport.write(self._conversation.greeting())
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - every ending is alike
        self._connections.discard(self)
        self._mailbox.unwatch(self)
        self._conversation = None
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._conversation:
            self._rest()
            self._conversation.feed(data)
            self._pump()

    def pause_writing(self) -> None:
        """A client that does not read is not read either, so that answers cannot pile up."""
        self._is_paused = True
        if self._transport:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()
            self._pump()

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport:
            self._transport.abort()

    def _pump(self) -> None:
        """Send answers until there is none, or the client does not keep up."""
        while self._conversation and self._transport and not self._is_paused and not self._transport.is_closing():
            answer = self._conversation.answer()
            if answer is None:
                if self._conversation.is_over:
                    self._transport.close()
                return
            self._transport.write(answer)

    def _rest(self) -> None:
        """Begin the idle time anew."""
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_IDLE_LIMIT_S, self.abort)


class HostedMailServer:
    """A MailServer with a thread and a loop of its own, for clients that block; a context manager."""

    def __init__(self, account: Account, mailbox: Mailbox) -> None:
        self.server = MailServer(account, mailbox)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="old mail server")

    def __enter__(self) -> Self:
        """Start the thread and listen."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(_START_LIMIT_S)
        except BaseException:  # Ctrl-C too: a thread left running would keep the program from ending
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop every connection and end the thread."""
        self._end()

    def _end(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.close(), self._loop).result(_START_LIMIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_LIMIT_S)
        self._loop.close()
