"""The one table of refusals: reason to response code and sentence; nothing else words a refusal.

Refusals that are not about credentials never look like them, so that no client asks its user for a password
because a table was full.
"""

from dataclasses import dataclass
from typing import Final

from tlsproxy.core.outcome import Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one reason is said."""

    imap_code: str
    """RFC 5530 response code, empty for none."""
    pop3_code: str
    """RFC 2449 §8 or RFC 3206 response code, empty for none."""
    smtp_code: str
    """RFC 5321 §4.2 reply code and RFC 3463 status code."""
    text: str
    """Printable ASCII; ``{limit}`` stands for the number that was reached."""


_TEMPORARY: Final = ("UNAVAILABLE", "SYS/TEMP", "421 4.3.2")
_TOO_MUCH: Final = ("UNAVAILABLE", "SYS/TEMP", "421 4.7.0")
_SET_UP_WRONGLY: Final = ("SERVERBUG", "SYS/PERM", "421 4.3.5")
_TOO_SLOW: Final = ("", "", "421 4.4.2")
_UNWELCOME: Final = ("", "", "421 4.7.0")
_CLIENT_BUG: Final = ("CLIENTBUG", "", "421 4.7.0")
_OUT_OF_STEP: Final = ("CLIENTBUG", "", "554 5.5.0")

_REFUSALS: Final[dict[Reason, Refusal]] = {
    Reason.TOTAL_FULL: Refusal(*_TEMPORARY, "All {limit} connections are in use, try again later"),
    Reason.ADDRESS_FULL: Refusal(*_TOO_MUCH, "Too many connections from your address ({limit}), try again later"),
    Reason.RATE_EXCEEDED: Refusal(*_TOO_MUCH, "Your address connects too often ({limit}), try again later"),
    Reason.UNAUTHENTICATED_FULL: Refusal(
        *_TEMPORARY, "Too many connections are waiting for a login ({limit}), try again later"
    ),
    Reason.UNAUTHENTICATED_ADDRESS_FULL: Refusal(
        *_TOO_MUCH, "Too many connections from your address wait for a login ({limit}), try again later"
    ),
    Reason.BACKEND_DOWN: Refusal(*_TEMPORARY, "The mail server cannot be reached, try again later"),
    Reason.BACKEND_TIMEOUT: Refusal(*_TEMPORARY, "The mail server does not answer, try again later"),
    Reason.BACKEND_CLOSED: Refusal(*_TEMPORARY, "The mail server closed the connection, try again later"),
    Reason.BACKEND_RESET: Refusal(*_TEMPORARY, "The mail server broke the connection, try again later"),
    Reason.BACKEND_GARBAGE: Refusal(*_TEMPORARY, "The mail server gave an answer that makes no sense"),
    Reason.BACKEND_PREAUTH: Refusal(*_SET_UP_WRONGLY, "The mail server is set up wrongly"),
    Reason.BACKEND_REFUSED: Refusal(*_TEMPORARY, "The mail server takes no connection now, try again later"),
    Reason.BACKEND_TLS_FAILED: Refusal(*_SET_UP_WRONGLY, "The mail server cannot be reached safely"),
    Reason.LOGIN_TIMEOUT: Refusal(*_TOO_SLOW, "Disconnected for inactivity."),
    Reason.IDLE_TIMEOUT: Refusal(*_TOO_SLOW, "Disconnected for inactivity."),
    Reason.SHUTDOWN: Refusal(*_TEMPORARY, "Server restarting"),
    Reason.NOT_MAIL: Refusal(*_CLIENT_BUG, "This is a mail server"),
    Reason.BAD_COMMANDS: Refusal(*_CLIENT_BUG, "Too many bad commands"),
    Reason.LINE_TOO_LONG: Refusal(*_CLIENT_BUG, "Line too long"),
    Reason.TOO_MUCH_BEFORE_LOGIN: Refusal(*_CLIENT_BUG, "Too much was said before the login"),
    Reason.PASSWORDS_EXPOSED: Refusal(*_UNWELCOME, "A password was sent without TLS too often"),
    Reason.STARTTLS_INJECTION: Refusal(*_OUT_OF_STEP, "Nothing may follow the command that starts TLS"),
    Reason.NOT_SYNCHRONIZED: Refusal(*_OUT_OF_STEP, "An answer has to be waited for"),
    Reason.SPOKE_EARLY: Refusal(*_OUT_OF_STEP, "Wait for the greeting"),
    Reason.LOGIN_FAILURES: Refusal(*_UNWELCOME, "Too many failed logins"),
    Reason.ALPN_MISMATCH: Refusal(*_UNWELCOME, "Another protocol is spoken here"),
    Reason.INTERNAL_ERROR: Refusal("SERVERBUG", "SYS/TEMP", "421 4.3.0", "An internal error came up, try again later"),
}
_FALLBACK: Final = Refusal("", "", "421 4.3.2", "Goodbye")


def refusal(reason: Reason) -> Refusal:
    """How a reason is said; reasons that no client lives to hear get a plain goodbye."""
    return _REFUSALS.get(reason, _FALLBACK)


def sentence(reason: Reason, ref: str, limit: str = "") -> str:
    """The sentence for a person, with the reference that finds the session in the log.

    Args:
        reason: Why the client is refused.
        ref: The session's id.
        limit: The number that was reached, where the reason names one.

    Returns:
        Printable ASCII, as ``Too many connections from your address (100), try again later. ref=ID``.
    """
    text = refusal(reason).text.replace("{limit}", limit)
    return f"{text} ref={ref}" if text.endswith(".") else f"{text}. ref={ref}"


def imap_parting(reason: Reason, why: str) -> bytes:
    """An untagged BYE (RFC 3501 §7.1.5, RFC 9051 §7.1.5)."""
    return b"* BYE " + coded(refusal(reason).imap_code, why) + b"\r\n"


def pop3_parting(reason: Reason, why: str) -> bytes:
    """A negative status with a code where one fits (RFC 1939 §3, RFC 2449 §8)."""
    return b"-ERR " + coded(refusal(reason).pop3_code, why) + b"\r\n"


def smtp_parting(reason: Reason, why: str) -> bytes:
    """A reply that ends the connection (RFC 5321 §3.8)."""
    return f"{refusal(reason).smtp_code} {why}\r\n".encode("ascii", "replace")


def coded(code: str, why: str) -> bytes:
    """``[CODE] why`` or plain ``why``."""
    return (f"[{code}] {why}" if code else why).encode("ascii", "replace")
