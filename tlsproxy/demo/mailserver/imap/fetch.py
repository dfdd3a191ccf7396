"""Answers to FETCH: one message, the items asked for (RFC 3501 §6.4.5, §7.4.2); changes nothing."""

import re
from collections.abc import Callable, Sequence
from email.utils import getaddresses
from types import MappingProxyType
from typing import Final

from tlsproxy.demo.mailserver import mime
from tlsproxy.demo.mailserver.imap.syntax import literal, string
from tlsproxy.demo.mailserver.mailbox import Message

# More different items than any mail program asks for; each may cost a copy of the message.
ITEMS_LIMIT: Final = 16
_MACROS: Final = MappingProxyType(
    {
        b"FAST": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE"),
        b"ALL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE"),
        b"FULL": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY"),
    }
)
_BODY: Final = re.compile(rb"BODY(\.PEEK)?\[([^\]]*)\](?:<([0-9]{1,9})\.([0-9]{1,9})>)?", re.IGNORECASE)
_SECTION: Final = re.compile(
    rb"((?:[0-9]{1,3}\.)*[0-9]{1,3})?\.?(HEADER\.FIELDS(?:\.NOT)? *\([^()\x00-\x1f]*\)|HEADER|TEXT|MIME)?",
    re.IGNORECASE,
)
_SEEING: Final = frozenset({b"RFC822", b"RFC822.TEXT"})
# getaddresses recurses on each; nobody writes so many comments.
_PARENTHESES_LIMIT: Final = 20


def wanted(names: Sequence[bytes]) -> list[bytes] | None:
    """The items with macros expanded, each once.

    Returns:
        Items that ``answer`` understands; None if one is unknown or they are too many.
    """
    items: dict[bytes, None] = {}
    for name in names:
        for item in _MACROS.get(name.upper(), (name,)):
            items[item if _BODY.fullmatch(item) else item.upper()] = None
    if not items or len(items) > ITEMS_LIMIT or not all(_is_known(item) for item in items):
        return None
    return list(items)


def marks_seen(items: Sequence[bytes]) -> bool:
    r"""Whether fetching these sets ``\Seen``: bodies do, unless they are peeked at."""
    return any(item in _SEEING or ((match := _BODY.fullmatch(item)) and not match[1]) for item in items)


def answer(message: Message, items: Sequence[bytes]) -> bytes:
    """What stands in the parentheses of ``* n FETCH (...)``."""
    return b" ".join(_pair(message, item) for item in items)


def flag_list(flags: set[bytes]) -> bytes:
    r"""``(\Answered \Seen)``."""
    return b"(" + b" ".join(sorted(flags)) + b")"


def _is_known(item: bytes) -> bool:
    match = _BODY.fullmatch(item)
    return bool(_SECTION.fullmatch(match[2])) if match else item in _SIMPLE


def _pair(message: Message, item: bytes) -> bytes:
    match = _BODY.fullmatch(item)
    if match is None:
        return item + b" " + _SIMPLE[item](message)
    data = _section(message.raw, match[2])
    name = b"BODY[" + match[2] + b"]"
    if match[3] is not None:
        first, size = int(match[3]), int(match[4])
        name, data = b"%s<%d>" % (name, first), data[first : first + size]
    return name + b" " + literal(data)


def _section(raw: bytes, section: bytes) -> bytes:
    """The bytes of a section; empty where there is no such part."""
    match = _SECTION.fullmatch(section)
    part: mime.Part | None = mime.parse(raw)
    path, name = (match[1] or b"", (match[2] or b"").upper()) if match else (b"", b"")
    for number in filter(None, path.split(b".")):
        part = _child(part, int(number)) if part else None
    if part is None:
        return b""
    if name.startswith(b"HEADER.FIELDS"):
        return _header_fields(part.head, name)
    by_name = {b"HEADER": part.head, b"MIME": part.head, b"TEXT": part.body}
    return by_name.get(name, part.body if path else raw)


def _child(part: mime.Part, number: int) -> mime.Part | None:
    """Part ``number``; a part without parts has itself as part 1 (RFC 3501 §6.4.5)."""
    if not part.children:
        return part if number == 1 else None
    return part.children[number - 1] if 0 < number <= len(part.children) else None


