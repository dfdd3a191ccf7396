"""What admission means to its callers; must not do I/O or read a clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tlsproxy.core.addresses import Client, Network, Peer
from tlsproxy.core.outcome import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The numbers that admission enforces; None means unlimited."""

    total: int
    per_address: int | None
    rate_count: int | None
    """New connections per address in ``rate_period_s``, as a token bucket's refill."""
    rate_period_s: float
    rate_burst: int
    """The token bucket's size."""
    unauthenticated: int | None
    unauthenticated_per_address: int | None
    allow: tuple[Network, ...]
    """Exempt from every per-address number and from the un-authenticated caps; the total holds for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The right to be here, held by one connection until it is released."""

    id: int
    peer: Peer
    listener: str
    """Where it came in, by the listener's name."""
    owner: int
    """The worker that serves the connection."""
    is_exempt: bool
    is_stressed: bool
    """Whether the un-authenticated budget was nearly used up: logins get less time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted:
    """The oldest un-authenticated connection, which has to go for a new one."""

    ticket: Ticket
    """Still to be released by its session."""
    limit: str
    """The number for which it has to go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A connection that may not come in."""

    reason: Reason
    limit: str
    """The number that was reached, for the person who reads the refusal: ``100`` or ``120 per 60 s``."""


class TicketHolders(Protocol):
    """What those who serve connections tell of the tickets that they hold."""

    def authenticated(self, ticket: Ticket) -> None:
        """The connection logged in; it no longer counts as un-authenticated."""
        ...

    def release(self, ticket: Ticket) -> None:
        """The connection ended; releasing twice is harmless."""
        ...


class Admission(TicketHolders, Protocol):
    """Who may come in; every method is exact, and takes constant time where it is about one connection."""

    def refusal(self, client: Client, now: float) -> Refused | None:
        """Judge one accepted connection; a flood costs no more than this.

        Args:
            client: Who connects.
            now: Monotonic seconds.

        Returns:
            Why it may not come in, or None: then ``make_room`` and ``enter`` follow.
        """
        ...

    def make_room(self, client: Client) -> Evicted | None:
        """Whoever has to go for one that was not refused, and so no longer counts as un-authenticated."""
        ...

    def enter(self, client: Client, port: int, listener: str, owner: int) -> Ticket:
        """Let one in that was not refused.

        Args:
            client: Who connects.
            port: From which port.
            listener: Where, by the listener's name.
            owner: The worker that is to serve it.
        """
        ...

    def may_tell(self, refused: Refused, client: Client, now: float) -> bool:
        """Whether a handshake may be spent on telling a client on a TLS port why; if so, it is paid for."""
        ...

    def held(self, owner: int) -> Mapping[int, Ticket]:
        """The tickets that a worker holds, by id; a view that changes with them."""
        ...

    def is_authenticated(self, ticket: Ticket) -> bool:
        """Whether the connection has logged in, or is exempt from having to."""
        ...

    def hand_over(self, ticket: Ticket, owner: int) -> Ticket:
        """Let another worker hold a ticket from now on; the old ticket is worth nothing any more."""
        ...

    def release_owner(self, owner: int) -> int:
        """Release whatever a dead worker held; returns how many."""
        ...

    def change(self, caps: Caps) -> None:
        """New numbers, from now on; who is here stays."""
        ...
