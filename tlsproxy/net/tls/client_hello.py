"""What the first bytes of a TLS connection say, read before the handshake; must not do I/O and must not raise.

Only the outer structure is judged here. A hello that is odd inside is handed on with what is known of it: OpenSSL
judges it for good.
"""

import re
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_RECORD_HEADER_BYTES: Final = 5  # RFC 8446 §5.1: type, legacy version, length
_RECORD_LIMIT_BYTES: Final = 1 << 14  # RFC 8446 §5.1: length MUST NOT exceed 2^14
_MESSAGE_HEADER_BYTES: Final = 4  # RFC 8446 §4: type, 24 bits of length
_HEADERS_BYTES: Final = _RECORD_HEADER_BYTES + _MESSAGE_HEADER_BYTES
# A hello with post-quantum shares has 2 KiB. One record's worth is what OpenSSL's own buffers are made for.
_HELLO_LIMIT_BYTES: Final = 1 << 14
# Everything is read anew at each look: bounds the work that a client can cause by sending tiny records.
_RECORDS_LIMIT: Final = 64
PEEK_LIMIT_BYTES: Final = _HELLO_LIMIT_BYTES + _MESSAGE_HEADER_BYTES + _RECORDS_LIMIT * _RECORD_HEADER_BYTES
"""No more than this is ever asked for; whoever has so much gets a verdict."""
_HANDSHAKE_RECORD: Final = 22
_MAJOR_VERSION: Final = 3  # all that is fixed in legacy_record_version (RFC 8446 §5.1)
_CLIENT_HELLO: Final = 1
_SESSION_ID_AT: Final = 34  # RFC 8446 §4.1.2: after legacy_version (2) and random (32)
_SERVER_NAME: Final = 0  # RFC 6066 §3
_ALPN: Final = 16  # RFC 7301 §3.1
_SUPPORTED_VERSIONS: Final = 43  # RFC 8446 §4.2.1
_GREASE: Final = 0xA  # RFC 8701 §2: two equal bytes that end so
_WANTED: Final = frozenset({_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS})
_HOST_NAME_LIMIT_BYTES: Final = 253  # RFC 1035 §2.3.4, as text without the last dot
# RFC 1123 §2.1; the underscore is in use. A last label of digits is an IPv4 literal, which RFC 6066 §3 forbids.
_LABEL: Final = rb"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME: Final = re.compile(rb"(?:" + _LABEL + rb"\.)*(?!\d+\Z)" + _LABEL)
_HTTP: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELET", b"OPTIO", b"CONNE", b"TRACE", b"PATCH", b"PRI *")
_TEXT: Final = frozenset(b"\t\r\n" + bytes(range(0x20, 0x7F)))

_u16: Final = struct.Struct("!H").unpack_from
_record_header: Final = struct.Struct("!BBBH").unpack_from
_headers: Final = struct.Struct("!BBBHBBH").unpack_from
_u16_u16: Final = struct.Struct("!HH").unpack_from
_server_name_head: Final = struct.Struct("!HBH").pack


class NotTlsKind(StrEnum):
    """What it is that is no TLS."""

    HTTP = "http"
    PLAINTEXT = "plaintext"
    SSL2 = "ssl2"
    OVERSIZED = "oversized"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True)
class NeedMore:
    """Too few bytes to judge."""

    total_bytes: int
    """How many there must be in all, counted from the first, before it is worth looking again."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client asks for."""

    server_name: str | None
    """A valid host name in lower case; None if there is none or what is there is none."""
    alpn: tuple[bytes, ...]
    """The protocols offered, the client's favourite first; empty if the extension is missing."""
    versions: tuple[int, ...]
    """As on the wire, 0x0304 for TLS 1.3; without GREASE (RFC 8701)."""


@dataclass(frozen=True, slots=True)
class NotTls:
    """No TLS handshake will come of these bytes."""

    kind: NotTlsKind


Finding = NeedMore | ClientHello | NotTls

_GARBAGE: Final = NotTls(NotTlsKind.GARBAGE)
_OVERSIZED: Final = NotTls(NotTlsKind.OVERSIZED)


def examine(data: bytes) -> Finding:
    """Judge the first bytes of a connection.

    Args:
        data: All bytes since the connection began, of any length.

    Returns:
        The hello once it is whole; how many bytes it takes to get on; or what this is instead of TLS.
    """
    if data and data[0] != _HANDSHAKE_RECORD:
        return _without_tls(data)
    if len(data) > _HEADERS_BYTES:
        # Nearly every client sends one record that holds the hello and nothing else.
        _, major, _, size, kind, high, low = _headers(data)
        is_hello = major == _MAJOR_VERSION and kind == _CLIENT_HELLO and size <= _RECORD_LIMIT_BYTES
        if is_hello and size == len(data) - _RECORD_HEADER_BYTES and not high and low == size - _MESSAGE_HEADER_BYTES:
            return _hello(data[_HEADERS_BYTES:])
    message = _message(data)
    return _hello(message) if isinstance(message, bytes) else message


