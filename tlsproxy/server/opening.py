"""From accept to the backend's yes: dialogue, handshake, connect, login; thrown away when the client is logged in.

Must not know a protocol's text, nor how a session ends.
"""

import time
from collections.abc import Callable
from typing import Final, assert_never

from tlsproxy.admission.base import Refused, Ticket
from tlsproxy.core.errors import BackendError
from tlsproxy.core.kinds import ListenerTls
from tlsproxy.core.outcome import Phase, Reason
from tlsproxy.net.clocks.deadlines import Deadline
from tlsproxy.net.endpoint import Endpoint
from tlsproxy.net.relay import Relay
from tlsproxy.net.strand import Strand
from tlsproxy.protocols.base import GateAction, Hangup, Login, PasswordExposed, StartTls, ToClient
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.ending import SessionEndedError
from tlsproxy.server.exchange import Exchange
from tlsproxy.server.handshake import shake_hands
from tlsproxy.server.plan import House, Service

_TOLD_HANDSHAKE_S: Final = 2.0  # with 20 of them a second and the linger, 60 descriptors of the 64 kept in reserve
_BACKEND_LOSSES: Final = 3  # a backend that greets and leaves, again and again, is no restart


class Opening:
    """The part of a session that needs a coroutine: everything in which we have a say."""

    __slots__ = (
        "_admitted",
        "_chronicle",
        "_deadline",
        "_house",
        "_login_until",
        "_now",
        "_service",
        "_strand",
        "backend",
        "client",
        "login",
    )

    def __init__(
        self,
        house: House,
        service: Service,
        chronicle: Chronicle,
        client: Endpoint,
        admitted: Ticket | Refused,
    ) -> None:
        """Nothing happens yet, but the time for the login runs.

        Args:
            house: What all sessions share.
            service: What this one is served by.
            chronicle: What is written down of it.
            client: The client in plaintext.
            admitted: Its ticket, or why it is only to be told that it may not stay.
        """
        self._house = house
        self._service = service
        self._chronicle = chronicle
        self._admitted = admitted
        self._now = time.monotonic
        is_stressed = isinstance(admitted, Ticket) and admitted.is_stressed
        self._login_until = self._now() + (service.login_stressed_s if is_stressed else service.login_s)
        self.client = client
        self.backend: Endpoint | None = None
        self.login: Login | None = None
        """The dialogue the client is in, from the end of the handshake on."""

    async def run(self, strand: Strand, stop: Callable[[Reason], None]) -> Relay:
        """Live until the client is logged in.

        Args:
            strand: What this runs in.
            stop: Stops it for a reason; called when a deadline has passed.

        Returns:
            A relay that is still to be started.

        Raises:
            SessionEndedError: A phase ends the session.
            PeerLostError: The client left.
            CancelledError: Stopped, by a deadline too.
        """
        self._strand = strand
        self._deadline = Deadline(self._house.plane.deadlines, stop)
        try:
            if self._service.tls is ListenerTls.STARTTLS:
                await self._dialogue()
            await self._handshake()
            if isinstance(self._admitted, Refused):
                self._chronicle.enter(Phase.ADMIT)
                raise SessionEndedError(self._admitted.reason)
            return await self._log_in()
        finally:
            self._deadline.close()

    async def _dialogue(self) -> None:
        """In plaintext, until the client asks for TLS and has been told to go ahead."""
        self._chronicle.enter(Phase.DIALOGUE)
        self._deadline.move(self._login_until, Reason.LOGIN_TIMEOUT)
        if self._service.way.is_down():
            raise SessionEndedError(Reason.BACKEND_DOWN)
        gate = self._service.protocol.make_gate(self._service.limits)
        self.client.push(gate.greeting())
        is_upgrade = False
        while not is_upgrade:
            data = await self.client.receive()
            if not data:
                raise SessionEndedError(Reason.CLIENT_CLOSED)
            for action in gate.receive(data):
                is_upgrade = self._obey(action)
            await self.client.drained()

    def _obey(self, action: GateAction) -> bool:
        """Do what the Gate says; True for STARTTLS, after which it says nothing more."""
        match action:
            case ToClient(data=data):
                self.client.push(data)
            case PasswordExposed():
                self._chronicle.exposed(action)
            case Hangup(reason=reason):
                if reason is Reason.STARTTLS_INJECTION:
                    self._chronicle.injected()
                raise SessionEndedError(reason, is_told=True)
            case StartTls():
                return True
            case _:
                assert_never(action)
        return False

    async def _handshake(self) -> None:
        self._chronicle.enter(Phase.HANDSHAKE)
        limit_s = self._service.handshake_s
        if isinstance(self._admitted, Refused):  # without a ticket, it must be gone soon
            limit_s = min(limit_s, _TOLD_HANDSHAKE_S)
        until = self._now() + limit_s
        if until < self._login_until:
            self._deadline.move(until, Reason.HANDSHAKE_TIMEOUT)
        else:
            self._deadline.move(self._login_until, Reason.LOGIN_TIMEOUT)
        self.client = await shake_hands(self.client, self._service.server_tls, self._chronicle, self._strand)
        self._deadline.move(self._login_until, Reason.LOGIN_TIMEOUT)

    async def _log_in(self) -> Relay:
        """Until the backend says yes; a backend that is lost before a login was tried is found again."""
        service = self._service
        is_greeting_owed = service.tls is ListenerTls.IMPLICIT
        self.login = service.protocol.make_login(service.limits, is_greeting_owed)
        exchange = Exchange(self._strand, self.client, self.login, self._chronicle.observe, service.backend_login_s)
        try:
            for _ in range(_BACKEND_LOSSES):
                backend = await self._connect(exchange)
                self._chronicle.enter(Phase.LOGIN)
                if await exchange.finished():
                    return Relay(self.client, backend, exchange.tail, exchange.asked)
                self._give_up_backend(exchange)
            raise SessionEndedError(Reason.BACKEND_CLOSED)
        finally:
            exchange.close()

    async def _connect(self, exchange: Exchange) -> Endpoint:
        """Until the backend greets; held while it restarts, so that no client asks its user for a password."""
        self._chronicle.enter(Phase.CONNECT)
        service = self._service
        hold_until = self._now() + service.backend_hold_s
        if service.way.is_down():
            raise SessionEndedError(Reason.BACKEND_DOWN)
        while True:
            try:
                return await self._reach_backend(exchange)
            except BackendError as error:
                self._give_up_backend(exchange)
                self._chronicle.summary.backend_error = error.detail
                is_hopeless = error.reason not in {Reason.BACKEND_DOWN, Reason.BACKEND_TIMEOUT}
                if is_hopeless or self._now() + service.backend_retry_s > hold_until:
                    raise SessionEndedError(error.reason) from error
            await exchange.pause(service.backend_retry_s)

    async def _reach_backend(self, exchange: Exchange) -> Endpoint:
        way, client = self._service.way, self._chronicle.summary.client
        arrival = await way.connect(self._house.plane, client.key, self._service.protocol.make_upgrade)
        self.backend = arrival.endpoint
        self._chronicle.reached(arrival.address, arrival.source_port)
        exchange.attach(arrival.endpoint, arrival.greeting)
        await exchange.greeted()
        return arrival.endpoint

    def _give_up_backend(self, exchange: Exchange) -> None:
        exchange.detach()
        if self.backend is not None:
            self._chronicle.count_backend(self.backend)
            self.backend.close()
            self.backend = None
