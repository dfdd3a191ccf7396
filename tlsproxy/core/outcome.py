"""How a connection ends: Phase x Reason, a closed list that can be counted; never free text."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tlsproxy.core.kinds import LogLevel, Side


class Phase(StrEnum):
    """Where in its story a connection is; the names appear in code, logs and errors alike."""

    ADMIT = "admit"
    DIALOGUE = "dialogue"
    HANDSHAKE = "handshake"
    CONNECT = "connect"
    LOGIN = "login"
    RELAY = "relay"
    MAIL = "mail"  # SMTP, from greeting to end: it never becomes a relay


class Reason(StrEnum):
    """Why a connection ended."""

    # The client's doing.
    CLIENT_CLOSED = "client_closed"
    CLIENT_RESET = "client_reset"
    CLIENT_TIMED_OUT = "client_timed_out"  # the kernel's keepalive gave the client up
    CLIENT_TLS_BROKEN = "client_tls_broken"  # bytes after the handshake that are no TLS
    LOGGED_OUT = "logged_out"  # LOGOUT or QUIT
    NOT_MAIL = "not_mail"  # first line is no command of the protocol
    BAD_COMMANDS = "bad_commands"
    LINE_TOO_LONG = "line_too_long"
    TOO_MUCH_BEFORE_LOGIN = "too_much_before_login"
    PASSWORDS_EXPOSED = "passwords_exposed"
    STARTTLS_INJECTION = "starttls_injection"
    NOT_SYNCHRONIZED = "not_synchronized"  # went on without waiting for an answer that it had to wait for
    LOGIN_FAILURES = "login_failures"
    SPOKE_EARLY = "spoke_early"  # before the greeting, which no mail server does
    # The TLS handshake.
    PLAINTEXT_ON_TLS_PORT = "plaintext_on_tls_port"
    HTTP_ON_TLS_PORT = "http_on_tls_port"
    TLS_VERSION_TOO_OLD = "tls_version_too_old"
    NO_SHARED_CIPHER = "no_shared_cipher"
    CERTIFICATE_REJECTED = "certificate_rejected"  # the client's alert: unknown CA, expired, bad certificate
    ALPN_MISMATCH = "alpn_mismatch"
    HANDSHAKE_FAILED = "handshake_failed"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    # Time.
    LOGIN_TIMEOUT = "login_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    # Admission.
    TOTAL_FULL = "total_full"
    ADDRESS_FULL = "address_full"
    RATE_EXCEEDED = "rate_exceeded"
    UNAUTHENTICATED_FULL = "unauthenticated_full"
    UNAUTHENTICATED_ADDRESS_FULL = "unauthenticated_address_full"
    # The backend's doing.
    BACKEND_CLOSED = "backend_closed"
    BACKEND_RESET = "backend_reset"
    BACKEND_DOWN = "backend_down"
    BACKEND_TIMEOUT = "backend_timeout"
    BACKEND_REFUSED = "backend_refused"  # its greeting is a goodbye
    BACKEND_GARBAGE = "backend_garbage"
    BACKEND_PREAUTH = "backend_preauth"
    BACKEND_TLS_FAILED = "backend_tls_failed"
    # Ours.
    SHUTDOWN = "shutdown"
    WORKER_LOST = "worker_lost"  # the process that served it died
    INTERNAL_ERROR = "internal_error"


_BY_PROXY: Final = frozenset(
    {
        Reason.TOTAL_FULL,
        Reason.ADDRESS_FULL,
        Reason.RATE_EXCEEDED,
        Reason.UNAUTHENTICATED_FULL,
        Reason.UNAUTHENTICATED_ADDRESS_FULL,
        Reason.SHUTDOWN,
        Reason.WORKER_LOST,
        Reason.INTERNAL_ERROR,
    }
)
_WARNINGS: Final = frozenset(
    {
        Reason.TOTAL_FULL,
        Reason.ADDRESS_FULL,
        Reason.UNAUTHENTICATED_ADDRESS_FULL,
        Reason.UNAUTHENTICATED_FULL,
        Reason.PASSWORDS_EXPOSED,
        Reason.STARTTLS_INJECTION,
    }
)
_ERRORS: Final = frozenset({Reason.INTERNAL_ERROR, Reason.WORKER_LOST})
# An old server ends a session this way every day; the other backend_* reasons ask for a look.
_BACKEND_ROUTINE: Final = frozenset({Reason.BACKEND_CLOSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An ending: when it came and why; decides the log level and the parting reply."""

    phase: Phase
    reason: Reason

    @property
    def side(self) -> Side:
        """Who caused the ending."""
        return _SIDES[self.reason]

    @property
    def level(self) -> LogLevel:
        """How loudly the ending is logged."""
        return _LEVELS[self.reason]


def _side(reason: Reason) -> Side:
    if reason.startswith("backend_"):
        return Side.BACKEND
    return Side.PROXY if reason in _BY_PROXY else Side.CLIENT


def _level(reason: Reason) -> LogLevel:
    if reason in _ERRORS:
        return LogLevel.ERROR
    is_backend_fault = _side(reason) is Side.BACKEND and reason not in _BACKEND_ROUTINE
    return LogLevel.WARNING if is_backend_fault or reason in _WARNINGS else LogLevel.INFO


_SIDES: Final = MappingProxyType({reason: _side(reason) for reason in Reason})
_LEVELS: Final = MappingProxyType({reason: _level(reason) for reason in Reason})
