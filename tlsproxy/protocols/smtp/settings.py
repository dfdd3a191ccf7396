"""What a listener asks of its clients; must not know how it is enforced."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueSettings:
    """What a listener asks of its clients."""

    hostname: bytes
    """Our own name, as greeting and EHLO tell it."""
    line_bytes: int = 2048
    """The longest command line, CRLF included; RFC 5321 §4.5.3.1.4 asks for 512 at least."""
    sasl_line_bytes: int = 12288
    """The same for AUTH and what follows it, RFC 4954 §4."""
    max_recipients: int = 100
    """Of one message; RFC 5321 §4.5.3.1.8 asks for 100 at least."""
    max_errors: int = 20
    """Bad commands that are answered; one more ends the connection."""
    max_auth_failures: int = 3
    """The failed login that ends the connection."""
    is_strict_sync: bool = True
    """Whether a client that does not wait for an answer where it has to is sent away."""
    mechanisms: tuple[bytes, ...] = ()
    """SASL mechanisms for submission, in upper case."""
    requires_tls: bool = False
    """Whether other mail servers must begin TLS; users always must."""
    ref: bytes = b""
    """What finds the session in the log, as ``(id 7F3A9C)``; stands behind last words."""
