"""The closed choices that config, sessions and logs share; must not hold behaviour."""

from enum import StrEnum


class ProtocolName(StrEnum):
    """A mail protocol that tlsproxy speaks."""

    IMAP = "imap"
    POP3 = "pop3"
    SMTP = "smtp"


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


class SmtpRole(StrEnum):
    """Whom an SMTP listener is for: users who send, or other mail servers that deliver."""

    MX = "mx"
    SUBMISSION = "submission"


class BareNewline(StrEnum):
    """What becomes of a message in which a CR or LF stands alone."""

    NORMALIZE = "normalize"
    REJECT = "reject"


class Mode(StrEnum):
    """What follows from a check's result, in rising gravity."""

    OFF = "off"
    LOG = "log"
    TAG = "tag"
    DEFER = "defer"
    REJECT = "reject"


class SmtpProfile(StrEnum):
    """How much an MX listener asks of those who deliver."""

    OBSERVE = "observe"
    STANDARD = "standard"
    STRICT = "strict"


class EarlyTalker(StrEnum):
    """What becomes of a client that speaks before the greeting."""

    OFF = "off"
    LOG = "log"
    DROP = "drop"


class RejectAt(StrEnum):
    """At which command an MX listener says what it thinks of a client."""

    MAIL = "mail"
    RCPT = "rcpt"


class BackendIdentity(StrEnum):
    """How an old SMTP server is told who the client is."""

    XCLIENT = "xclient"
    PROXY_V1 = "proxy-v1"
    PROXY_V2 = "proxy-v2"
    NONE = "none"


class BackendLogin(StrEnum):
    """How an old SMTP server is told that a user has logged in."""

    XCLIENT = "xclient"
    REPLAY = "replay"
    NONE = "none"


class SubmissionAuth(StrEnum):
    """Who judges the passwords of those who send."""

    IMAP = "imap"
    POP3 = "pop3"
    REPLAY = "replay"
    FILE = "file"


class SaslMechanism(StrEnum):
    """A way to hand over a password that a submission listener offers (RFC 4616; LOGIN is older than any RFC)."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"


class SenderLogin(StrEnum):
    """Whether a user may send only under an address of their own."""

    OFF = "off"
    LOG = "log"
    REJECT = "reject"