def _header_fields(head: bytes, name: bytes) -> bytes:
    """The chosen header fields and the blank line."""
    asked = {word.strip(b'"').lower() for word in name[name.index(b"(") + 1 : -1].split()}
    is_not = name.startswith(b"HEADER.FIELDS.NOT")
    return b"".join(line for found, line in mime.fields(head) if (found in asked) != is_not) + b"\r\n"


def _envelope(message: Message) -> bytes:
    """RFC 3501 §7.4.2: ten members in fixed order; Sender and Reply-To default to From."""
    head = mime.parse(message.raw).head
    sender = _addresses(mime.value(head, b"from"))
    members = [
        string(mime.value(head, b"date")),
        string(mime.value(head, b"subject")),
        sender,
        _addresses(mime.value(head, b"sender")) if mime.value(head, b"sender") else sender,
        _addresses(mime.value(head, b"reply-to")) if mime.value(head, b"reply-to") else sender,
        *(_addresses(mime.value(head, name)) for name in (b"to", b"cc", b"bcc")),
        string(mime.value(head, b"in-reply-to")),
        string(mime.value(head, b"message-id")),
    ]
    return b"(" + b" ".join(members) + b")"


def _addresses(field: bytes | None) -> bytes:
    if not field or field.count(b"(") > _PARENTHESES_LIMIT:
        return b"NIL"
    told = []
    for name, address in getaddresses([field.decode("latin-1")]):
        local, _, domain = address.rpartition("@")
        words = (string(word.encode("latin-1", "replace") or None) for word in (name, local, domain))
        display, mailbox, host = words
        told.append(b"(%s NIL %s %s)" % (display, mailbox, host))
    return b"(" + b"".join(told) + b")" if told else b"NIL"


def _structure(part: mime.Part, *, is_extended: bool) -> bytes:
    """BODY or BODYSTRUCTURE; of the extension data, only a multipart's parameters are told."""
    parameters = [string(word) for pair in part.parameters for word in pair]
    listed = b"(" + b" ".join(parameters) + b")" if parameters else b"NIL"
    kind, subtype = (string(word.upper()) for word in part.content_type)
    if part.children:
        inner = b"".join(_structure(child, is_extended=is_extended) for child in part.children)
        return b"(" + inner + b" " + subtype + (b" " + listed if is_extended else b"") + b")"
    told = [kind, subtype, listed]
    told += [string(mime.value(part.head, name)) for name in (b"content-id", b"content-description")]
    told += [string(mime.value(part.head, b"content-transfer-encoding") or b"7BIT"), b"%d" % len(part.body)]
    if kind == b'"TEXT"':
        told.append(b"%d" % part.body.count(b"\n"))
    # A message inside a message would need its own envelope and structure; it is told as what it is not parsed to be.
    if (kind, subtype) == (b'"MESSAGE"', b'"RFC822"'):
        told[:2] = [b'"APPLICATION"', b'"OCTET-STREAM"']
    if kind == b'"MULTIPART"':
        told[:2] = [b'"APPLICATION"', b'"OCTET-STREAM"']
    return b"(" + b" ".join(told) + b")"


_SIMPLE: Final[MappingProxyType[bytes, Callable[[Message], bytes]]] = MappingProxyType(
    {
        b"FLAGS": lambda message: flag_list(message.flags),
        b"UID": lambda message: b"%d" % message.uid,
        b"RFC822.SIZE": lambda message: b"%d" % len(message.raw),
        b"INTERNALDATE": lambda message: message.received.strftime('"%d-%b-%Y %H:%M:%S %z"').encode(),
        b"ENVELOPE": _envelope,
        b"BODY": lambda message: _structure(mime.parse(message.raw), is_extended=False),
        b"BODYSTRUCTURE": lambda message: _structure(mime.parse(message.raw), is_extended=True),
        b"RFC822": lambda message: literal(message.raw),
        b"RFC822.HEADER": lambda message: literal(mime.parse(message.raw).head),
        b"RFC822.TEXT": lambda message: literal(mime.parse(message.raw).body),
    }
)
