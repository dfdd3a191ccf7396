"""What is said to the old server before any mail: EHLO, who the client is, who has logged in; without I/O.

Each dialogue is a generator that yields the line to be sent and is sent the reply to it; what it returns is what came
of it. The caller has read the greeting.
"""

import base64
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Final, TypeVar

from tlsproxy.core.addresses import Peer
from tlsproxy.protocols.smtp.capabilities import Capabilities, read_capabilities
from tlsproxy.protocols.smtp.reply import Reply

_T = TypeVar("_T")
Dialogue = Generator[bytes, Reply, _T]

_CRLF: Final = b"\r\n"
_LINE_LIMIT_BYTES: Final = 512  # RFC 5321 §4.5.3.1.4, of XCLIENT lines as well
_LOGIN_LIMIT_BYTES: Final = _LINE_LIMIT_BYTES - len(b"XCLIENT LOGIN=\r\n")
_GREETING_CODE: Final = 220
_CHALLENGE_CODE: Final = 334
_AUTHENTICATED_CODE: Final = 235
_WRONG_PASSWORD_CODE: Final = 535
# RFC 3461 §4: what stands for itself in xtext.
_PLAIN: Final = frozenset(range(0x21, 0x7F)) - frozenset(b"+=")
UNKNOWN_NAME: Final = b"[UNAVAILABLE]"
"""XCLIENT's word for a client without a name."""
UNKNOWN_FOR_NOW: Final = b"[TEMPUNAVAIL]"
"""The same for one whose name cannot be found at the moment."""
# Last, because after ADDR a server no longer trusts whoever speaks.
_LAST: Final = (b"NAME", b"ADDR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """The client, as the old server is to see it."""

    peer: Peer
    destination: Peer
    """Where it connected."""
    name: bytes
    """Its confirmed name, or UNKNOWN_NAME or UNKNOWN_FOR_NOW."""
    hello: bytes
    is_esmtp: bool
    user: bytes | None = field(repr=False)
    """Who has logged in, if the old server is to be told."""


class Refusal(StrEnum):
    """Why an old server cannot be used."""

    NO_HELLO = "it takes neither EHLO nor HELO"
    NO_XCLIENT = "it does not offer XCLIENT to this host"
    NO_XCLIENT_LOGIN = "it does not offer XCLIENT LOGIN, so that it cannot be told who has logged in"
    LOGIN_TOO_LONG = "it cannot be told who has logged in: the name is too long for XCLIENT"
    XCLIENT_REFUSED = "it refuses XCLIENT"
    NO_MECHANISM = "it offers neither AUTH PLAIN nor AUTH LOGIN"


class Replayed(StrEnum):
    """What an old server says of a user name and a password."""

    OK = "ok"
    WRONG = "wrong"
    UNAVAILABLE = "unavailable"


def say_hello(name: bytes) -> Dialogue[Capabilities | Refusal]:
    """EHLO, or HELO where that is not understood (RFC 5321 §3.2)."""
    reply = yield b"EHLO " + name + _CRLF
    if reply.is_positive:
        return read_capabilities(reply)
    if not reply.is_permanent:
        return Refusal.NO_HELLO
    reply = yield b"HELO " + name + _CRLF
    if not reply.is_positive:
        return Refusal.NO_HELLO
    return Capabilities(extensions=frozenset(), size=None, mechanisms=frozenset(), xclient=frozenset())


def introduce(name: bytes, guest: Guest, *, is_required: bool) -> Dialogue[Capabilities | Refusal]:
    """EHLO under our name, XCLIENT, and EHLO as the client said it (Postfix, XCLIENT_README).

    Args:
        name: Our own.
        guest: The client.
        is_required: Whether a server that does not take the client's address is of no use.
    """
    known = yield from say_hello(name)
    if isinstance(known, Refusal):
        return known
    if guest.user is not None and b"LOGIN" not in known.xclient:
        return Refusal.NO_XCLIENT_LOGIN
    if guest.user is not None and len(xtext(guest.user)) > _LOGIN_LIMIT_BYTES:
        return Refusal.LOGIN_TOO_LONG
    if b"ADDR" not in known.xclient:
        return Refusal.NO_XCLIENT if is_required else known
    is_presented = yield from _present(guest, known.xclient)
    if not is_presented and not is_required:
        # One that knows no IPv6 says 501 to such an address; what else there is to say it may still take.
        is_presented = yield from _present(guest, known.xclient, is_anonymous=True)
    if not is_presented:
        return Refusal.XCLIENT_REFUSED
    return (yield from say_hello(guest.hello or name))


def replay(user: bytes, password: bytes, mechanisms: frozenset[bytes]) -> Dialogue[Replayed | Refusal]:
    """AUTH with a user's own name and password (RFC 4954 §4, RFC 4616)."""
    if b"PLAIN" in mechanisms:
        reply = yield b"AUTH PLAIN " + base64.b64encode(b"\0" + user + b"\0" + password) + _CRLF
        return _replayed(reply)
    if b"LOGIN" not in mechanisms:
        return Refusal.NO_MECHANISM
    reply = yield b"AUTH LOGIN" + _CRLF
    for secret in (user, password):
        if reply.code != _CHALLENGE_CODE:
            break
        reply = yield base64.b64encode(secret) + _CRLF
    return _replayed(reply)


def _replayed(reply: Reply) -> Replayed:
    if reply.code == _AUTHENTICATED_CODE:
        return Replayed.OK
    return Replayed.WRONG if reply.code == _WRONG_PASSWORD_CODE else Replayed.UNAVAILABLE


def _present(guest: Guest, offered: frozenset[bytes], *, is_anonymous: bool = False) -> Dialogue[bool]:
    """XCLIENT in as many lines as it takes; True if each was taken."""
    for line in _xclient_lines(_attributes(guest, offered, is_anonymous=is_anonymous)):
        reply = yield line
        if reply.code != _GREETING_CODE:
            return False
    return True


def _attributes(guest: Guest, offered: frozenset[bytes], *, is_anonymous: bool) -> list[tuple[bytes, bytes]]:
    ip = guest.peer.ip
    address = str(ip) if isinstance(ip, IPv4Address) else f"IPV6:{ip}"
    values = {
        b"HELO": guest.hello or UNKNOWN_NAME,
        b"PROTO": b"ESMTP" if guest.is_esmtp else b"SMTP",
        b"PORT": str(guest.peer.port).encode("ascii"),
        b"NAME": guest.name,
        b"ADDR": UNKNOWN_NAME if is_anonymous else address.encode("ascii"),
    }
    if guest.user is not None:
        values = {b"LOGIN": guest.user, **values}
    return [(key, value) for key, value in values.items() if key in offered]


def _xclient_lines(attributes: Sequence[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Lines of bounded length; NAME and ADDR share the last one."""
    last = b"".join(b" %b=%b" % (key, xtext(value)) for key, value in attributes if key in _LAST)
    line = b"XCLIENT"
    for part in [b" %b=%b" % (key, xtext(value)) for key, value in attributes if key not in _LAST] + [last]:
        if len(line) + len(part) + len(_CRLF) > _LINE_LIMIT_BYTES and line != b"XCLIENT":
            yield line + _CRLF
            line = b"XCLIENT"
        line += part
    yield line + _CRLF


def xtext(data: bytes) -> bytes:
    """RFC 3461 §4: printable ASCII as it stands, everything else as ``+`` and two digits."""
    return b"".join(bytes([octet]) if octet in _PLAIN else b"+%02X" % octet for octet in data)
