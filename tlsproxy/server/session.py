"""One connection from start to end: opening, relay, parting, and one line when it is over.

Holds no protocol text and no socket options. Read it top down: ``begin`` tells the story. The opening is a strand, and
only last words have a task; a session in the relay is a few objects that wait to be called.
"""

import asyncio
import socket
import time

from tlsproxy.admission.base import Refused, Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.core.kinds import ListenerTls, Side
from tlsproxy.core.outcome import Phase, Reason
from tlsproxy.net.endpoint import Ending, Endpoint, PeerLostError
from tlsproxy.net.relay import Relay, RelayEnd, RelayEnding
from tlsproxy.net.strand import Strand
from tlsproxy.net.tls.endpoint import TlsEndpoint
from tlsproxy.protocols.replies import sentence
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.ending import REASONS, SessionEndedError, part_from
from tlsproxy.server.keeper import Keeper
from tlsproxy.server.opening import Opening
from tlsproxy.server.parting import last_words
from tlsproxy.server.plan import House, Service


class Session:
    """A connection that has a ticket, or one on a TLS port that is let in only to be told why it is refused."""

    __slots__ = (
        "__weakref__",
        "_bytes_at_last_look",
        "_chronicle",
        "_house",
        "_is_hurried",
        "_is_told",
        "_keeper",
        "_limit",
        "_scene",
        "_service",
        "_stop_reason",
        "_strand",
        "_task",
        "ticket",
    )

    def __init__(
        self,
        house: House,
        service: Service,
        sock: socket.socket,
        peer: Peer,
        admitted: Ticket | Refused,
        *,
        session: str,
    ) -> None:
        self._house = house
        self._service = service
        self.ticket = admitted if isinstance(admitted, Ticket) else None
        """The ticket, if the connection was admitted."""
        self._chronicle = Chronicle(house.log, service, peer, time.monotonic, session)
        client = Endpoint(house.plane, sock)
        self._scene: Opening | Relay = Opening(house, service, self._chronicle, client, admitted)
        """What holds the client and the backend."""
        self._keeper: Keeper | None = None
        self._strand = Strand()
        """What the opening runs in."""
        self._task: asyncio.Task[None] | None = None
        """What last words are said in."""
        self._stop_reason: Reason | None = None
        self._limit = admitted.limit if isinstance(admitted, Refused) else ""
        self._is_hurried = False
        self._is_told = False
        self._bytes_at_last_look = -1

    @property
    def is_logged_in(self) -> bool:
        """Whether the login stands."""
        return isinstance(self._scene, Relay)

    # The story.

    def begin(self, keeper: Keeper) -> None:
        """Live, from accept to the log line."""
        self._keeper = keeper
        self._chronicle.opened()
        self._strand.run(self._open())

    async def _open(self) -> None:
        """Until the relay runs; whatever breaks it off becomes a reason here and nowhere else."""
        try:
            if isinstance(self._scene, Opening):  # nothing else comes first
                self._carry(await self._scene.run(self._strand, self.stop))
        except SessionEndedError as end:
            self._is_told = end.is_told
            reason = end.reason
        except PeerLostError as lost:
            reason = REASONS[Side.CLIENT, lost.ending]
        except asyncio.CancelledError:
            reason = self._stop_reason or Reason.SHUTDOWN
        except Exception as error:  # noqa: BLE001 - a session ends here: a bug must cost one connection, not all
            self._chronicle.broken(error)
            reason = Reason.INTERNAL_ERROR
        else:
            return
        self._end(reason)

    def _carry(self, relay: Relay) -> None:
        """The blind relay, until either side has enough; it needs no task."""
        self._chronicle.enter(Phase.RELAY)
        if self.ticket is not None:
            self._house.admission.authenticated(self.ticket)
        self._scene = relay
        relay.start(self._house.idle_clock, self._service.idle_limit_s, self._carried)
        if self._stop_reason is not None:  # it came too late to be heard in the opening
            relay.stop()

    def _carried(self, end: RelayEnding) -> None:
        """The relay is over."""
        try:
            reason = self._reason_of(end)
        except Exception as error:  # noqa: BLE001 - a session ends here
            self._chronicle.broken(error)
            reason = Reason.INTERNAL_ERROR
        self._end(reason)

    def _reason_of(self, end: RelayEnding) -> Reason:
        match end:
            case RelayEnd.IDLE:
                return Reason.IDLE_TIMEOUT
            case RelayEnd.STOPPED:
                return self._stop_reason or Reason.SHUTDOWN
            case Side.BACKEND, Ending.CLOSED if self._was_asked_to_close():
                return Reason.LOGGED_OUT
            case side, ending:
                return REASONS[side, ending]

    def _was_asked_to_close(self) -> bool:
        return isinstance(self._scene, Relay) and self._scene.was_asked(self._service.protocol.farewell)

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
        if isinstance(self._scene, Relay) and not self._is_hurried:
            self._scene.stop()
        elif self._task is not None:
            self._task.cancel()
        else:
            self._strand.stop()

    def is_at_rest(self) -> bool:
        """Whether a goodbye would fall between two responses; asked more than once, some time apart.

        Before login there is always a line boundary of ours. After it, the backend's last word must be the end of a
        response, and nothing may have moved since the last time this was asked.
        """
        if not isinstance(self._scene, Relay):
            return True
        client, backend = self._scene.client, self._scene.backend
        moved = client.bytes_in + backend.bytes_in
        is_still = moved == self._bytes_at_last_look and not client.unsent
        self._bytes_at_last_look = moved
        return is_still and self._is_between_responses(self._scene)

    def _is_between_responses(self, relay: Relay) -> bool:
        return relay.tail is None or self._service.protocol.is_between_responses(relay.tail)

    # The end.

    def _is_reachable(self, reason: Reason) -> bool:
        """Whether the client may still hear something."""
        # One that only closed its side may still be listening, unless that is why it ends.
        client = self._scene.client
        is_over = client.ending is not Ending.CLOSED or reason is Reason.CLIENT_CLOSED
        is_gone = client.ending is not None and is_over and not client.unsent
        return not is_gone and not self._is_hurried

    def _end(self, reason: Reason) -> None:
        """Most clients are gone by now. One that is not yet hears last words, and only for that there is a task."""
        if self._is_reachable(reason) and self._keeper is not None:
            self._keeper.employ(self._take_leave(reason))
        else:
            self._close(reason)

    async def _take_leave(self, reason: Reason) -> None:
        """Last words, if the client has not had them, and time for them to arrive."""
        self._task = asyncio.current_task()
        try:
            if self._is_reachable(reason):
                words = b"" if self._is_told else self._last_words(reason)
                await part_from(self._scene.client, words, self._chronicle)
        finally:
            self._task = None
            self._close(reason)

    def _last_words(self, reason: Reason) -> bytes:
        scene = self._scene
        is_secret = self._service.tls is ListenerTls.IMPLICIT
        if is_secret and not isinstance(scene.client, TlsEndpoint):
            return b""  # not a word in clear where TLS is expected
        return last_words(
            self._service.protocol,
            self._chronicle.phase,
            scene.login if isinstance(scene, Opening) else None,
            reason,
            sentence(reason, self._chronicle.ref, self._limit),
            is_between=isinstance(scene, Relay) and self._is_between_responses(scene),
        )

    def _close(self, reason: Reason) -> None:
        """Release everything; the one place that writes the line."""
        client, backend = self._scene.client, self._scene.backend
        try:
            for endpoint in (client, backend):
                if endpoint is not None and endpoint.error is not None:
                    self._chronicle.broken(endpoint.error)
            self._chronicle.count_client(client)
            client.close()
            if backend is not None:
                self._chronicle.count_backend(backend)
                backend.close()
        finally:
            if self.ticket is not None:
                self._house.admission.release(self.ticket)
            self._chronicle.closed(reason)
            if self._keeper is not None:
                self._keeper.forget(self)
