"""What a mail protocol is to the rest of the house: a record of makers, and the actions its dialogues return.

A dialogue is a value: it is fed bytes and returns what is to be done. It must not do I/O, read a clock, log,
or raise on anything a peer sends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tlsproxy.core.kinds import ProtocolName
from tlsproxy.core.outcome import Reason


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send these bytes to the client."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToBackend:
    """Send these bytes to the backend; they may hold a password, so repr does not show them."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartTls:
    """Everything said so far is to be forgotten; the handshake comes next."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """Send what was said before, then close."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordExposed:
    """The client sent a password in clear."""

    user: bytes | None
    mechanism: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFailed:
    """The backend said no to a login."""

    user: bytes | None
    mechanism: str
    is_credential: bool
    """False where the answer's code says that the password was not the cause, as [UNAVAILABLE] does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """The backend said yes; whatever ToClient and ToBackend follow are the first bytes of the relay."""

    user: bytes | None
    mechanism: str


@dataclass(frozen=True, slots=True)
class ClientIdentified:
    """The client told its name and version (RFC 2971)."""

    client_id: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """The backend took the user and the password; what follows logs out."""


@dataclass(frozen=True, slots=True)
class Disproven:
    """The backend, or its protocol, says that user and password do not belong together; what follows logs out."""


GateAction = ToClient | StartTls | Hangup | PasswordExposed
LoginAction = ToClient | ToBackend | LoginFailed | LoggedIn | ClientIdentified | Hangup
UpgradeAction = ToBackend | StartTls | Hangup
ProofAction = ToBackend | Proven | Disproven | Hangup


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueLimits:
    """Bounds on what a client may say before it is logged in."""

    line_bytes: int
    """A command line, its CRLF included."""
    sasl_line_bytes: int
    """A line of a SASL exchange; XOAUTH2 tokens are long."""
    literal_bytes: int
    """All literals of one command together."""
    total_bytes: int
    """Everything before login, in each dialogue."""
    bad_commands: int
    failed_logins: int


class Gate(Protocol):
    """The plaintext dialogue before STARTTLS; refuses every login and keeps nothing."""

    def greeting(self) -> bytes:
        """The first line, sent as soon as the client is admitted."""
        ...

    def receive(self, data: bytes) -> Sequence[GateAction]:
        """Take bytes from the client, in any split; after StartTls or Hangup nothing more comes."""
        ...


class Login(Protocol):
    """Stands between TLS and authenticated; lets only well-formed pre-login commands through, one at a time."""

    @property
    def is_greeted(self) -> bool:
        """Whether the backend's greeting is complete."""
        ...

    @property
    def wants_client(self) -> bool:
        """Whether client bytes are useful now; False while a command waits for the backend's answer."""
        ...

    def from_client(self, data: bytes) -> Sequence[LoginAction]:
        """Take bytes from the client, in any split; kept until the backend has greeted."""
        ...

    def from_backend(self, data: bytes) -> Sequence[LoginAction]:
        """Take bytes from the backend, in any split."""
        ...

    def try_again(self) -> bool:
        """Make ready for a new backend connection.

        Returns:
            True if nothing is under way that the old connection took with it; the new greeting will then be
            swallowed if one has reached the client already. False: the session cannot go on.
        """
        ...

    def parting(self, reason: Reason, why: str) -> bytes:
        """The last words to the client: a tagged answer to what it waits for, if anything, and a goodbye.

        Args:
            reason: Why the connection ends.
            why: A sentence for a person, with ``ref=``; printable ASCII.
        """
        ...


class Upgrade(Protocol):
    """Our own dialogue with a backend that wants STARTTLS before anything is said."""

    @property
    def greeting(self) -> bytes:
        """A greeting for the Login to read, with nothing in it that was heard before TLS."""
        ...

    def from_backend(self, data: bytes) -> Sequence[UpgradeAction]:
        """Take bytes from the backend, in any split; bytes behind its go-ahead are an injection and a Hangup."""
        ...


class Proof(Protocol):
    """Our own login to a backend, to learn whether a password is right; logs out at once."""

    def from_backend(self, data: bytes) -> Sequence[ProofAction]:
        """Take bytes from the backend, in any split; nothing comes after Proven or Disproven and the way out.

        A Hangup says why the backend gave no verdict; whose password it was has no part in that.
        """
        ...


class Tongue(Protocol):
    """What there is to know of any protocol before a client of it is served."""

    @property
    def name(self) -> ProtocolName:
        """Its name."""
        ...

    @property
    def parting(self) -> Callable[[Reason, str], bytes]:
        """See MailProtocol."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MailProtocol:
    """A protocol that becomes a blind relay after the login; everything that the floors above need to know of it."""

    name: ProtocolName
    implicit_port: int
    starttls_port: int
    alpn: str
    """RFC 7595 registry name, offered on TLS."""
    make_gate: Callable[[DialogueLimits], Gate]
    make_login: Callable[[DialogueLimits, bool], Login]
    """Limits, and whether the backend's greeting passes to the client (implicit TLS) or is swallowed (STARTTLS)."""
    make_upgrade: Callable[[], Upgrade]
    make_proof: Callable[[bytes, bytes], Proof]
    """User and password."""
    parting: Callable[[Reason, str], bytes]
    """Reason and a sentence for a person: one untagged line, CRLF included; for a client that is not answered yet."""
    is_between_responses: Callable[[bytes], bool]
    """Of the last bytes that a logged-in session's backend said: whether they end with a whole response."""
    farewell: bytes
    """The command, upper case, after which the backend closes because it was asked to."""
    has_goodbye: bool
    """Whether a logged-in session may be told goodbye unasked: IMAP's untagged BYE; POP3 has no such line."""
