"""What may stand behind a path in MAIL and RCPT (RFC 5321 §4.1.1.11); must not know what a parameter is good for."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

# An equals sign within a value is wrong, and some leave it as it stands in addresses that carry a signature.
_PARAMETER: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\xff][\x21-\x7e\x80-\xff]*))?")
# RFC 3461 §4.
_XTEXT: Final = rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-Fa-f]{2})+"
_ENVELOPE_ID: Final = re.compile(_XTEXT)
_ORIGINAL_RECIPIENT: Final = re.compile(rb"[A-Za-z0-9-]+;" + _XTEXT)
_EQUALS: Final = (b"=", b"+3D")
_SIZE: Final = re.compile(rb"[0-9]{1,20}")  # RFC 1870 §4

_ENVELOPE_ID_LIMIT_BYTES: Final = 100  # RFC 3461 §4.4
_ORIGINAL_RECIPIENT_LIMIT_BYTES: Final = 500  # RFC 3461 §4.2


class Extension(StrEnum):
    """An extension of SMTP that tlsproxy knows, by its keyword in an answer to EHLO."""

    PIPELINING = "PIPELINING"  # RFC 2920
    SIZE = "SIZE"  # RFC 1870
    STARTTLS = "STARTTLS"  # RFC 3207
    AUTH = "AUTH"  # RFC 4954
    ENHANCEDSTATUSCODES = "ENHANCEDSTATUSCODES"  # RFC 2034
    EIGHT_BIT_MIME = "8BITMIME"  # RFC 6152
    SMTPUTF8 = "SMTPUTF8"  # RFC 6531
    DSN = "DSN"  # RFC 3461


class Body(StrEnum):
    """What a message is made of (RFC 6152 §3)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


class Ret(StrEnum):
    """How much of a message a report of its failure brings back (RFC 3461 §4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


class Notify(StrEnum):
    """When a sender wants to hear of a recipient (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


Parameters = Mapping[bytes, bytes | None]


def read_parameters(text: bytes) -> Parameters | None:
    """Read what stands behind a path: keyword in upper case to value, or to None where there is no value.

    Returns:
        None if something is no parameter, or one stands there twice.
    """
    if text and not text.startswith(b" "):
        return None
    parameters: dict[bytes, bytes | None] = {}
    for word in text.split():
        found = _PARAMETER.fullmatch(word)
        if found is None or found[1].upper() in parameters:
            return None
        parameters[found[1].upper()] = found[2]
    return parameters


def read_size(value: bytes) -> int | None:
    """Octets of a message; None if it is no number."""
    return int(value) if _SIZE.fullmatch(value) else None


def read_body(value: bytes) -> Body | None:
    """A kind of body; None for others, as BINARYMIME, which is not offered."""
    return _BODIES.get(value.upper())


def read_ret(value: bytes) -> Ret | None:
    """How much comes back; None if it is neither."""
    return _RETS.get(value.upper())


def read_envelope_id(value: bytes) -> bytes | None:
    """An envelope's id in xtext; None if it is none, or too long."""
    text = value.replace(*_EQUALS)
    is_one = len(text) <= _ENVELOPE_ID_LIMIT_BYTES and _ENVELOPE_ID.fullmatch(text)
    return text if is_one else None


def read_notify(value: bytes) -> tuple[Notify, ...] | None:
    """When to tell, each once; None if it is nothing of that, or NEVER beside another."""
    kinds = [_NOTIFIES.get(word) for word in value.upper().split(b",")]
    known = tuple(kind for kind in Notify if kind in kinds)
    is_clear = None not in kinds and (known == (Notify.NEVER,) or Notify.NEVER not in known)
    return known if is_clear else None


def read_original_recipient(value: bytes) -> bytes | None:
    """An address type and an address in xtext; None if it is not, or too long."""
    text = value.replace(*_EQUALS)
    is_one = len(text) <= _ORIGINAL_RECIPIENT_LIMIT_BYTES and _ORIGINAL_RECIPIENT.fullmatch(text)
    return text if is_one else None


_BODIES: Final[Mapping[bytes, Body]] = {body.encode("ascii"): body for body in Body}
_RETS: Final[Mapping[bytes, Ret]] = {ret.encode("ascii"): ret for ret in Ret}
_NOTIFIES: Final[Mapping[bytes, Notify]] = {notify.encode("ascii"): notify for notify in Notify}
