"""What the supervisor and its workers say to each other; must not do I/O.

A message is one byte for its kind, and then what the kind needs: packed numbers where it comes with each connection,
JSON where it is rare. The supervisor trusts nothing that a worker says beyond the worker's own tickets.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import orjson

from tlsproxy.admission.base import Refused, Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.core.outcome import Reason
from tlsproxy.process.line.tickets import pack, unpack

VERSION: Final = 1
"""Changes with the meaning of any message: supervisor and worker may be of two versions of the program."""

_RELEASED: Final = 1
_AUTHENTICATED: Final = 2
_SERVE: Final = 3
_FIRST_RARE: Final = 16

# Ticket, listener, flags, address, port, session id.
_ENTRY: Final = struct.Struct("!QHB16sH6s")
_IS_STRESSED: Final = 1
_IS_EXEMPT: Final = 2
_IS_IPV6: Final = 4
_IPV4_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A connection that was admitted, on its way to a worker; its descriptor goes beside it."""

    ticket: Ticket
    listener: int
    """The listener's place in the configuration that the worker was given last."""
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """To a worker: connections, as many descriptors beside them."""

    entries: bytes

    def sessions(self) -> Iterator[tuple[int, bytes]]:
        """Ticket number and session id of the connections, in order."""
        for number, *_, session in _ENTRY.iter_unpack(self.entries):
            yield number, session

    def arrivals(self, listeners: Sequence[str], owner: int) -> Iterator[Arrival]:
        """The connections, in order."""
        for number, listener, flags, packed, port, session in _ENTRY.iter_unpack(self.entries):
            ip = IPv6Address(packed) if flags & _IS_IPV6 else IPv4Address(packed[:_IPV4_BYTES])
            ticket = Ticket(
                id=number,
                peer=Peer(ip, port),
                listener=listeners[listener],
                owner=owner,
                is_exempt=bool(flags & _IS_EXEMPT),
                is_stressed=bool(flags & _IS_STRESSED),
            )
            yield Arrival(ticket=ticket, listener=listener, session=session.hex())


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplied:
    """To a worker: the configuration from now on, in a memory file beside it."""

    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTo:
    """To a worker: write the log to the descriptor beside it from now on."""

    format: str
    file: str
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """To a worker: make a handshake with a client only to tell it why it may not stay; its descriptor is beside it."""

    listener: int
    ip: str
    port: int
    reason: str
    limit: str
    session: str

    @property
    def peer(self) -> Peer:
        """Who is told."""
        return Peer(IPv6Address(self.ip) if ":" in self.ip else IPv4Address(self.ip), self.port)

    @property
    def refused(self) -> Refused:
        """What it is told."""
        return Refused(reason=Reason(self.reason), limit=self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evict:
    """To a worker: the session with this ticket has to go for another."""

    ticket: int
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """To a worker: what is known of a backend."""

    backend: int
    is_suspect: bool
    """It failed lately: the next success is worth a report."""
    is_down: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """To a worker: try whether a backend takes connections again."""

    backend: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """To a worker: try whether an old SMTP server would send a stranger's mail to anywhere, and tell if so."""

    backend: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """To a worker: are you there?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """To a worker: leave when the last session does, and after ``grace_s`` seconds ask them to."""

    grace_s: float
    window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """To a worker: say goodbye to all sessions over so many seconds, and leave."""

    window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """To a worker: end at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """From a worker: it can serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """From a worker: its loop turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """From a worker: a backend could not be reached for a client."""

    backend: int
    client: str
    """The client's ``Peer.key`` in hexadecimal digits."""
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """From a worker: a backend that was suspect was reached."""

    backend: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """From a worker: these tickets are held no longer."""

    tickets: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """From a worker: the holders of these tickets have logged in."""

    tickets: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """From a worker: may the client that has this ticket send so much more mail? Answered by ``Spent``."""

    question: int
    ticket: int
    messages: int
    recipients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """To a worker: the number for which it may not; empty if it may."""

    question: int
    limit: str


ToWorker = Serve | Supplied | LogTo | Tell | Evict | Health | Knock | Probe | Ping | Retire | Drain | Stop | Spent
FromWorker = Released | Authenticated | Ready | Pong | Failed | Worked | Spend  # what is frequent is found first

# In this order for as long as VERSION is the same.
_ORDERS: Final = (Supplied, LogTo, Tell, Evict, Health, Knock, Ping, Retire, Drain, Stop)
_RARE: Final = (*_ORDERS, Ready, Pong, Failed, Worked, Spend, Spent, Probe)
# JSON knows no difference between 30 and 30.0.
_KINDS_OF_PARTS: Final[Mapping[object, type | tuple[type, ...]]] = {bool: bool, int: int, float: (int, float), str: str}
_RARE_KINDS: Final = {kind: _FIRST_RARE + number for number, kind in enumerate(_RARE)}


def entry(ticket: Ticket, ip: bytes, listener: int, session: bytes) -> bytes:
    """One connection as it stands in ``Serve.entries``.

    Args:
        ticket: Its ticket.
        ip: The address of the ticket's peer in 4 or 16 bytes.
        listener: Where it came in: the listener's place in the configuration.
        session: Its id in 6 bytes.
    """
    flags = 0 if len(ip) == _IPV4_BYTES else _IS_IPV6
    if ticket.is_stressed:
        flags |= _IS_STRESSED
    if ticket.is_exempt:
        flags |= _IS_EXEMPT
    return _ENTRY.pack(ticket.id, listener, flags, ip, ticket.peer.port, session)


def encode(word: ToWorker | FromWorker) -> bytes:
    """A message as it goes over the line."""
    match word:
        case Serve(entries=entries):
            return bytes((_SERVE,)) + entries
        case Released(tickets=tickets):
            return bytes((_RELEASED,)) + pack(tickets)
        case Authenticated(tickets=tickets):
            return bytes((_AUTHENTICATED,)) + pack(tickets)
        case _:
            return bytes((_RARE_KINDS[type(word)],)) + orjson.dumps(asdict(word))


def decode(message: bytes) -> ToWorker | FromWorker:
    """The message that came over the line.

    Raises:
        ValueError: It is none.
    """
    if not message:
        raise ValueError("no message: empty")
    kind, body = message[0], message[1:]
    try:
        if kind == _SERVE:
            return Serve(entries=body)
        if kind == _RELEASED:
            return Released(tickets=unpack(body))
        if kind == _AUTHENTICATED:
            return Authenticated(tickets=unpack(body))
        if kind >= _FIRST_RARE:
            return _checked(_RARE[kind - _FIRST_RARE](**orjson.loads(body)))
    except (IndexError, TypeError, struct.error) as error:
        raise ValueError(f"no message: kind {kind}") from error
    raise ValueError(f"no message: kind {kind}")


def _checked(word: ToWorker | FromWorker) -> ToWorker | FromWorker:
    """The word, if JSON brought each of its parts in the kind that it is declared as."""
    for field in fields(word):
        part = getattr(word, field.name)
        if not isinstance(part, _KINDS_OF_PARTS[field.type]):
            raise TypeError(f"{field.name} = {part!r}")
    return word
