"""Host names and address literals (RFC 5321 §4.1.2 and §4.1.3); must not look anything up."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from tlsproxy.protocols.smtp.reply import Reply, reply

# RFC 3629 §4 without control characters: what RFC 6531 §3.3 adds to letters.
UTF8: Final = (
    rb"(?:\xc2[\xa0-\xbf]|[\xc3-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})"
)
# Underscores are no letters of a host name, but Windows machines have them in theirs. RFC 1035 §2.3.4: 63 a label.
_LABEL: Final = rb"(?:[A-Za-z0-9_-]|" + UTF8 + rb"){1,63}"
_NAME: Final = re.compile(_LABEL + rb"(?:\." + _LABEL + rb")*")
_LITERAL: Final = re.compile(rb"\[(?:(IPv6:)?([0-9A-Fa-f:.]{2,45}))\]", re.IGNORECASE)
_NO_NAME: Final = re.compile(rb"[^A-Za-z0-9_.-]+")
_NAME_LIMIT_BYTES: Final = 255  # RFC 5321 §4.5.3.1.2

_WRONG_HELLO: Final = reply(501, "5.5.4", "EHLO needs a host name or an address literal")


def parse_domain(text: bytes) -> bytes | None:
    """Read what may stand behind the at sign.

    Args:
        text: A name, in UTF-8 where it is not ASCII, or an address literal in brackets.

    Returns:
        The same, an address in its canonical form; None if it is neither.
    """
    if text.startswith(b"["):
        return _literal(text)
    return text if len(text) <= _NAME_LIMIT_BYTES and _NAME.fullmatch(text) else None


def parse_hello(argument: bytes, *, is_tolerant: bool = False) -> bytes | Reply:
    """Read the argument of EHLO or HELO.

    Args:
        argument: A host name, with or without a final dot, or an address literal.
        is_tolerant: Whether a hyphen replaces what a host name cannot hold: users' computers have such names, and
            nobody judges a user by it.

    Returns:
        The host name, without a final dot, or an address literal in its canonical form; else the refusal.
    """
    name = parse_domain(argument.removesuffix(b"."))
    if is_tolerant and not (name and name.isascii()):
        name = parse_domain(_NO_NAME.sub(b"-", argument).removesuffix(b"."))
    return name if name is not None and name.isascii() else _WRONG_HELLO


def _literal(text: bytes) -> bytes | None:
    found = _LITERAL.fullmatch(text)
    if found is None:
        return None
    address = found[2].decode("ascii")
    try:
        if found[1] or b":" in found[2]:  # the tag is forgotten by some
            return b"[IPv6:%s]" % str(IPv6Address(address)).encode("ascii")
        return b"[%s]" % str(IPv4Address(address)).encode("ascii")
    except AddressValueError:
        return None
