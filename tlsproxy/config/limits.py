"""The tables that hold numbers: [limits] and [timeouts], each with its reason; must not enforce them."""

from typing import Final, Self

from pydantic import Field, model_validator

from tlsproxy.config.sections import Section
from tlsproxy.config.units import Rate, format_size
from tlsproxy.config.values import Cap, Count, NetworkValue, RateCap, Seconds, SecondsOrZero, SizeBytes

_KIB: Final = 1024
_MINUTE_S: Final = 60.0


class Limits(Section):
    """Who may come in, and how much may be said before login."""

    total: Count = Field(
        default=4096,
        description=(
            "Connections at once, in all. Lowered to (fd limit - 64) / 2 where that is less, since a session takes "
            "two descriptors; the log says so at start."
        ),
    )
    per_address: Cap = Field(
        default=100,
        description=(
            "Connections at once from one client address (IPv4 address or IPv6 /64). An office of twenty people "
            'behind one address with five connections each must not notice. "none" is unlimited.'
        ),
    )
    connection_rate: RateCap = Field(
        default=Rate(120, _MINUTE_S),
        description=(
            "New connections from one client address over time, steady. Two a second is more than any mail program "
            'needs and less than a guesser wants. "none" is unlimited.'
        ),
    )
    connection_burst: Count | None = Field(
        default=None,
        description=(
            "How many of them may come at once after a quiet time: an office that comes back from a power cut connects "
            "all at once. By default twice the count of connection_rate."
        ),
        examples=[240],
    )
    unauthenticated: Cap = Field(
        default=512,
        description=(
            "Connections that have not logged in, in all. When it is reached the oldest of them is dropped, so that "
            'silent connections cannot keep users out. "none" is unlimited.'
        ),
    )
    unauthenticated_per_address: Cap = Field(
        default=30,
        description=(
            "The same from one client address. A mail program logs in within a second, so thirty at a time is an "
            'office starting its day. "none" is unlimited.'
        ),
    )
    allow: tuple[NetworkValue, ...] = Field(
        default=(),
        description=(
            'Networks that no number but total holds for, as allow = ["192.0.2.0/24", "2001:db8::/32"]: a webmail '
            "server, a monitor."
        ),
    )
    bad_commands: Count = Field(
        default=3,
        description=(
            "Commands before login that make no sense; then the connection ends. Mail programs make none, scanners "
            "many. Nonsense as the very first line ends it at once."
        ),
    )
    failed_logins: Count = Field(
        default=3,
        description=(
            "Failed logins in one connection; then it ends, and the rate of new connections slows a guesser down."
        ),
    )
    line_imap: SizeBytes = Field(
        default=8 * _KIB,
        description="Longest IMAP command line before login. RFC 7162 asks servers to take 8 KiB.",
    )
    line_pop3: SizeBytes = Field(
        default=512,
        description="Longest POP3 command line before login. RFC 2449 asks for 255 bytes; twice that leaves room.",
    )
    line_smtp: SizeBytes = Field(
        default=2 * _KIB,
        description="Longest SMTP command line. RFC 5321 asks for 512 bytes, and more where extensions add to it.",
    )
    sasl_line: SizeBytes = Field(
        default=12 * _KIB,
        description="Longest line of a login exchange. The tokens of XOAUTH2 and Kerberos are that long.",
    )
    literal: SizeBytes = Field(
        default=4 * _KIB,
        description="All IMAP literals of one command before login. They carry a user name and a password.",
    )
    before_login: SizeBytes = Field(
        default=64 * _KIB,
        description=(
            "Everything a client may say before it is logged in. Room for several long tokens, and a bound for the "
            "memory that a stranger can take."
        ),
    )

    message_rate: RateCap = Field(
        default=None,
        description=(
            "SMTP: messages from one client address over time; as many may come at once after a quiet time, and what "
            "is more is told to come back later (450). Off by default, since a limit on mail that is wanted delays it: "
            'a list server brings thousands at once. "none" is unlimited.'
        ),
        examples=["60/1m"],
    )
    recipient_rate: RateCap = Field(
        default=None,
        description=(
            "SMTP: recipients from one client address over time, counted in the same way before the old server hears "
            'of them. "none" is unlimited.'
        ),
        examples=["600/1m"],
    )

    @property
    def burst(self) -> int:
        """The token bucket's size: ``connection_burst``, or twice the rate's count; 0 without a rate."""
        if not self.connection_rate:
            return 0
        return self.connection_burst or 2 * self.connection_rate.count

    @model_validator(mode="after")
    def _judge(self) -> Self:
        """The numbers must make sense together."""
        if self.connection_burst and not self.connection_rate:
            raise ValueError("connection_burst has no effect without connection_rate; remove one of them")
        largest = max(self.line_imap, self.line_pop3, self.line_smtp, self.sasl_line, self.literal)
        if self.before_login < largest:
            raise ValueError(
                f'before_login must hold the longest line or literal; write at least "{format_size(largest)}"'
            )
        return self


