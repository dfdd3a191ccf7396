"""The client of an SMTP session: its bytes go into the conversation, replies go out, and it is noticed when it leaves.

Must not know what is said.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tlsproxy.core.kinds import Side
from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Ending, Endpoint, PeerLostError
from tlsproxy.net.plane import Nap
from tlsproxy.protocols.smtp.conversation import Conversation
from tlsproxy.server.ending import REASONS, SessionEndedError

_HELD_BYTES: Final = 16 * 1024  # commands that wait for their turn; a hundred recipients in one go fit


_TAKE_S: Final = 60.0  # a client that does not read its answers is not waited for any longer


class Caller:
    """A client that is listened to even while it waits for us."""

    def __init__(self, endpoint: Endpoint, conversation: Conversation, leave: Callable[[Reason], None]) -> None:
        """Nothing is read yet.

        Args:
            endpoint: The client.
            conversation: Who hears what it says.
            leave: Called when it is gone while somebody works for it.
        """
        self.endpoint = endpoint
        self._conversation = conversation
        self._leave = leave
        self._nap = Nap()
        self._is_served = False

    def attach(self, endpoint: Endpoint) -> None:
        """Listen to this endpoint from now on, until ``detach``."""
        self.endpoint = endpoint
        endpoint.sink, endpoint.on_end = self._hear, self._ended
        endpoint.resume()

    def detach(self) -> Endpoint:
        """Give the endpoint to somebody else, for a handshake or for content."""
        self.endpoint.let_go()
        return self.endpoint

    def close(self) -> None:
        """Forget whoever works for it; a cycle through its methods would wait for the garbage collector."""
        self._leave = _ignore
        self._conversation.close()

    async def listen(self) -> None:
        """Wait for more bytes.

        Raises:
            SessionEndedError: The client has closed its side and nothing more comes.
            PeerLostError: The connection broke.
        """
        heard = self.endpoint.bytes_in
        self.endpoint.resume()
        if self.endpoint.ending is None:
            await self._nap.rest()
        if self.endpoint.bytes_in == heard:
            self._raise_ended()

    async def flush(self) -> None:
        """Send what the conversation has to say, and wait until it is taken.

        Raises:
            SessionEndedError: It takes nothing.
            PeerLostError: The connection broke.
        """
        output = self._conversation.take_output()
        if output and not self.endpoint.push(output):
            self.detach()
            try:
                async with asyncio.timeout(_TAKE_S):
                    await self.endpoint.drained()
            except TimeoutError:
                raise SessionEndedError(Reason.IDLE_TIMEOUT, is_told=True) from None
            self.attach(self.endpoint)

    async def receive(self) -> bytes:
        """The next bytes of content, past the conversation; see Endpoint.receive.

        Raises:
            SessionEndedError: The client has closed its side.
            PeerLostError: The connection broke.
        """
        data = await self.endpoint.receive()
        if not data:
            raise SessionEndedError(Reason.CLIENT_CLOSED)
        return data

    @contextmanager
    def served(self) -> Iterator[None]:
        """While somebody works for the client: if it leaves, that is for nothing."""
        self._is_served = True
        try:
            if self.endpoint.ending is not None:
                self._ended(self.endpoint.ending)
            yield
        finally:
            self._is_served = False

    def _hear(self, size: int) -> None:
        self._conversation.feed(bytes(self.endpoint.plane.buffer[:size]))
        if len(self._conversation) >= _HELD_BYTES:
            self.endpoint.pause()
        self._nap.wake()

    def _ended(self, ending: Ending) -> None:
        # One that has closed its side behind commands that still wait wants them done.
        is_gone = ending is not Ending.CLOSED or not len(self._conversation)
        if self._is_served and is_gone:
            self._leave(REASONS[Side.CLIENT, ending])
        self._nap.wake()

    def _raise_ended(self) -> None:
        match self.endpoint.ending:
            case None:
                return
            case Ending.CLOSED:
                raise SessionEndedError(Reason.CLIENT_CLOSED)
            case ending:
                raise PeerLostError(ending)


def _ignore(_reason: Reason) -> None: ...
