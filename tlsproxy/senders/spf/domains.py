"""Domain names in policies: which can be asked for, and which can be written; must not ask."""

import re
from typing import Final

from tlsproxy.senders.spf.macros import MacroText, ends_in_macro, parse_macros
from tlsproxy.senders.spf.result import BrokenPolicyError

# RFC 1035 §2.3.4; without the final dot 253 characters are left of the 255 octets on the wire.
NAME_LIMIT: Final = 253
_LABEL_LIMIT: Final = 63

# RFC 7208 §7.1, toplabel: letters, digits and inner hyphens, but not digits alone.
_TOP_LABEL: Final = re.compile(r"(?![0-9]+\Z)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?", re.ASCII)
_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}", re.ASCII)


def parse_domain_spec(raw: str) -> MacroText:
    """Parse a domain-spec: it ends in a macro or in ``.`` and a top label (RFC 7208 §7.1).

    Raises:
        BrokenPolicyError: Its syntax is wrong.
    """
    text = parse_macros(raw)
    if not text:
        raise BrokenPolicyError("domain is missing")
    last = text[-1]
    if isinstance(last, str) and not ends_in_macro(text):
        _, dot, top_label = last.removesuffix(".").rpartition(".")
        if not dot or not _TOP_LABEL.fullmatch(top_label):
            raise BrokenPolicyError(f"{raw} is no domain")
    return text


def is_domain(name: str) -> bool:
    """Whether a policy may be looked for there: a host's name of at least two labels (RFC 7208 §4.3).

    An address is none, neither in brackets nor bare.
    """
    labels = name.split(".")
    return (
        len(labels) > 1
        and len(name) <= NAME_LIMIT
        and all(map(_HOST_LABEL.fullmatch, labels))
        and not labels[-1].isdigit()
    )


def is_askable(name: str) -> bool:
    """Whether a DNS query can be made of the name; a macro may well expand to one that cannot."""
    return (
        len(name) <= NAME_LIMIT
        and name.isascii()
        and name.isprintable()
        and all(0 < len(label) <= _LABEL_LIMIT for label in name.split("."))
    )


def fit(name: str) -> str:
    """Drop the final dot, and labels from the left until the name is short enough (RFC 7208 §7.3)."""
    name = name.removesuffix(".")
    while len(name) > NAME_LIMIT:
        _, dot, name = name.partition(".")
        if not dot:
            return ""
    return name


def is_within(name: str, domain: str) -> bool:
    """Whether the name is the domain or lies below it."""
    return f".{name}".lower().endswith(f".{domain}".lower())
