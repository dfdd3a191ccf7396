"""One connection to the old SMTP server, from greeting to QUIT: lines go out, replies come back, one at a time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

from tlsproxy.core.errors import BackendError
from tlsproxy.core.outcome import Reason
from tlsproxy.net.clocks.deadlines import Deadline
from tlsproxy.net.endpoint import Ending, PeerLostError
from tlsproxy.net.plane import READ, Plane
from tlsproxy.protocols.smtp.backend_side.introduction import Dialogue
from tlsproxy.protocols.smtp.backend_side.upgrade import SmtpUpgrade
from tlsproxy.protocols.smtp.reply import Reply, ReplyFault, ReplyReader
from tlsproxy.server.way.way import Arrival, Way

_QUIT_S: Final = 0.5  # a courtesy; the message is delivered, and nobody waits for the answer
_T = TypeVar("_T")

_REASONS: Final = {
    Ending.CLOSED: Reason.BACKEND_CLOSED,
    Ending.RESET: Reason.BACKEND_RESET,
    Ending.TIMED_OUT: Reason.BACKEND_TIMEOUT,
    Ending.TLS_BROKEN: Reason.BACKEND_TLS_FAILED,
    Ending.INTERNAL: Reason.INTERNAL_ERROR,
}


class OldServer:
    """A backend that is spoken to; every method raises BackendError once it is lost."""

    def __init__(self, arrival: Arrival, limit_s: float) -> None:
        """Take over a connection.

        Args:
            arrival: The connection, and a greeting that was heard already.
            limit_s: How long it may take for an answer to a command.
        """
        self.endpoint = arrival.endpoint
        self._limit_s = limit_s
        self._now = time.monotonic
        self._deadline = Deadline(self.endpoint.plane.deadlines, self._late)
        self._is_late = False
        self._replies = ReplyReader()
        self._replies.feed(arrival.greeting)

    async def greeting(self) -> Reply:
        """What it says before anything is asked of it."""
        return await self._reply(self._limit_s)

    async def perform(self, dialogue: Dialogue[_T]) -> _T:
        """Hold a dialogue to its end; returns what came of it."""
        try:
            line = next(dialogue)
            while True:
                line = dialogue.send(await self.ask(line))
        except StopIteration as end:
            outcome: _T = end.value
            return outcome

    async def ask(self, line: bytes, limit_s: float | None = None) -> Reply:
        """Say a line and wait for the reply to it.

        Args:
            line: A whole command, or the end of a message.
            limit_s: How long the reply may take; by default what any command may.

        Raises:
            BackendError: It is lost, late, or said something that nobody asked for.
        """
        self._look()
        if len(self._replies):  # a reply before its question answers another one, or is a lie
            raise BackendError(Reason.BACKEND_GARBAGE, "spoke without being asked")
        self.endpoint.push(line)
        return await self._reply(limit_s or self._limit_s)

    async def push(self, data: bytes, limit_s: float) -> None:
        """Send content, and wait until it is taken."""
        if data and not self.endpoint.push(data):
            try:
                async with asyncio.timeout(limit_s):
                    await self.endpoint.drained()
            except TimeoutError as error:
                raise BackendError(Reason.BACKEND_TIMEOUT, f"took nothing for {limit_s:g} s") from error
            except PeerLostError as error:
                raise self._lost(error.ending) from error

    async def quit(self) -> None:
        """Leave in good order, as far as that is soon."""
        with suppress(BackendError):
            await self.ask(b"QUIT\r\n", _QUIT_S)
        self.close()

    def close(self) -> None:
        """Leave at once; a message that was not ended is not delivered."""
        self._deadline.close()
        self.endpoint.close()

    def _look(self) -> None:
        """Take what lies in the socket by now: nobody read it while nothing was asked."""
        self.endpoint.sink = self._hear
        self.endpoint.resume()
        self.endpoint.ready(READ)
        self.endpoint.let_go()

    def _hear(self, size: int) -> None:
        self._replies.feed(bytes(self.endpoint.plane.buffer[:size]))

    async def _reply(self, limit_s: float) -> Reply:
        # One timer that moves: a session has ten replies and more, and nearly all come at once.
        self._deadline.move(self._now() + limit_s, Reason.BACKEND_TIMEOUT)
        try:
            while (reply := self._replies.take()) is None:
                await self._read()
        except PeerLostError as error:
            if self._is_late:
                raise BackendError(Reason.BACKEND_TIMEOUT, f"no answer within {limit_s:g} s") from error
            raise self._lost(error.ending) from error
        finally:
            self._deadline.lift()
        if isinstance(reply, ReplyFault):
            raise BackendError(Reason.BACKEND_GARBAGE, f"an answer that makes no sense ({reply})")
        return reply

    async def _read(self) -> None:
        data = await self.endpoint.receive()
        if not data:
            raise self._lost(Ending.CLOSED)
        self._replies.feed(data)

    def _late(self, _reason: Reason) -> None:
        self._is_late = True
        self.endpoint.end(Ending.TIMED_OUT)

    @staticmethod
    def _lost(ending: Ending) -> BackendError:
        return BackendError(_REASONS[ending], f"{ending} in the middle of a session")


@asynccontextmanager
async def called(plane: Plane, way: Way, client: bytes, first_words: bytes, limit_s: float) -> AsyncIterator[OldServer]:
    """A connection of our own, which brings no mail; it ends with QUIT, or at once if anything goes wrong.

    Args:
        plane: Who watches the descriptor.
        way: The way to the old server.
        client: ``Peer.key`` of the client that caused it; empty if none did.
        first_words: What is said before anything else.
        limit_s: How long it may take for an answer.

    Raises:
        BackendError: It cannot be had.
    """
    server = OldServer(await way.connect(plane, client, SmtpUpgrade, first_words), limit_s)
    try:
        yield server
        await server.quit()
    finally:
        server.close()
