"""One connection from start to end: the order of the phases, a deadline for each, and one line when it is over.

Holds no protocol text and no socket options. Read it top down: ``run`` tells the story.
"""

import asyncio
import socket
from typing import Final

from tlsproxy.admission.base import Refused, Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.core.errors import BackendError
from tlsproxy.core.kinds import ListenerTls, Side
from tlsproxy.core.outcome import Phase, Reason
from tlsproxy.net.endpoint import Ending, Endpoint, PeerLostError
from tlsproxy.net.relay import Relay, RelayEnd
from tlsproxy.net.tls.endpoint import TlsEndpoint
from tlsproxy.net.tls.handshake import HandshakeError, accept_tls, peek_hello, refuse_alpn
from tlsproxy.protocols.base import Login
from tlsproxy.protocols.replies import sentence
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.dialogue import hold_dialogue
from tlsproxy.server.ending import REASONS, SessionEndedError
from tlsproxy.server.exchange import Exchange
from tlsproxy.server.parting import last_words
from tlsproxy.server.plan import House, Service

_LINGER_S: Final = 1.0  # last words reach a client on a slow line; a client that never closes holds its place no longer
_TOLD_HANDSHAKE_S: Final = 2.0  # with 20 of them a second and the linger, 60 descriptors of the 64 kept in reserve
_BACKEND_LOSSES: Final = 3  # a backend that greets and leaves, again and again, is no restart


