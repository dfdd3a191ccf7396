"""One SMTP connection from start to end: a visit, parting words, and one line when it is over.

The same frame as ``server.session``, whose sessions become a blind relay; an SMTP session speaks to the end.
"""

import asyncio
import socket
import time

from tlsproxy.admission.base import Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.core.kinds import ListenerTls, Side
from tlsproxy.core.outcome import Phase, Reason
from tlsproxy.net.endpoint import Ending, Endpoint, PeerLostError
from tlsproxy.net.tls.endpoint import TlsEndpoint
from tlsproxy.protocols.replies import sentence, smtp_parting
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.ending import REASONS, SessionEndedError, part_from
from tlsproxy.server.keeper import Keeper
from tlsproxy.server.plan import House
from tlsproxy.server.smtp.service import SmtpService
from tlsproxy.server.smtp.visit import Visit


class SmtpSession:
    """A connection that has a ticket; see ``server.session.Session`` for the interface."""

    def __init__(
        self, house: House, service: SmtpService, sock: socket.socket, peer: Peer, ticket: Ticket, *, session: str
    ) -> None:
        self._house = house
        self._service = service
        self.ticket = ticket
        self._chronicle = Chronicle(house.log, service, peer, time.monotonic, session)
        self._visit = Visit(house, service, self._chronicle, Endpoint(house.plane, sock), ticket, stop=self.stop)
        self._keeper: Keeper | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop_reason: Reason | None = None
        self._limit = ""
        self._is_hurried = False
        self._is_told = False

    @property
    def is_logged_in(self) -> bool:
        """Whether it no longer counts as one that has to log in."""
        return self._visit.is_accepted

    def begin(self, keeper: Keeper) -> None:
        """Live, from accept to the log line."""
        self._keeper = keeper
        keeper.employ(self._live())

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
        if self._task is not None:
            self._task.cancel()

    def is_at_rest(self) -> bool:
        """Whether a goodbye would cost no message: between commands and outside of a transaction."""
        return self._visit.is_at_rest

    async def _live(self) -> None:
        self._task = asyncio.current_task()
        self._chronicle.opened()
        reason = Reason.INTERNAL_ERROR
        try:
            reason = await self._ended()
            await self._part(reason)
        finally:
            self._task = None
            self._close(reason)

    async def _ended(self) -> Reason:
        """Live through the visit; whatever ends it becomes a reason here and nowhere else."""
        try:
            if self._stop_reason is None:
                await self._visit.run()
        except SessionEndedError as end:
            self._is_told = end.is_told
            return end.reason
        except PeerLostError as lost:
            return REASONS[Side.CLIENT, lost.ending]
        except asyncio.CancelledError:
            if self._task is not None:
                self._task.uncancel()  # it has done its work here; the last words have a deadline of their own
        except Exception as error:  # noqa: BLE001 - a session ends here: a bug must cost one connection, not all
            self._chronicle.broken(error)
            return Reason.INTERNAL_ERROR
        return self._stop_reason or Reason.SHUTDOWN

    async def _part(self, reason: Reason) -> None:
        """Last words, if the client has not had them, and time for them to arrive."""
        client = self._visit.client
        is_gone = client.ending is not None and (client.ending is not Ending.CLOSED or not self._is_told)
        if not is_gone and not self._is_hurried:
            words = b"" if self._is_told else self._last_words(reason)
            await part_from(client, words, self._chronicle)

    def _last_words(self, reason: Reason) -> bytes:
        is_secret = self._service.tls is ListenerTls.IMPLICIT
        is_mute = is_secret and not isinstance(self._visit.client, TlsEndpoint)  # not a word in clear there
        if is_mute or self._chronicle.phase is Phase.HANDSHAKE:
            return b""
        return smtp_parting(reason, sentence(reason, self._chronicle.ref, self._limit))

    def _close(self, reason: Reason) -> None:
        """Release everything; the one place that writes the line."""
        client = self._visit.client
        try:
            if client.error is not None:
                self._chronicle.broken(client.error)
            self._chronicle.count_client(client)
            client.close()
            self._visit.close()
        finally:
            self._house.admission.release(self.ticket)
            self._chronicle.closed(reason, self._visit.notes.fields())
            if self._keeper is not None:
                self._keeper.forget(self)
