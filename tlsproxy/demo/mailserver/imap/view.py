"""One session's view of the mailbox: its numbered list of messages, and what has changed since it last looked."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from tlsproxy.demo.mailserver import mime
from tlsproxy.demo.mailserver.imap import fetch
from tlsproxy.demo.mailserver.imap.syntax import Value, numbers
from tlsproxy.demo.mailserver.mailbox import Mailbox, Message

SYSTEM_FLAGS: Final = (rb"\Answered", rb"\Flagged", rb"\Deleted", rb"\Seen", rb"\Draft")
# Keywords that one message may carry; more are refused.
_FLAGS_LIMIT: Final = 20
_KEYWORD_LIMIT_BYTES: Final = 64
# Words of one SEARCH; each may cost a walk through the whole mailbox.
_KEYS_LIMIT: Final = 20


class View:
    """The selected mailbox as one session numbers it."""

    def __init__(self, mailbox: Mailbox, *, is_read_only: bool) -> None:
        self.is_read_only = is_read_only
        self._mailbox = mailbox
        self._messages = list(mailbox.messages)

    def __len__(self) -> int:
        """How many messages the session knows of."""
        return len(self._messages)

    def news(self) -> bytes:
        """The untagged lines that bring the session up to date (RFC 3501 §7.3.1, §7.4.1); empty if it is."""
        there = {id(message) for message in self._mailbox.messages}
        lines = [
            b"* %d EXPUNGE\r\n" % number
            for number, message in reversed(list(enumerate(self._messages, start=1)))
            if id(message) not in there
        ]
        if lines or len(self._messages) != len(self._mailbox.messages):
            is_longer = len(self._mailbox.messages) > len(self._messages) - len(lines)
            self._messages = list(self._mailbox.messages)
            if is_longer:
                lines.append(b"* %d EXISTS\r\n" % len(self._messages))
        return b"".join(lines)

    def pick(self, sequence_set: bytes, *, is_uid: bool) -> list[tuple[int, Message]] | None:
        """The messages a set names, with their numbers.

        Returns:
            In the order of the mailbox; None if it is no set, or names a number that is not there.
        """
        largest = self._messages[-1].uid if is_uid and self._messages else len(self._messages)
        ranges = numbers(sequence_set, largest)
        if ranges is None or (not is_uid and any(last > len(self._messages) for _, last in ranges)):
            return None
        return [
            (number, message)
            for number, message in enumerate(self._messages, start=1)
            if any(first <= (message.uid if is_uid else number) <= last for first, last in ranges)
        ]

    def fetch(self, arguments: list[Value], *, is_uid: bool) -> bytes | None:
        """Answer FETCH; None if the arguments make no sense."""
        match arguments:
            case [bytes() as which, list() as names]:
                pass
            case [bytes() as which, bytes() as name]:
                names = [name]
            case _:
                return None
        picked = self.pick(which, is_uid=is_uid)
        items = fetch.wanted([name for name in names if isinstance(name, bytes)])
        if picked is None or items is None:
            return None
        if is_uid and b"UID" not in items:
            items.insert(0, b"UID")
        is_seen = fetch.marks_seen(items) and not self.is_read_only
        lines = []
        for number, message in picked:
            shown = items
            if is_seen and rb"\Seen" not in message.flags:
                message.flags.add(rb"\Seen")
                shown = items if b"FLAGS" in items else [*items, b"FLAGS"]
            lines.append(b"* %d FETCH (%s)\r\n" % (number, fetch.answer(message, shown)))
        return b"".join(lines)

    def store(self, arguments: list[Value], *, is_uid: bool) -> bytes | None:
        """Answer STORE; None if the arguments make no sense."""
        match arguments:
            case [bytes() as which, bytes() as how, list() as listed]:
                flags = {flag for flag in listed if isinstance(flag, bytes)}
            case [bytes() as which, bytes() as how, *rest]:
                flags = {flag for flag in rest if isinstance(flag, bytes)}
            case _:
                return None
        picked = self.pick(which, is_uid=is_uid)
        change = _CHANGES.get(how.upper().removesuffix(b".SILENT"))
        if picked is None or change is None or not are_flags(flags):
            return None
        for _, message in picked:
            changed = change(message.flags, flags)
            message.flags = changed if len(changed) <= _FLAGS_LIMIT else message.flags
        if how.upper().endswith(b".SILENT"):
            return b""
        items = [b"UID", b"FLAGS"] if is_uid else [b"FLAGS"]
        return b"".join(b"* %d FETCH (%s)\r\n" % (number, fetch.answer(message, items)) for number, message in picked)

    def search(self, arguments: list[Value], *, is_uid: bool) -> bytes | None:
        """Answer SEARCH for flags, numbers, UIDs and words; None if a key is unknown."""
        keys = [key for key in arguments if isinstance(key, bytes)]
        if len(keys) != len(arguments) or not 0 < len(keys) <= _KEYS_LIMIT:
            return None
        if keys[0].upper() == b"CHARSET":
            keys = keys[2:]
        found = list(enumerate(self._messages, start=1))
        while keys:
            test = self._test(keys)
            if test is None:
                return None
            found = [(number, message) for number, message in found if test(message)]
        told = b"".join(b" %d" % (message.uid if is_uid else number) for number, message in found)
        return b"* SEARCH" + told + b"\r\n"

    def expunge(self, sequence_set: bytes | None = None) -> None:
        r"""Take out what is marked ``\Deleted``, all of it or the UIDs of a set; ``news`` tells the client."""
        picked = (
            [message for _, message in self.pick(sequence_set, is_uid=True) or ()] if sequence_set else self._messages
        )
        self._mailbox.remove(message for message in picked if rb"\Deleted" in message.flags)

    def _test(self, keys: list[bytes]) -> Callable[[Message], bool] | None:
        """Take one search key (RFC 3501 §6.4.4) off the list and make a test of it."""
        key = keys.pop(0).upper()
        if key == b"NOT":
            inner = self._test(keys) if keys and keys[0].upper() != b"NOT" else None
            return (lambda message: not inner(message)) if inner else None
        if key in _SIMPLE_KEYS:
            return _SIMPLE_KEYS[key]
        if key in _WORD_KEYS and keys:
            word = keys.pop(0).lower()
            return lambda message: word in _WORD_KEYS[key](message).lower()
        is_uid = key == b"UID" and bool(keys)
        picked = self.pick(keys.pop(0) if is_uid else key, is_uid=is_uid)
        if picked is None:
            return None
        ids = {id(message) for _, message in picked}
        return lambda message: id(message) in ids


def are_flags(flags: set[bytes]) -> bool:
    """Whether each is a flag that can be told back: a system flag or a keyword of letters and digits."""
    return all(
        flag in SYSTEM_FLAGS or (flag.lstrip(b"$").isalnum() and len(flag) <= _KEYWORD_LIMIT_BYTES) for flag in flags
    )


def _field(name: bytes) -> Callable[[Message], bytes]:
    return lambda message: mime.value(mime.parse(message.raw).head, name) or b""


_CHANGES: Final[MappingProxyType[bytes, Callable[[set[bytes], set[bytes]], set[bytes]]]] = MappingProxyType(
    {
        b"FLAGS": lambda _old, new: set(new),
        b"+FLAGS": lambda old, new: old | new,
        b"-FLAGS": lambda old, new: old - new,
    }
)


def _has(flag: bytes) -> Callable[[Message], bool]:
    return lambda message: flag in message.flags


def _has_not(flag: bytes) -> Callable[[Message], bool]:
    return lambda message: flag not in message.flags


_SIMPLE_KEYS: Final[MappingProxyType[bytes, Callable[[Message], bool]]] = MappingProxyType(
    {
        b"ALL": lambda _message: True,
        **{flag[1:].upper(): _has(flag) for flag in SYSTEM_FLAGS},
        **{b"UN" + flag[1:].upper(): _has_not(flag) for flag in SYSTEM_FLAGS},
    }
)
_WORD_KEYS: Final[MappingProxyType[bytes, Callable[[Message], bytes]]] = MappingProxyType(
    {
        b"SUBJECT": _field(b"subject"),
        b"FROM": _field(b"from"),
        b"TO": _field(b"to"),
        b"CC": _field(b"cc"),
        b"BODY": lambda message: mime.parse(message.raw).body,
        b"TEXT": lambda message: message.raw,
    }
)
