"""Capability lists on their way to the client: what the proxy cannot keep is taken out; must not add anything."""

import re
from typing import Final

from tlsproxy.protocols.sasl import is_bound_to_channel

# TLS is ours, and a referral leads around the proxy (RFC 2221, RFC 2193).
_HIDDEN: Final = frozenset({b"STARTTLS", b"STLS", b"LOGINDISABLED", b"LOGIN-REFERRALS", b"MAILBOX-REFERRALS"})
_AUTH: Final = b"AUTH="
_LIST: Final = re.compile(rb"(\* CAPABILITY)((?: [^\r\n]*)?)", re.IGNORECASE)
_CODE: Final = re.compile(rb"([^ ]+ (?:OK|NO|BAD|BYE) \[CAPABILITY)([^\]\r\n]*)(\].*|)", re.IGNORECASE | re.DOTALL)


def filter_capabilities(line: bytes) -> bytes:
    """Take what must not be offered out of a response line that carries a capability list.

    Args:
        line: A whole response from the backend, line end removed.

    Returns:
        The line; order, spelling and everything outside the list as they were (RFC 3501 §7.2.1, §7.1).
    """
    head, listed, tail = _parts(line)
    kept = [word for word in listed.split(b" ") if not _is_hidden(word)]
    return head + b" ".join(kept) + tail


def shown_capabilities(line: bytes) -> frozenset[bytes]:
    """The capabilities that a response line carries, in upper case; empty if it carries no list."""
    return frozenset(_parts(line)[1].upper().split())


def _parts(line: bytes) -> tuple[bytes, bytes, bytes]:
    """The line cut into what is before, in, and behind its capability list."""
    if match := _LIST.fullmatch(line):
        return match[1], match[2], b""
    if match := _CODE.fullmatch(line):
        return match[1], match[2], match[3]
    return line, b"", b""


def _is_hidden(word: bytes) -> bool:
    name = word.upper()
    return name in _HIDDEN or (name.startswith(_AUTH) and is_bound_to_channel(name.removeprefix(_AUTH)))