class Timeouts(Section):
    """How long each step of a connection may take."""

    tls_handshake: Seconds = Field(
        default=10.0,
        description=(
            "The TLS handshake. It takes a phone on a bad line two seconds; a silent client holds a place for the rest."
        ),
    )
    login: Seconds = Field(
        default=60.0,
        description=(
            "From the connection to the end of login, in all; not renewed by activity, so that one byte a second "
            "gains nothing. A user who types a password by hand fits in."
        ),
    )
    login_stressed: Seconds = Field(
        default=20.0,
        description=(
            "The same while more than 80 % of limits.unauthenticated are in use: under attack places must turn over "
            "faster, and a mail program needs only a moment."
        ),
    )
    backend_connect: Seconds = Field(
        default=5.0,
        description=(
            "Each step of reaching the backend: the connection (all addresses of its name together), its answer to "
            "STARTTLS, the handshake. It is near; what takes longer is down."
        ),
    )
    backend_login: Seconds = Field(
        default=30.0,
        description=(
            "The backend's answer to a login. Old servers that delay wrong passwords take up to twenty seconds."
        ),
    )
    backend_hold: SecondsOrZero = Field(
        default=10.0,
        description=(
            "How long a login waits for a backend that is down, so that its restart costs nobody a password prompt; "
            'mail programs give up after some more. "0s" does not wait.'
        ),
    )
    backend_retry: Seconds = Field(
        default=1.0,
        description="Pause between two attempts while a login is held. Short, since a restart ends at any moment.",
    )
    idle_imap: Seconds = Field(
        default=35 * _MINUTE_S,
        description=(
            "Silence after an IMAP login, both ways, that ends the connection. RFC 9051 asks for at least 30 "
            "minutes, and clients renew IDLE after 29; the server should be the one to end it."
        ),
    )
    idle_pop3: Seconds = Field(
        default=11 * _MINUTE_S,
        description=(
            "Silence after a POP3 login, both ways, that ends the connection. RFC 1939 asks for at least 10 "
            "minutes; the server should be the one to end it."
        ),
    )
    keepalive: Seconds = Field(
        default=2 * _MINUTE_S,
        description=(
            "Silence after which the kernel asks whether the other side still lives. Two minutes keep an idle "
            "phone's way through its router open without draining its battery."
        ),
    )
    drain: SecondsOrZero = Field(
        default=30.0,
        description=(
            "When stopping: the time over which goodbyes are spread, so that not all clients come back at once. "
            '"0s" ends all at once.'
        ),
    )

    upgrade_grace: SecondsOrZero = Field(
        default=10 * _MINUTE_S,
        description=(
            "After an upgrade (SIGUSR2): how long workers of the old version may go on with the sessions that they "
            "have; then these get their goodbyes over [timeouts] drain and come back to the new version. Long enough "
            "for downloads, and no old process stays for days."
        ),
    )

    @model_validator(mode="after")
    def _judge(self) -> Self:
        """The shortened deadline must be the shorter one."""
        if self.login_stressed > self.login:
            raise ValueError("login_stressed must not be longer than login")
        return self
