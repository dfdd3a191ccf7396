"""What a check of SPF comes to; must not say what follows from it."""

from dataclasses import dataclass
from enum import StrEnum

from tlsproxy.core.errors import TlsProxyError


class SpfVerdict(StrEnum):
    """The results of RFC 7208 §2.6, by their names in headers."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfResult:
    """The verdict on one client for one domain, and how it came about."""

    verdict: SpfVerdict
    domain: str
    """The domain that was asked about, as given, without a final dot."""
    mechanism: str = ""
    """The directive that decided, as published (``-all``); empty where none did. Printable ASCII."""
    explanation: str = ""
    """What the domain's owner says of a fail; empty where nothing (usable) is said. Printable ASCII."""
    problem: str = ""
    """What is wrong, for temperror and permerror. Printable ASCII."""


class BrokenPolicyError(TlsProxyError):
    """A published policy cannot be used; never leaves this package.

    It is an exception because a mistake anywhere ends the whole check, through all includes and redirects.
    """
