"""What a client is told of a check, and with which code; nothing else words these replies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tlsproxy.core.kinds import Mode
from tlsproxy.senders.identity import IpAddress
from tlsproxy.senders.policy import Check

# What a client or its zone says of itself goes into replies and headers no longer than this.
_VALUE_LIMIT: Final = 128
_EXPLANATION_LIMIT: Final = 200

Code = tuple[int, str]
"""A reply code (RFC 5321 §4.2) and an enhanced one (RFC 3463, RFC 7372)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of whom and of what a reply speaks; the bytes are as the client sent them."""

    ip: IpAddress
    hello: bytes
    """The argument of HELO or EHLO."""
    domain: bytes
    """The domain of MAIL FROM; empty for the null sender."""
    ref: str
    """The session's id, printable."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How one check is told."""

    transient: Code
    permanent: Code | None
    """None where the cause may be gone in a minute: such a check never rejects."""
    text: str
    """``{ip}``, ``{helo}``, ``{dom}`` and ``{reason}`` stand for what is known."""

    def code(self, mode: Mode) -> Code:
        """The codes under which it is told, for DEFER or REJECT."""
        return self.permanent if self.permanent and mode is Mode.REJECT else self.transient


_MAY_NOT_SEND: Final = "{ip} may not send mail for {dom} (SPF)"

WORDINGS: Final[Mapping[Check, Wording]] = {
    Check.IMPERSONATION: Wording((450, "4.7.1"), (550, "5.7.1"), "{helo} is this server"),
    Check.BOTH: Wording((450, "4.7.25"), (550, "5.7.25"), "{ip} is not identified by reverse DNS nor by HELO {helo}"),
    Check.NO_PTR: Wording((450, "4.7.25"), (550, "5.7.25"), "no reverse DNS for {ip}"),
    Check.NOT_CONFIRMED: Wording(
        (450, "4.7.25"), (550, "5.7.25"), "reverse DNS of {ip} is not confirmed by forward DNS"
    ),
    Check.HELO_MISMATCH: Wording((450, "4.7.1"), (550, "5.7.1"), "HELO name {helo} does not belong to {ip}"),
    Check.NOT_FQDN: Wording((450, "4.5.2"), (504, "5.5.2"), "{helo} is not a fully qualified name"),
    Check.IDENTITY_TEMPERROR: Wording((451, "4.7.25"), None, "reverse DNS of {ip} cannot be checked now"),
    Check.SPF_FAIL: Wording((450, "4.7.23"), (550, "5.7.23"), _MAY_NOT_SEND),
    Check.SPF_SOFTFAIL: Wording((450, "4.7.23"), (550, "5.7.23"), _MAY_NOT_SEND),
    Check.SPF_PERMERROR: Wording((451, "4.7.24"), (550, "5.7.24"), "SPF record of {dom} is broken: {reason}"),
    Check.SPF_TEMPERROR: Wording((451, "4.7.24"), None, "SPF of {dom} cannot be checked now"),
    Check.SPF_HELO: Wording((450, "4.7.23"), (550, "5.7.23"), "{ip} may not send mail for {helo} (SPF)"),
}

HELLO_TEMPERROR: Final = Wording((451, "4.7.1"), None, "HELO name {helo} cannot be checked now")
"""IDENTITY_TEMPERROR where reverse DNS is known and the HELO name is not."""


def clean(value: bytes | str, limit: int = _VALUE_LIMIT) -> str:
    """A value as it may stand in a reply or a header: printable ASCII, no longer than a limit.

    Args:
        value: Anything that a client or its zone made up.
        limit: The most characters that are kept.

    Returns:
        The value with a question mark for every octet or character that is not printable ASCII.
    """
    text = value[:limit].decode("latin-1") if isinstance(value, bytes) else value[:limit]
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def say(wording: Wording, facts: Facts, reason: str = "") -> str:
    """The sentence of a reply, with the reference that finds the session in the log."""
    text = wording.text.format(ip=facts.ip, helo=clean(facts.hello), dom=_domain_of(facts), reason=clean(reason))
    return f"{text} (id {clean(facts.ref)})"


def quote(facts: Facts, explanation: str) -> str:
    """A domain's own words, told as the domain's (RFC 7208 §6.2); nothing if it has none."""
    return f"{_domain_of(facts)} says: {clean(explanation, _EXPLANATION_LIMIT)}" if explanation else ""


def _domain_of(facts: Facts) -> str:
    """The domain that SPF speaks of; the null sender's is the HELO name (RFC 7208 §2.4)."""
    return clean(facts.domain or facts.hello)
