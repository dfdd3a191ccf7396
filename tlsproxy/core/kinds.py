"""The closed choices that config, sessions and logs share; must not hold behaviour."""

from enum import StrEnum


class ProtocolName(StrEnum):
    """A mail protocol that tlsproxy speaks."""

    IMAP = "imap"
    POP3 = "pop3"


class ListenerTls(StrEnum):
    """How a client reaches TLS on a listener."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"


class BackendTls(StrEnum):
    """How tlsproxy reaches TLS on the backend; off is the rule for a really old server."""

    OFF = "off"
    IMPLICIT = "implicit"
    STARTTLS = "starttls"


class TlsProfile(StrEnum):
    """Mozilla's server-side TLS profiles, by their names."""

    MODERN = "modern"
    INTERMEDIATE = "intermediate"
    OLD = "old"


class LogFormat(StrEnum):
    """What a log line looks like."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """How grave a log line is; warning asks an operator to look, error is lost ability."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LoopKind(StrEnum):
    """Which event loop carries the data plane."""

    AUTO = "auto"
    SELECTOR = "selector"
    UVLOOP = "uvloop"


class Side(StrEnum):
    """Who caused an ending."""

    CLIENT = "client"
    BACKEND = "backend"
    PROXY = "proxy"


class LoginResult(StrEnum):
    """What came of a session's logins."""

    NONE = "none"
    OK = "ok"
    FAILED = "failed"
