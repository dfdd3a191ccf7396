"""Where a message's headers and parts lie, as byte ranges; decodes nothing and believes nothing."""

import re
from dataclasses import dataclass
from typing import Final

# A message nested deeper, or with more parts, is told as if the rest were text.
_DEPTH_LIMIT: Final = 8
_PARTS_LIMIT: Final = 100
# Headers of real messages have some 10 KiB; what is behind this is not looked at.
_HEAD_LIMIT_BYTES: Final = 65536
_HEADERS_END: Final = re.compile(rb"\r?\n\r?\n")
_FOLD: Final = re.compile(rb"\r?\n(?=[ \t])")
# RFC 2045 §5.1: type/subtype and then ;name=value, the value a token or quoted.
_CONTENT_TYPE: Final = re.compile(rb"\s*([\w.+-]+)/([\w.+-]+)")
_PARAMETER: Final = re.compile(rb';\s*([\w.*-]+)\s*=\s*(?:"([^"\r\n]*)"|([^\s;"]+))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A message or one part of it; slices of the same bytes."""

    head: bytes
    """The header fields with the blank line that ends them."""
    body: bytes
    content_type: tuple[bytes, bytes]
    """Type and subtype as written."""
    parameters: tuple[tuple[bytes, bytes], ...]
    children: tuple["Part", ...]


def fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Each header field as (lower-case name, whole field with its line ends)."""
    lines: list[bytes] = []
    for line in head[:_HEAD_LIMIT_BYTES].splitlines(keepends=True):
        if line[:1] in {b" ", b"\t"} and lines:
            lines[-1] += line
        elif line.strip():
            lines.append(line)
    return [(line.partition(b":")[0].strip().lower(), line) for line in lines]


def value(head: bytes, name: bytes) -> bytes | None:
    """The first field of that lower-case name, unfolded (RFC 5322 §2.2.3); None if there is none."""
    for found, line in fields(head):
        if found == name:
            return _FOLD.sub(b"", line.partition(b":")[2]).strip()
    return None


def parse(raw: bytes, depth: int = 0, default: bytes = b"text/plain") -> Part:
    """Take a message or part apart.

    Args:
        raw: Its bytes.
        depth: How many parts it lies in.
        default: Its content type where none is told (RFC 2046 §5.1.5 has message/rfc822 in a digest).

    Returns:
        The Part; any bytes give one.
    """
    end = _HEADERS_END.search(raw)
    if raw[:1] in {b"\r", b"\n"}:  # a part without any header begins with the blank line
        cut = raw.index(b"\n") + 1 if b"\n" in raw else len(raw)
    else:
        cut = end.end() if end else len(raw)
    head, body = raw[:cut], raw[cut:]
    told = value(head, b"content-type") or default
    match = _CONTENT_TYPE.match(told)
    kind = (match[1], match[2]) if match else (b"text", b"plain")
    parameters = tuple((m[1], m[2] if m[2] is not None else m[3]) for m in _PARAMETER.finditer(told))
    children: tuple[Part, ...] = ()
    if kind[0].lower() == b"multipart" and depth < _DEPTH_LIMIT:
        children = tuple(parse(piece, depth + 1) for piece in _pieces(body, parameters))
    return Part(head=head, body=body, content_type=kind, parameters=parameters, children=children)


def _pieces(body: bytes, parameters: tuple[tuple[bytes, bytes], ...]) -> list[bytes]:
    """The parts between the boundaries (RFC 2046 §5.1.1); the line end before a boundary belongs to it."""
    boundary = next((value for name, value in parameters if name.lower() == b"boundary"), b"")
    if not boundary:
        return []
    delimiter = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|$)")
    pieces: list[bytes] = []
    start: int | None = None
    # The line end after one boundary may be the one before the next, so each search begins on it.
    match = delimiter.search(body)
    while match and len(pieces) < _PARTS_LIMIT:
        if start is not None:
            pieces.append(body[start : match.start()] if match.start() >= start else b"")
        if match[1]:
            return pieces
        start = match.end()
        match = delimiter.search(body, max(start - 2, 0))
    # A message that was cut off has no last boundary.
    return pieces if start is None or match else [*pieces, body[start:]]