def _without_tls(data: bytes) -> Finding:
    head = data[:_RECORD_HEADER_BYTES]
    is_text = _TEXT.issuperset(head)
    is_unclear = (is_text and b"\n" not in head) or head[0] & 0x80
    if len(head) < _RECORD_HEADER_BYTES and is_unclear:
        return NeedMore(_RECORD_HEADER_BYTES)
    if head.startswith(_HTTP):
        return NotTls(NotTlsKind.HTTP)
    if is_text:
        return NotTls(NotTlsKind.PLAINTEXT)
    # RFC 5246 appendix E.2: a length with the top bit set, CLIENT-HELLO, the version's major number.
    is_ssl2 = head[0] & 0x80 and head[2] == _CLIENT_HELLO and head[3] in {0, 2, 3}
    return NotTls(NotTlsKind.SSL2) if is_ssl2 else _GARBAGE


def _message(data: bytes) -> bytes | NeedMore | NotTls:
    """The body of the first handshake message, put together from its records."""
    message = b""
    at = 0
    for _ in range(_RECORDS_LIMIT):
        end = _record_end(data, at)
        if not isinstance(end, int):
            return end
        message += data[at + _RECORD_HEADER_BYTES : end]
        body = _body(message)
        if body is not None:
            return body
        at = end
    return _OVERSIZED


def _record_end(data: bytes, at: int) -> int | NeedMore | NotTls:
    """Where the handshake record that begins at ``at`` ends (RFC 8446 §5.1)."""
    if len(data) < at + _RECORD_HEADER_BYTES:
        return NeedMore(at + _RECORD_HEADER_BYTES)
    kind, major, _, size = _record_header(data, at)
    if kind != _HANDSHAKE_RECORD or major != _MAJOR_VERSION or not size:
        return _GARBAGE
    end = at + _RECORD_HEADER_BYTES + size
    if size > _RECORD_LIMIT_BYTES or end > PEEK_LIMIT_BYTES:
        return _OVERSIZED
    return end if len(data) >= end else NeedMore(end)


def _body(message: bytes) -> bytes | NotTls | None:
    """What stands behind the message's header (RFC 8446 §4); None if more records are needed."""
    if message[0] != _CLIENT_HELLO:
        return _GARBAGE
    size = int.from_bytes(message[1:_MESSAGE_HEADER_BYTES])
    if len(message) < _MESSAGE_HEADER_BYTES:
        return None
    if size > _HELLO_LIMIT_BYTES:
        return _OVERSIZED
    end = _MESSAGE_HEADER_BYTES + size
    return message[_MESSAGE_HEADER_BYTES:end] if len(message) >= end else None


def _hello(hello: bytes) -> ClientHello | NotTls:
    extensions = _extensions(hello)
    if extensions is None:
        return _GARBAGE
    name, alpn = extensions.get(_SERVER_NAME), extensions.get(_ALPN)
    return ClientHello(
        server_name=_server_name(name) if name else None,
        alpn=_protocols(alpn) if alpn else (),
        versions=_versions(extensions.get(_SUPPORTED_VERSIONS, b"")) or _u16(hello),
    )


def _extensions(hello: bytes) -> dict[int, bytes] | None:
    """The extensions that are of use here; None if the hello's lengths do not fit together (RFC 8446 §4.1.2)."""
    found: dict[int, bytes] = {}
    try:
        at = _SESSION_ID_AT + 1 + hello[_SESSION_ID_AT]
        at += 2 + (hello[at] << 8) + hello[at + 1]  # cipher suites
        at += 1 + hello[at]  # compression methods
        end = len(hello)
        if at == end:
            return found  # RFC 5246 §7.4.1.2: the extensions may be missing as a whole
        at += 2
        if at + (hello[at - 2] << 8) + hello[at - 1] != end:
            return None
        while at < end:
            kind, size = _u16_u16(hello, at)
            at += 4 + size
            if kind in _WANTED:
                found[kind] = hello[at - size : at]
    except (IndexError, struct.error):
        return None
    return found if at == end else None


def _server_name(extension: bytes) -> str | None:
    """The first name if it is a host name (RFC 6066 §3): list length, type 0, length, name."""
    name = extension[5:].lower()
    if extension[:5] != _server_name_head(len(name) + 3, 0, len(name)) or len(name) > _HOST_NAME_LIMIT_BYTES:
        return None
    return name.decode("ascii") if _HOST_NAME.fullmatch(name) else None


def _protocols(extension: bytes) -> tuple[bytes, ...]:
    """The names behind the list's length, each with its own (RFC 7301 §3.1), as far as they are well-formed."""
    names: list[bytes] = []
    at = 2
    while at < len(extension):
        size = extension[at]
        at += 1 + size
        if not size or at > len(extension):
            break
        names.append(extension[at - size : at])
    return tuple(names)


def _versions(extension: bytes) -> tuple[int, ...]:
    """The versions behind the list's length."""
    offered = []
    for at in range(1, len(extension) - 1, 2):
        high, low = extension[at], extension[at + 1]
        if high != low or high & 0x0F != _GREASE:
            offered.append((high << 8) + low)
    return tuple(offered)
