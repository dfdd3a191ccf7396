"""What is written down of one connection: its summary as it grows, and every line of the log that speaks of it."""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from tlsproxy.core.addresses import Peer
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LoginResult
from tlsproxy.core.log import Log
from tlsproxy.core.outcome import Outcome, Phase, Reason
from tlsproxy.core.summary import FieldValue, Summary, readable
from tlsproxy.net.endpoint import Endpoint
from tlsproxy.net.tls.endpoint import TlsEndpoint
from tlsproxy.net.tls.handshake import facts
from tlsproxy.protocols.base import ClientIdentified, LoggedIn, LoginFailed, PasswordExposed, Tongue
from tlsproxy.protocols.sasl import known_mechanism
from tlsproxy.server.way.way import Way

Observation = LoginFailed | LoggedIn | ClientIdentified


class Served(Protocol):
    """What a record tells of what a connection is served by."""

    @property
    def listener(self) -> str:
        """The listener's name."""
        ...

    @property
    def protocol(self) -> Tongue:
        """What is spoken there."""
        ...

    @property
    def way(self) -> Way:
        """The way to the backend behind it."""
        ...


class Chronicle:
    """The record of one connection, from accept to its one ``session.closed``."""

    __slots__ = ("_clock", "_ends", "_log", "_phases", "_since", "phase", "summary")

    def __init__(self, log: Log, service: Served, peer: Peer, clock: Callable[[], float], session: str) -> None:
        self._log = log
        self._clock = clock
        self._since = clock()
        self._phases: list[Phase] = []
        """Each phase that is over."""
        self._ends: list[float] = []
        """When it was over."""
        self.phase = Phase.ADMIT
        self.summary = Summary(
            session=session,
            listener=service.listener,
            protocol=service.protocol.name,
            client=peer,
            backend=service.way.name,
        )

    @property
    def ref(self) -> str:
        """The id that a client is told and that finds the line."""
        return self.summary.session

    def enter(self, phase: Phase) -> None:
        """The next phase begins; the time until now belongs to the one before."""
        self._phases.append(self.phase)
        self._ends.append(self._clock())
        self.phase = phase

    def opened(self) -> None:
        """A session begins."""
        if self._log.has_debug:
            self._log.debug(Event.SESSION_OPENED, **self.who())

    def secured(self, client: TlsEndpoint) -> None:
        """The handshake is done."""
        summary = self.summary
        summary.tls_version, summary.tls_cipher, summary.tls_alpn, summary.tls_resumed = facts(client)

    def observe(self, seen: Observation) -> None:
        """The Login noticed something."""
        summary = self.summary
        if isinstance(seen, ClientIdentified):
            summary.client_id = seen.client_id
            return
        summary.login_attempts += 1
        summary.user, summary.mechanism = seen.user, known_mechanism(seen.mechanism)
        if isinstance(seen, LoggedIn):
            summary.login = LoginResult.OK
            if self._log.has_debug:
                self._log.debug(Event.LOGIN_SUCCEEDED, **self.who(), **self._whose())
            return
        summary.login = LoginResult.FAILED
        self._log.warning(
            Event.LOGIN_FAILED,
            **self.who(),
            **self._whose(),
            credential=seen.is_credential,
            attempt=summary.login_attempts,
            tls_version=summary.tls_version,
        )

    def reached(self, address: str, source_port: int | None) -> None:
        """The backend is there."""
        self.summary.backend_address, self.summary.source_port = sys.intern(address), source_port

    def exposed(self, seen: PasswordExposed) -> None:
        """A password came in clear."""
        self._log.warning(
            Event.PASSWORD_EXPOSED, **self.who(), user=readable(seen.user), mechanism=known_mechanism(seen.mechanism)
        )

    def injected(self) -> None:
        """Something followed the command that starts TLS."""
        self._log.warning(Event.STARTTLS_INJECTION, **self.who())

    def spoke_early(self) -> None:
        """The client did not wait for the greeting."""
        self._log.warning(Event.GREETING_PRECEDED, **self.who())

    def broken(self, error: Exception) -> None:
        """A bug of ours showed."""
        self._log.error(Event.SESSION_BROKEN, **self.who(), exc_info=error)

    def count_client(self, client: Endpoint) -> None:
        """Take the client's byte counts."""
        self.summary.bytes_from_client, self.summary.bytes_to_client = client.bytes_in, client.bytes_out

    def count_backend(self, backend: Endpoint) -> None:
        """Add one backend connection's byte counts."""
        self.summary.bytes_from_backend += backend.bytes_in
        self.summary.bytes_to_backend += backend.bytes_out

    def closed(self, reason: Reason, more: Mapping[str, FieldValue] = MappingProxyType({})) -> None:
        """The connection is over: its one line, with what its protocol has to tell in addition."""
        self.enter(self.phase)
        since, seconds = self._since, self.summary.seconds
        for phase, until in zip(self._phases, self._ends, strict=True):
            seconds[phase] = seconds.get(phase, 0.0) + until - since
            since = until
        outcome = Outcome(phase=self.phase, reason=reason)
        self._log.log(outcome.level, Event.SESSION_CLOSED, **self.summary.as_fields(outcome), **more)

    def _whose(self) -> dict[str, str | None]:
        return {"user": readable(self.summary.user), "mechanism": self.summary.mechanism}

    def who(self) -> dict[str, str | int]:
        """Which connection a line is about."""
        summary = self.summary
        return {
            "session": summary.session,
            "listener": summary.listener,
            "protocol": summary.protocol,
            "client_ip": str(summary.client.ip),
            "client_port": summary.client.port,
        }
