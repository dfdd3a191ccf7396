"""The way to a backend as sessions see it: connecting, and knowing when there is no use in trying."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tlsproxy.config.model import Config
from tlsproxy.core.errors import BackendError
from tlsproxy.core.outcome import Reason
from tlsproxy.net.backend import Backend
from tlsproxy.net.endpoint import Endpoint, PeerLostError
from tlsproxy.net.plane import Plane
from tlsproxy.net.strand import apart
from tlsproxy.protocols.base import Hangup, StartTls, ToBackend, Upgrade
from tlsproxy.server.way.health import BackendHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A connection to a backend."""

    endpoint: Endpoint
    address: str
    source_port: int | None
    greeting: bytes
    """What the Login is to read first: where TLS began with a command, the greeting was heard before it."""


def make_backend(config: Config, name: str, authorities: Mapping[str, bytes]) -> Backend:
    """A backend of a configuration.

    Args:
        config: The configuration.
        name: The backend's name in it.
        authorities: What stands in the CA files, by the backend's name.

    Raises:
        OSError: The CA file cannot be used.
    """
    return Backend(
        name,
        config.backend[name],
        connect_timeout_s=config.timeouts.backend_connect,
        keepalive_s=config.timeouts.keepalive,
        authorities=authorities.get(name),
    )


class Way:
    """One backend, shared by all sessions."""

    def __init__(self, backend: Backend, health: BackendHealth) -> None:
        self.backend = backend
        self.health = health
        self.name = backend.name
        """The backend's name in the configuration."""

    def is_down(self) -> bool:
        """Whether new sessions should be told at once that the mail server cannot be reached."""
        return self.health.is_down()

    async def connect(
        self, plane: Plane, client: bytes, make_upgrade: Callable[[], Upgrade], first_words: bytes = b""
    ) -> Arrival:
        """Connect for a client, TLS included where the configuration asks for it.

        Args:
            plane: Who watches the new descriptor.
            client: ``Peer.key``.
            make_upgrade: Makes the dialogue that is held where TLS starts with a command.
            first_words: What the backend must be told before anything else, TLS too.

        Raises:
            BackendError: It cannot be had; counted in the backend's health.
        """
        try:
            endpoint, candidate = await self.backend.connect(plane)
            source = endpoint.sock.getsockname()
            try:
                if first_words:
                    endpoint.push(first_words)
                endpoint, greeting = await self._secure(endpoint, make_upgrade)
            except BaseException:
                endpoint.close()
                raise
        except BackendError as error:
            self.health.failed(client, error)
            raise
        address = str(candidate)
        self.health.worked(address)
        port = source[1] if isinstance(source, tuple) else None
        return Arrival(endpoint=endpoint, address=address, source_port=port, greeting=greeting)

    async def knock(self, plane: Plane) -> None:
        """Try whether the backend takes a connection again; nobody's login is risked for it."""
        try:
            endpoint, candidate = await self.backend.connect(plane)
        except BackendError:
            return  # as is known; whoever had it tried will have it tried again
        endpoint.close()
        self.health.worked(str(candidate))

    async def _secure(self, endpoint: Endpoint, make_upgrade: Callable[[], Upgrade]) -> tuple[Endpoint, bytes]:
        if self.backend.wants_tls:
            return await apart(self.backend.secure(endpoint)), b""
        if self.backend.wants_upgrade:
            upgrade = make_upgrade()
            return await apart(self._upgrade(endpoint, upgrade)), upgrade.greeting
        return endpoint, b""

    async def _upgrade(self, endpoint: Endpoint, upgrade: Upgrade) -> Endpoint:
        await self._ask_for_tls(endpoint, upgrade)
        return await self.backend.secure(endpoint)

    async def _ask_for_tls(self, endpoint: Endpoint, upgrade: Upgrade) -> None:
        try:
            async with asyncio.timeout(self.backend.answer_timeout_s):
                while data := await endpoint.receive():
                    for action in upgrade.from_backend(data):
                        match action:
                            case ToBackend(data=line):
                                endpoint.push(line)
                            case StartTls():
                                return
                            case Hangup(reason=reason):
                                raise BackendError(reason, "the backend does not start TLS as it should")
        except TimeoutError as error:
            raise BackendError(Reason.BACKEND_TIMEOUT, "no answer to the command that starts TLS") from error
        except PeerLostError as error:
            raise BackendError(Reason.BACKEND_DOWN, f"{error.ending} before TLS") from error
        raise BackendError(Reason.BACKEND_DOWN, "closed before TLS")
