"""The header fields that tell what was checked, and of whom; nothing that a client made up may end a line in them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Final

from tlsproxy.senders.identity import IpAddress
from tlsproxy.senders.judgement import Judgement
from tlsproxy.senders.spf.result import SpfResult, SpfVerdict
from tlsproxy.senders.wording import clean

# RFC 5322 §2.1.1: 78 where it can be had. The hard bound of 998 is kept because no word is longer than a value.
_LINE_LENGTH: Final = 78

# RFC 5321 §4.5.3.1: 64 octets of local part, an "at" and 255 of domain; twice as long if all of it is escaped.
_VALUE_LIMIT: Final = 320

# What stands bare in every grammar that is used here: a MIME token (RFC 2045 §5.1) that is also a dot-atom (RFC 5322).
_BARE: Final = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*", re.IGNORECASE)

_UNFIT_IN_COMMENT: Final = re.compile(r"[()\\ ]")
_UNFIT_IN_HOST: Final = re.compile(r"[^a-zA-Z0-9._:\[\]-]")

_COMMENTS: Final = {
    SpfVerdict.NONE: "{who} has no SPF record",
    SpfVerdict.NEUTRAL: "{who} says nothing of {ip}",
    SpfVerdict.PASS: "{who} designates {ip} as permitted sender",
    SpfVerdict.FAIL: "{who} does not designate {ip} as permitted sender",
    SpfVerdict.SOFTFAIL: "{who} does not quite designate {ip} as permitted sender",
    SpfVerdict.TEMPERROR: "{who} cannot be checked now",
    SpfVerdict.PERMERROR: "{who} has a broken SPF record",
}


class Identity(StrEnum):
    """What SPF can judge (RFC 7208 §2.3, §2.4), by its name in header fields."""

    MAILFROM = "mailfrom"
    HELO = "helo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What header fields tell of a session; the bytes are as the client sent them."""

    ip: IpAddress
    hello: bytes
    """The argument of HELO or EHLO."""
    mail_from: bytes
    """The address of MAIL FROM without its brackets; empty for the null sender."""
    receiver: str
    """Our host name."""
    ref: str
    """The session's id."""
    is_esmtp: bool = True
    is_tls: bool = False
    user: bytes = b""
    """Who has logged in; empty for nobody."""


def received_spf(spf: SpfResult, trace: Trace, *, identity: Identity = Identity.MAILFROM) -> bytes:
    """The field of RFC 7208 §9.1.

    Args:
        spf: The result.
        trace: Of whom it is.
        identity: Whose it is.

    Returns:
        The field with its CRLF.
    """
    hello = clean(trace.hello)
    sender = clean(trace.mail_from, _VALUE_LIMIT)
    is_of_sender = identity is Identity.MAILFROM and sender
    who = f"domain of {_in_comment(sender if is_of_sender else f'postmaster@{hello}')}"
    comment = _COMMENTS[spf.verdict].format(who=who, ip=trace.ip)
    pairs = {
        "client-ip": _value(str(trace.ip)),
        "envelope-from": _quoted(sender or "<>"),
        "helo": _value(hello),
        "receiver": _host(trace.receiver),
        "identity": identity.value,
        "mechanism": _value(clean(spf.mechanism)) if spf.mechanism else "",
        "problem": _quoted(clean(spf.problem)) if spf.problem else "",
    }
    words = [f"{key}={value};" for key, value in pairs.items() if value]
    words[-1] = words[-1].removesuffix(";")
    return _field("Received-SPF", [spf.verdict, *f"({_host(trace.receiver)}: {comment})".split(" "), *words])


def authentication_results(judgement: Judgement, trace: Trace, *, discloses_user: bool = False) -> bytes:
    """The field of RFC 8601 §2.2, with the results of which headers may tell.

    Args:
        judgement: What was found out.
        trace: Of whom.
        discloses_user: Whether it names the user who has logged in.

    Returns:
        The field with its CRLF; its result is ``none`` if there is nothing to tell (RFC 8601 §2.2).
    """
    words: list[str] = []
    if judgement.iprev:
        words += [f"iprev={judgement.iprev.result}", f"policy.iprev={_value(str(trace.ip))}"]
        words += [f"({_host(name)})" for name in judgement.iprev.names[:1]]
        words[-1] += ";"
    if judgement.spf:
        domain = trace.mail_from.rpartition(b"@")[2] or trace.hello
        words += [f"spf={judgement.spf.verdict}", f"smtp.mailfrom={_value(clean(domain))};"]
    if judgement.spf_hello:
        words += [f"spf={judgement.spf_hello.verdict}", f"smtp.helo={_value(clean(trace.hello))};"]
    if trace.user and discloses_user:
        words += ["auth=pass", f"smtp.auth={_value(clean(trace.user))};"]
    last = words.pop().removesuffix(";") if words else "none"
    return _field("Authentication-Results", [f"{_host(trace.receiver)};", *words, last])


def x_tlsproxy(judgement: Judgement, trace: Trace) -> bytes:
    """What the other fields have no word for: the HELO name, and what would have been done.

    Args:
        judgement: What was found out.
        trace: Of whom.

    Returns:
        The field with its CRLF; nothing if there is nothing to tell.
    """
    words = [f"helo={judgement.hello_word};"] if judgement.hello_word else []
    words += [f"would={judgement.would};"] if judgement.would else []
    return _field("X-Tlsproxy", [*words, f"id={_value(clean(trace.ref))}"]) if words else b""


def received(trace: Trace, *, name: str, now: float) -> bytes:
    """The time stamp line of RFC 5321 §4.4; of a user who has logged in it does not tell the address.

    Args:
        trace: Of whom.
        name: The client's confirmed host name; empty for none.
        now: The time in seconds since 1970.

    Returns:
        The field with its CRLF.
    """
    client = f"({_host(name)} [{_literal(trace.ip)}])"
    source = [] if trace.user else ["from", _host(trace.hello), *client.split(" ")]
    target = [
        "by",
        _host(trace.receiver),
        "(tlsproxy)",
        "with",
        _transport(trace),
        "id",
        f"{_value(clean(trace.ref))};",
    ]
    date = format_datetime(datetime.fromtimestamp(int(now), UTC))
    return _field("Received", [*source, *target, *date.split(" ")])


def _transport(trace: Trace) -> str:
    """The names of RFC 3848; plain SMTP has no name for what TLS or a log-in add to it."""
    if not trace.is_esmtp:
        return "SMTP"
    return "ESMTP" + ("S" if trace.is_tls else "") + ("A" if trace.user else "")


def _literal(ip: IpAddress) -> str:
    return f"IPv6:{ip}" if isinstance(ip, IPv6Address) else str(ip)


def _host(name: bytes | str) -> str:
    return _UNFIT_IN_HOST.sub("?", clean(name)) or "unknown"


def _value(text: str) -> str:
    return text if _BARE.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _in_comment(text: str) -> str:
    """As it may stand in a comment; a blank could be folded, and a line of nothing but blanks is none."""
    return _UNFIT_IN_COMMENT.sub("?", text)


def _field(name: str, words: Iterable[str]) -> bytes:
    """A field folded at 78; words are never split."""
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > _LINE_LENGTH and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines).encode("ascii", "replace") + b"\r\n"