class Session:
    """A connection that has a ticket, or one on a TLS port that is let in only to be told why it is refused."""

    def __init__(
        self, house: House, service: Service, sock: socket.socket, peer: Peer, admitted: Ticket | Refused
    ) -> None:
        self._house = house
        self._service = service
        self._ticket = admitted if isinstance(admitted, Ticket) else None
        self._refused = admitted if isinstance(admitted, Refused) else None
        self._client = Endpoint(house.plane, sock)
        self._backend: Endpoint | None = None
        self._login: Login | None = None
        self._relay: Relay | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop_reason: Reason | None = None
        self._is_hurried = False
        self._limit = admitted.limit if isinstance(admitted, Refused) else ""
        self._now = asyncio.get_running_loop().time
        self._started = self._now()
        self._bytes_at_last_look = -1
        self._chronicle = Chronicle(house.log, service, peer, self._now)

    @property
    def ticket(self) -> Ticket | None:
        """The ticket, if the connection was admitted."""
        return self._ticket

    # The story.

    async def run(self) -> None:
        """Live from accept to the log line; never raises."""
        self._task = asyncio.current_task()
        self._chronicle.opened()
        end = SessionEndedError(Reason.INTERNAL_ERROR)
        try:
            end = await self._ending()
            await self._part(end)
        finally:
            self._close(end.reason)

    async def _story(self) -> Reason:
        if self._stop_reason is not None:
            raise SessionEndedError(self._stop_reason)
        is_stressed = self._ticket is not None and self._ticket.is_stressed
        login_s = self._service.login_stressed_s if is_stressed else self._service.login_s
        async with asyncio.timeout_at(self._started + login_s):
            if self._service.tls is ListenerTls.STARTTLS:
                await self._dialogue()
            await self._handshake()
            if self._refused is not None:
                self._chronicle.enter(Phase.ADMIT)
                raise SessionEndedError(self._refused.reason)
            tail, asked = await self._log_in()
        return await self._carry(tail, asked)

    async def _ending(self) -> SessionEndedError:
        """Live through the story; whatever breaks it off becomes a reason here and nowhere else."""
        try:
            return SessionEndedError(await self._story())
        except SessionEndedError as end:
            return end
        except PeerLostError as lost:
            return SessionEndedError(REASONS[Side.CLIENT, lost.ending])
        except TimeoutError:
            return SessionEndedError(Reason.LOGIN_TIMEOUT)
        except asyncio.CancelledError:
            if self._task is not None:
                self._task.uncancel()  # it has done its work here; the last words have a deadline of their own
            return SessionEndedError(self._stop_reason or Reason.SHUTDOWN)
        except Exception as error:  # noqa: BLE001 - a session ends here: a bug must cost one connection, not all
            self._chronicle.broken(error)
            return SessionEndedError(Reason.INTERNAL_ERROR)

    async def _dialogue(self) -> None:
        """In plaintext, until the client asks for TLS."""
        self._chronicle.enter(Phase.DIALOGUE)
        if self._service.way.is_down():
            raise SessionEndedError(Reason.BACKEND_DOWN)
        gate = self._service.protocol.make_gate(self._service.limits)
        await hold_dialogue(self._client, gate, self._chronicle)

    @property
    def _handshake_s(self) -> float:
        """Who is let in only to be told why it may not stay has no ticket, so that it must be gone soon."""
        limit_s = self._service.handshake_s
        return limit_s if self._refused is None else min(limit_s, _TOLD_HANDSHAKE_S)

    async def _handshake(self) -> None:
        self._chronicle.enter(Phase.HANDSHAKE)
        plain, plane = self._client, self._house.plane
        try:
            async with asyncio.timeout(self._handshake_s):
                hello = await peek_hello(plane, plain.detach())
                self._chronicle.summary.tls_sni = hello.server_name if hello is not None else None
                context = self._service.server_tls.context_for(hello)
                client = await accept_tls(plane, plain.detach(), context)
        except TimeoutError as error:
            raise SessionEndedError(Reason.HANDSHAKE_TIMEOUT) from error
        except HandshakeError as error:
            self._chronicle.summary.tls_error = error.detail
            if error.reason is Reason.ALPN_MISMATCH:
                refuse_alpn(plain.sock)
            raise SessionEndedError(error.reason) from error
        client.bytes_in, client.bytes_out = plain.bytes_in, plain.bytes_out
        self._chronicle.secured(client)
        self._client = client

    async def _log_in(self) -> tuple[bytes | None, bytes]:
        """Until the backend says yes; a backend that is lost before a login was tried is found again.

        Returns:
            What was said last behind the yes: by the backend, None for nothing, and by the client.
        """
        service = self._service
        is_greeting_owed = service.tls is ListenerTls.IMPLICIT
        self._login = service.protocol.make_login(service.limits, is_greeting_owed)
        exchange = Exchange(self._client, self._login, self._chronicle.observe, service.backend_login_s)
        try:
            for _ in range(_BACKEND_LOSSES):
                await self._connect(exchange)
                self._chronicle.enter(Phase.LOGIN)
                if await exchange.finished():
                    return exchange.tail, exchange.asked
                self._give_up_backend(exchange)
            raise SessionEndedError(Reason.BACKEND_CLOSED)
        finally:
            exchange.close()

    async def _connect(self, exchange: Exchange) -> None:
        """Until the backend greets; held while it restarts, so that no client asks its user for a password."""
        self._chronicle.enter(Phase.CONNECT)
        service = self._service
        hold_until = self._now() + service.backend_hold_s
        if service.way.is_down():
            raise SessionEndedError(Reason.BACKEND_DOWN)
        while True:
            try:
                await self._reach_backend(exchange)
            except BackendError as error:
                self._give_up_backend(exchange)
                self._chronicle.summary.backend_error = error.detail
                is_hopeless = error.reason not in {Reason.BACKEND_DOWN, Reason.BACKEND_TIMEOUT}
                if is_hopeless or self._now() + service.backend_retry_s > hold_until:
                    raise SessionEndedError(error.reason) from error
            else:
                return
            await exchange.pause(service.backend_retry_s)

    async def _reach_backend(self, exchange: Exchange) -> None:
        way, summary = self._service.way, self._chronicle.summary
        arrival = await way.connect(self._house.plane, summary.client.key, self._service.protocol.make_upgrade())
        self._backend = arrival.endpoint
        summary.backend_address, summary.source_port = arrival.address, arrival.source_port
        exchange.attach(arrival.endpoint, arrival.greeting)
        await exchange.greeted()

    def _give_up_backend(self, exchange: Exchange) -> None:
        exchange.detach()
        self._drop_backend()

    async def _carry(self, tail: bytes | None, asked: bytes) -> Reason:
        """The blind relay, until either side has enough."""
        self._chronicle.enter(Phase.RELAY)
        if self._backend is None:
            raise RuntimeError("nobody is logged in without a backend")
        if self._ticket is not None:
            self._house.admission.authenticated(self._ticket)
        self._login = None
        self._relay = Relay(self._client, self._backend, tail, asked)
        match await self._relay.run(self._house.idle_clock, self._service.idle_limit_s):
            case RelayEnd.IDLE:
                return Reason.IDLE_TIMEOUT
            case RelayEnd.STOPPED:
                return self._stop_reason or Reason.SHUTDOWN
            case Side.BACKEND, Ending.CLOSED if self._relay.was_asked(self._service.protocol.farewell):
                return Reason.LOGGED_OUT
            case side, ending:
                return REASONS[side, ending]

    # Being stopped.

    def stop(self, reason: Reason, limit: str = "") -> None:
        """End the session for a reason of ours; safe to call at any time, and twice to cut the goodbye short.

        Args:
            reason: Why.
            limit: The number that was reached, where the reason names one.
        """
        self._limit = limit or self._limit
        if self._stop_reason is not None:
            self._is_hurried = True
        self._stop_reason = self._stop_reason or reason
        if self._relay is not None and not self._is_hurried:
            self._relay.stop()
        elif self._task is not None:
            self._task.cancel()

    def is_at_rest(self) -> bool:
        """Whether a goodbye would fall between two responses; asked more than once, some time apart.

        Before login there is always a line boundary of ours. After it, the backend's last word must be the end of a
        response, and nothing may have moved since the last time this was asked.
        """
        if self._relay is None or self._backend is None:
            return True
        moved = self._client.bytes_in + self._backend.bytes_in
        is_still = moved == self._bytes_at_last_look and not self._client.has_unsent
        self._bytes_at_last_look = moved
        return is_still and self._is_between_responses(self._relay)

    def _is_between_responses(self, relay: Relay) -> bool:
        return relay.tail is None or self._service.protocol.is_between_responses(relay.tail)

    # The end.

    async def _part(self, end: SessionEndedError) -> None:
        """Last words, if the client has not had them, and time for them to arrive."""
        # A client that only closed its side may still be listening, unless that is why it ends.
        is_over = self._client.ending is not Ending.CLOSED or end.reason is Reason.CLIENT_CLOSED
        is_gone = self._client.ending is not None and is_over and not self._client.has_unsent
        if is_gone or self._is_hurried:
            return
        words = b"" if end.is_told else self._last_words(end.reason)
        try:
            if words:
                self._client.push(words)
            if self._chronicle.phase is not Phase.HANDSHAKE:
                await self._client.part(_LINGER_S)
        except asyncio.CancelledError:
            return  # stopped a second time: the session ends right behind this
        except Exception as error:  # noqa: BLE001 - a session ends here
            self._chronicle.broken(error)

    def _last_words(self, reason: Reason) -> bytes:
        is_secret = self._service.tls is ListenerTls.IMPLICIT
        if is_secret and not isinstance(self._client, TlsEndpoint):
            return b""  # not a word in clear where TLS is expected
        return last_words(
            self._service.protocol,
            self._chronicle.phase,
            self._login,
            reason,
            sentence(reason, self._chronicle.ref, self._limit),
            is_between=self._relay is not None and self._is_between_responses(self._relay),
        )

    def _close(self, reason: Reason) -> None:
        """Release everything; the one place that writes the line."""
        try:
            for endpoint in (self._client, self._backend):
                if endpoint is not None and endpoint.error is not None:
                    self._chronicle.broken(endpoint.error)
            self._chronicle.count_client(self._client)
            self._client.close()
            self._drop_backend()
        finally:
            if self._ticket is not None:
                self._house.admission.release(self._ticket)
            self._chronicle.closed(reason)

    def _drop_backend(self) -> None:
        if self._backend is not None:
            self._chronicle.count_backend(self._backend)
            self._backend.close()
            self._backend = None
