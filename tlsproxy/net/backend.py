"""The way to the old server: its addresses, connect deadline and TLS; never retries by itself."""

import asyncio
import errno
import os
import socket
import time
from typing import Final

from tlsproxy.config.model import BackendConfig, TcpAddress, UnixAddress
from tlsproxy.core.errors import BackendError
from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Endpoint, PeerLostError
from tlsproxy.net.lookup import Candidate, Lookup, SocketAddress
from tlsproxy.net.plane import WRITE, Plane, ready_for
from tlsproxy.net.strand import apart
from tlsproxy.net.tcp import keep_alive
from tlsproxy.net.tls.contexts import backend_context
from tlsproxy.net.tls.endpoint import TlsEndpoint
from tlsproxy.net.tls.handshake import HandshakeError, connect_tls

_FULL_QUEUE_S: Final = 0.02  # within connect's deadline; an old server empties its queue at each turn of its loop
_NAME_CACHE_S: Final = 30.0  # a failover by DNS is noticed within this; a look-up for each session would cost a thread


class Backend:
    """One backend of the configuration."""

    def __init__(
        self,
        name: str,
        config: BackendConfig,
        *,
        connect_timeout_s: float,
        keepalive_s: float,
        authorities: bytes | None = None,
    ) -> None:
        """Prepare the way.

        Args:
            name: What logs call it.
            config: How it is reached.
            connect_timeout_s: The deadline of each step of reaching it.
            keepalive_s: Seconds of silence before TCP probes a connection.
            authorities: What stands in the CA file; without it the file is read.

        Raises:
            OSError: The CA file cannot be used.
        """
        self.name = name
        self.config = config
        self.answer_timeout_s = connect_timeout_s
        self._keepalive_s = keepalive_s
        self._context = backend_context(config, authorities)
        self._candidates: list[Candidate] = []
        self._candidates_until = 0.0
        self._lookup = Lookup()

    @property
    def wants_upgrade(self) -> bool:
        """Whether TLS starts with a command (RFC 3207's way), not with the first byte."""
        return self.config.tls == "starttls"

    @property
    def wants_tls(self) -> bool:
        """Whether TLS starts with the first byte."""
        return self.config.tls == "implicit"

    async def connect(self, plane: Plane) -> tuple[Endpoint, Candidate]:
        """Connect in plaintext to the first address that answers; all of it under one deadline.

        Returns:
            The endpoint, and the address that answered.

        Raises:
            BackendError: BACKEND_DOWN or BACKEND_TIMEOUT; the detail names each address and what it said.
        """
        now = time.monotonic
        until = now() + self.answer_timeout_s
        told: list[str] = []
        candidates = await self._resolve()
        for number, candidate in enumerate(candidates):
            # An equal share of what is left, so that one dead address does not use up the time of the living.
            share_s = (until - now()) / (len(candidates) - number)
            try:
                return await self._try(plane, candidate, share_s), candidate
            except (OSError, TimeoutError) as error:
                told.append(f"{candidate}: {_why(error)}")
        is_silent = all(line.endswith(_why(TimeoutError())) for line in told)
        raise BackendError(Reason.BACKEND_TIMEOUT if is_silent else Reason.BACKEND_DOWN, "; ".join(told))

    async def secure(self, endpoint: Endpoint) -> TlsEndpoint:
        """Put TLS on a connection.

        Raises:
            BackendError: BACKEND_TLS_FAILED; the detail says why.
        """
        counts = endpoint.bytes_in, endpoint.bytes_out
        try:
            async with asyncio.timeout(self.answer_timeout_s):
                secured = await connect_tls(endpoint.plane, endpoint.detach(), self._context, self._server_name())
        except HandshakeError as error:
            raise BackendError(Reason.BACKEND_TLS_FAILED, error.detail) from error
        except TimeoutError as error:
            raise BackendError(Reason.BACKEND_TLS_FAILED, "no TLS handshake within the deadline") from error
        except PeerLostError as error:
            raise BackendError(Reason.BACKEND_TLS_FAILED, f"{error.ending} during the TLS handshake") from error
        secured.bytes_in, secured.bytes_out = counts
        return secured

    async def _try(self, plane: Plane, candidate: Candidate, share_s: float) -> Endpoint:
        sock = socket.socket(candidate.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            code = _connect(sock, candidate.address)
            if code:
                await apart(_connected(plane, sock, candidate.address, code, share_s))
            if candidate.family != socket.AF_UNIX:
                keep_alive(sock, self._keepalive_s)
        except BaseException:
            sock.close()
            raise
        return Endpoint(plane, sock)

    async def _resolve(self) -> list[Candidate]:
        match self.config.address:
            case UnixAddress(path=path):
                return [Candidate(family=socket.AF_UNIX, address=str(path))]
            case TcpAddress(host=host, port=port):
                now = time.monotonic
                if now() >= self._candidates_until:
                    try:
                        await apart(self._look_up(host, port))
                    except BackendError:
                        if not self._candidates:
                            raise
                        return self._candidates  # half a minute old: better than a failed login
                    self._candidates_until = now() + _NAME_CACHE_S
                return self._candidates

    async def _look_up(self, host: str, port: int) -> None:
        try:
            async with asyncio.timeout(self.answer_timeout_s):
                self._candidates = await self._lookup.candidates(host, port)
        except TimeoutError as error:
            raise BackendError(Reason.BACKEND_TIMEOUT, "no answer within the deadline") from error
        except socket.gaierror as error:
            raise BackendError(Reason.BACKEND_DOWN, f"{self.config.address}: {error.strerror}") from error

    def _server_name(self) -> str | None:
        if self.config.server_name is not None:
            return self.config.server_name
        return self.config.address.host if isinstance(self.config.address, TcpAddress) else None


def _connect(sock: socket.socket, address: SocketAddress) -> int:
    """Begin; 0 if it stands at once, else what errno says."""
    code = sock.connect_ex(address)
    # On the same machine it stands by now, and to ask costs less than to wait for a turn of the loop.
    return sock.connect_ex(address) if code == errno.EINPROGRESS else code


async def _connected(plane: Plane, sock: socket.socket, address: SocketAddress, code: int, limit_s: float) -> None:
    """Wait until it stands, or raise what it cannot for."""
    async with asyncio.timeout(limit_s):
        # A unix socket with a full queue says so instead of waiting, and nothing tells when there is room (connect(2)).
        while code == errno.EAGAIN:
            await asyncio.sleep(_FULL_QUEUE_S)
            code = _connect(sock, address)
        if code == errno.EALREADY:
            await ready_for(plane, sock.fileno(), WRITE)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
