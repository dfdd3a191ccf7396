"""Capability lists on their way to the client: what the proxy cannot keep is taken out; must not add anything."""

import re
from functools import lru_cache
from typing import Final

from tlsproxy.protocols.sasl import is_bound_to_channel

# TLS is ours, and a referral leads around the proxy (RFC 2221, RFC 2193).
_HIDDEN: Final = frozenset({b"STARTTLS", b"STLS", b"LOGINDISABLED", b"LOGIN-REFERRALS", b"MAILBOX-REFERRALS"})
_AUTH: Final = b"AUTH="
# The untagged response (RFC 3501 §7.2.1), or the code of a status (§7.1); either group is a list.
_LIST: Final = re.compile(
    rb"\* CAPABILITY((?: [^\r\n]*)?)|[^ ]+ (?:OK|NO|BAD|BYE) \[CAPABILITY([^\]\r\n]*)(?:\].*)?",
    re.IGNORECASE | re.DOTALL,
)
# A backend says the same two lists to each client, before and after login: 64 KiB are room for some dozen backends.
_LISTS_REMEMBERED: Final = 64
_REMEMBERED_BYTES: Final = 1024


def sift(line: bytes) -> tuple[bytes, frozenset[bytes]]:
    """Take what must not be offered out of a response line that carries a capability list.

    Args:
        line: A whole response from the backend, line end removed.

    Returns:
        The line; order, spelling and everything outside the list as they were (RFC 3501 §7.2.1, §7.1). And all that
        the list says, in upper case, the hidden as well; empty if the line carries none.
    """
    match = _LIST.fullmatch(line)
    if match is None:
        return line, frozenset()
    start, end = match.span(1 if match[2] is None else 2)
    listed = line[start:end]
    kept, shown = _sifted(listed) if end - start <= _REMEMBERED_BYTES else _sifted.__wrapped__(listed)
    return line[:start] + kept + line[end:], shown


def filter_capabilities(line: bytes) -> bytes:
    """What ``sift`` leaves of a line."""
    return sift(line)[0]


def shown_capabilities(line: bytes) -> frozenset[bytes]:
    """The capabilities that a response line carries, in upper case; empty if it carries no list."""
    return sift(line)[1]


@lru_cache(_LISTS_REMEMBERED)
def _sifted(listed: bytes) -> tuple[bytes, frozenset[bytes]]:
    """What is left of a list, and all that it says; remembered is the list alone, in which no client has a word."""
    kept = [word for word in listed.split(b" ") if not _is_hidden(word)]
    return b" ".join(kept), frozenset(listed.upper().split())


def _is_hidden(word: bytes) -> bool:
    name = word.upper()
    return name in _HIDDEN or (name.startswith(_AUTH) and is_bound_to_channel(name.removeprefix(_AUTH)))
