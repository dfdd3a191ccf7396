"""What an old SMTP server can do, as it said itself: learnt once, and anew from every connection to it."""

import asyncio
from typing import Final

from tlsproxy.core.errors import BackendError
from tlsproxy.core.kinds import BackendIdentity
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.proxy_header import LOCAL_V1, LOCAL_V2
from tlsproxy.protocols.smtp.backend_side.introduction import Refusal, say_hello
from tlsproxy.protocols.smtp.capabilities import Capabilities
from tlsproxy.protocols.smtp.syntax import Extension
from tlsproxy.server.smtp.delivering.old_server import called
from tlsproxy.server.way.way import Way

_LIMIT_S: Final = 5.0  # a client waits for its EHLO meanwhile
_RETRY_S: Final = 10.0  # after a vain attempt; clients are served as if it could do what nearly all can until then
# Of a server that has not been heard yet. Offered less, a sender bounces for good what needs more, or changes 8-bit
# mail so that its signature no longer holds; offered too much, its message is refused for now, and comes again.
_GUESS: Final = Capabilities(extensions=frozenset({Extension.EIGHT_BIT_MIME, Extension.SMTPUTF8}))
LOCAL_WORDS: Final = {BackendIdentity.PROXY_V1: LOCAL_V1, BackendIdentity.PROXY_V2: LOCAL_V2}
"""What must be said first on a connection that is made for no client."""


class Knowledge:
    """Shared by all sessions that a worker serves from one backend."""

    def __init__(self, way: Way, hostname: bytes, identity: BackendIdentity) -> None:
        self._way = way
        self._hostname = hostname
        self._first_words = LOCAL_WORDS.get(identity, b"")
        self._lock = asyncio.Lock()
        self._not_before = 0.0
        self.capabilities: Capabilities | None = None
        """What it said last."""

    async def ask(self, plane: Plane, client: bytes) -> Capabilities:
        """What it can do; a connection is made to find out, if none has been yet.

        Args:
            plane: Who watches the new descriptor.
            client: ``Peer.key`` of the client that wants to know.
        """
        async with self._lock:  # many that come at once cause one connection
            now = asyncio.get_running_loop().time()
            if self.capabilities is None and now >= self._not_before:
                self.capabilities = await self._learn(plane, client)
                if self.capabilities is None:
                    self._not_before = now + _RETRY_S
            return self.capabilities or _GUESS

    async def _learn(self, plane: Plane, client: bytes) -> Capabilities | None:
        call = called(plane, self._way, client, self._first_words, _LIMIT_S)
        try:
            async with asyncio.timeout(_LIMIT_S), call as server:
                await server.greeting()
                known = await server.perform(say_hello(self._hostname))
        except (BackendError, TimeoutError):
            return None  # counted by the way; whoever has mail for it will be told
        return None if isinstance(known, Refusal) else known
