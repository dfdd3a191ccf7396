"""What a worker reports to the supervisor: tickets in batches, backends as they fail; must not wait for an answer."""

from typing import Final

from tlsproxy.admission.base import Ticket
from tlsproxy.core.errors import BackendError
from tlsproxy.net.plane import Plane
from tlsproxy.process.line.channel import Channel
from tlsproxy.process.line.tickets import in_parts
from tlsproxy.process.line.words import Authenticated, Failed, Released, Worked, encode

_DETAIL_CHARS: Final = 400


class Reports:
    """Implements ``TicketHolders`` over the line; whatever one turn of the loop brings is one message."""

    def __init__(self, channel: Channel, plane: Plane) -> None:
        self._channel = channel
        self._plane = plane
        self._authenticated: list[int] = []
        self._released: list[int] = []

    def authenticated(self, ticket: Ticket) -> None:
        """See TicketHolders."""
        self._plan_to_send()
        self._authenticated.append(ticket.id)

    def release(self, ticket: Ticket) -> None:
        """See TicketHolders."""
        self._plan_to_send()
        self._released.append(ticket.id)

    def failed(self, backend: int, client: bytes, error: BackendError) -> None:
        """A backend could not be reached; told in passing, since there will be more of it."""
        if self._channel.is_clear:
            detail = error.detail[:_DETAIL_CHARS]
            word = Failed(backend=backend, client=client.hex(), reason=error.reason, detail=detail)
            self._channel.send(encode(word))

    def worked(self, backend: int, address: str) -> None:
        """A backend that was suspect was reached."""
        self._channel.send(encode(Worked(backend=backend, address=address)))

    def send(self) -> None:
        """Send what waits; who logs in and leaves within one turn is reported in this order."""
        authenticated, self._authenticated = self._authenticated, []
        released, self._released = self._released, []
        for part in in_parts(authenticated):
            self._channel.send(encode(Authenticated(tickets=part)))
        for part in in_parts(released):
            self._channel.send(encode(Released(tickets=part)))

    def _plan_to_send(self) -> None:
        if not self._authenticated and not self._released:
            self._plane.soon(self.send)


class RemoteHealth:
    """A backend's health as the supervisor tells it; implements ``BackendHealth``."""

    def __init__(self, number: int, reports: Reports) -> None:
        self._number = number
        self._reports = reports
        self.is_suspect = False
        self.is_known_down = False

    def is_down(self) -> bool:
        """See BackendHealth."""
        return self.is_known_down

    def failed(self, client: bytes, error: BackendError) -> None:
        """See BackendHealth."""
        self.is_suspect = True  # so that the next success is told even before the supervisor has said so
        self._reports.failed(self._number, client, error)

    def worked(self, address: str) -> None:
        """See BackendHealth."""
        if self.is_suspect:
            self.is_suspect = False
            self._reports.worked(self._number, address)
