"""The IMAP commands of a logged-in client: mailboxes, messages, flags (RFC 3501 §6.3, §6.4); does no I/O."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from tlsproxy.demo.mailserver.imap.syntax import Value
from tlsproxy.demo.mailserver.imap.view import SYSTEM_FLAGS, View, are_flags
from tlsproxy.demo.mailserver.mailbox import Mailbox

_INBOX: Final = b"INBOX"
_PATTERN_LIMIT_BYTES: Final = 100


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in the making."""

    untagged: bytes
    status: bytes
    """What follows the tag; empty for a continuation, whose end comes later."""
    is_numbered: bool = False
    """Whether message numbers must stay as they are: no EXPUNGE inside FETCH, STORE, SEARCH (RFC 3501 §7.4.1)."""


def ok(text: bytes, untagged: bytes = b"") -> Reply:
    """It is done."""
    return Reply(untagged, b"OK " + text)


def no(text: bytes) -> Reply:
    """It cannot be done."""
    return Reply(b"", b"NO " + text)


def bad(text: bytes) -> Reply:
    """It makes no sense."""
    return Reply(b"", b"BAD " + text)


class MailCommands:
    """What a logged-in client may do."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._view: View | None = None

    def news(self) -> bytes:
        """Changes since the client last heard; empty while nothing is selected."""
        return self._view.news() if self._view else b""

    def list_all(self, arguments: list[Value]) -> Reply:
        """LIST: the only mailbox there is, or the root for an empty pattern (RFC 3501 §6.3.8)."""
        return self._listed(b"LIST", arguments)

    def lsub(self, arguments: list[Value]) -> Reply:
        """LSUB: everybody is subscribed to INBOX."""
        return self._listed(b"LSUB", arguments)

    def _listed(self, verb: bytes, arguments: list[Value]) -> Reply:
        match arguments:
            case [bytes() as reference, bytes() as pattern] if len(reference + pattern) <= _PATTERN_LIMIT_BYTES:
                pass
            case _:
                return bad(b"Expected a reference and a pattern")
        if not pattern:
            return ok(verb + b" completed", b'* %s (\\Noselect) "/" ""\r\n' % verb)
        # One wildcard in place of many in a row: the pattern cannot make the match slow.
        expression = re.sub(
            rb"(?:\.\*)+", b".*", re.escape(reference + pattern).replace(rb"\*", b".*").replace(b"%", b".*")
        )
        is_inbox = re.fullmatch(expression, _INBOX, re.IGNORECASE)
        return ok(verb + b" completed", b'* %s () "/" INBOX\r\n' % verb if is_inbox else b"")

    def select(self, arguments: list[Value]) -> Reply:
        """SELECT: open the mailbox for changes."""
        return self._open(arguments, is_read_only=False)

    def examine(self, arguments: list[Value]) -> Reply:
        """EXAMINE: open the mailbox to look only."""
        return self._open(arguments, is_read_only=True)

    def _open(self, arguments: list[Value], *, is_read_only: bool) -> Reply:
        self._view = None
        if not _is_inbox(arguments[:1]):
            return no(b"[NONEXISTENT] There is only INBOX")
        self._view = View(self._mailbox, is_read_only=is_read_only)
        flags = b" ".join(SYSTEM_FLAGS)
        lines = [
            b"* FLAGS (%s)" % flags,
            b"* OK [PERMANENTFLAGS (%s)] Flags" % (b"" if is_read_only else flags + rb" \*"),
            b"* %d EXISTS" % len(self._view),
            b"* 0 RECENT",
            b"* OK [UIDVALIDITY %d] UIDs" % self._mailbox.uid_validity,
            b"* OK [UIDNEXT %d] Next" % self._mailbox.uid_next,
        ]
        code = b"[READ-ONLY]" if is_read_only else b"[READ-WRITE]"
        return ok(code + b" Opened", b"\r\n".join(lines) + b"\r\n")

    def status(self, arguments: list[Value]) -> Reply:
        """STATUS: figures of a mailbox without opening it."""
        match arguments:
            case [bytes(), list() as names] if _is_inbox(arguments[:1]):
                pass
            case [bytes(), list()]:
                return no(b"[NONEXISTENT] There is only INBOX")
            case _:
                return bad(b"Expected a mailbox and a list")
        messages = self._mailbox.messages
        figures = {
            b"MESSAGES": len(messages),
            b"RECENT": 0,
            b"UIDNEXT": self._mailbox.uid_next,
            b"UIDVALIDITY": self._mailbox.uid_validity,
            b"UNSEEN": sum(rb"\Seen" not in message.flags for message in messages),
        }
        asked = [name.upper() for name in names if isinstance(name, bytes)]
        if len(asked) != len(names) or not set(asked) <= set(figures):
            return bad(b"Unknown figure")
        told = b" ".join(b"%s %d" % (name, figures[name]) for name in asked)
        return ok(b"STATUS completed", b"* STATUS INBOX (%s)\r\n" % told)

    def subscribe(self, arguments: list[Value]) -> Reply:
        """SUBSCRIBE and UNSUBSCRIBE: nothing to do, and INBOX stays."""
        return ok(b"As you like") if _is_inbox(arguments) else no(b"[NONEXISTENT] There is only INBOX")

    def refuse(self, _arguments: list[Value]) -> Reply:
        """CREATE, DELETE, RENAME, COPY: there is one mailbox and no other."""
        return no(b"[CANNOT] There is only INBOX")

    def append(self, arguments: list[Value]) -> Reply:
        """APPEND: a message into the mailbox, with flags and date if told (RFC 3501 §6.3.11)."""
        match arguments:
            case [_, *options, bytes() as raw] if _is_inbox(arguments[:1]):
                pass
            case [bytes(), *_, bytes()]:
                return no(b"[TRYCREATE] There is only INBOX")
            case _:
                return bad(b"Expected a mailbox and a message")
        flags = {
            flag for option in options if not isinstance(option, bytes) for flag in option if isinstance(flag, bytes)
        }
        dates = [option for option in options if isinstance(option, bytes)]
        if not are_flags(flags):
            return bad(b"Unknown flag")
        added = self._mailbox.add(raw, flags=flags, received=_date(dates[0]) if dates else None)
        if added is None:
            return no(b"[OVERQUOTA] The mailbox is full")
        # RFC 4315 §3: tells the client its message's UID, where isync 1.4 goes astray searching for it.
        return ok(b"[APPENDUID %d %d] APPEND completed" % (self._mailbox.uid_validity, added.uid))

    def check(self, _arguments: list[Value]) -> Reply:
        """CHECK: memory needs no checkpoint."""
        return ok(b"CHECK completed")

    def close(self, _arguments: list[Value]) -> Reply:
        """CLOSE: expunge in silence and leave the mailbox."""
        if self._view and not self._view.is_read_only:
            self._view.expunge()
        self._view = None
        return ok(b"CLOSE completed")

    def unselect(self, _arguments: list[Value]) -> Reply:
        """UNSELECT: leave the mailbox as it is."""
        self._view = None
        return ok(b"UNSELECT completed")

    def fetch(self, arguments: list[Value]) -> Reply:
        """FETCH by number."""
        return self._numbered(b"FETCH", arguments, is_uid=False)

    def store(self, arguments: list[Value]) -> Reply:
        """STORE by number."""
        return self._numbered(b"STORE", arguments, is_uid=False)

    def search(self, arguments: list[Value]) -> Reply:
        """SEARCH, told by number."""
        return self._numbered(b"SEARCH", arguments, is_uid=False)

    def uid(self, arguments: list[Value]) -> Reply:
        """UID FETCH, UID STORE, UID SEARCH, UID EXPUNGE."""
        match arguments:
            case [bytes() as verb, *rest] if verb.upper() in {b"FETCH", b"STORE", b"SEARCH"}:
                return self._numbered(verb.upper(), rest, is_uid=True)
            case [bytes() as verb, bytes()] if verb.upper() == b"EXPUNGE":
                return self.expunge(arguments[1:])
        return bad(b"Unknown UID command")

    def _numbered(self, verb: bytes, arguments: list[Value], *, is_uid: bool) -> Reply:
        if self._view is None:
            return bad(b"No mailbox is open")
        if verb == b"STORE" and self._view.is_read_only:
            return no(b"[READ-ONLY] Opened to look only")
        work = {b"FETCH": self._view.fetch, b"STORE": self._view.store, b"SEARCH": self._view.search}[verb]
        untagged = work(arguments, is_uid=is_uid)
        if untagged is None:
            return bad(b"Arguments")
        return Reply(untagged, b"OK " + verb + b" completed", is_numbered=not is_uid)

    def expunge(self, arguments: list[Value]) -> Reply:
        """EXPUNGE: take out what is marked; the news tell which."""
        if self._view is None:
            return bad(b"No mailbox is open")
        if self._view.is_read_only:
            return no(b"[READ-ONLY] Opened to look only")
        match arguments:
            case [bytes() as sequence_set]:
                self._view.expunge(sequence_set)
            case _:
                self._view.expunge()
        return ok(b"EXPUNGE completed")


def _is_inbox(arguments: list[Value]) -> bool:
    match arguments:
        case [bytes() as name]:
            return name.upper() == _INBOX  # the one name without case (RFC 3501 §5.1)
    return False


def _date(text: bytes) -> datetime | None:
    """RFC 3501 §9 date-time; None where it is none, and the time of arrival will do."""
    with suppress(ValueError):
        return datetime.strptime(text.decode("latin-1").strip(), "%d-%b-%Y %H:%M:%S %z")
    return None


_Handler = Callable[[MailCommands, list[Value]], Reply]
MAIL_COMMANDS: Final[MappingProxyType[bytes, _Handler]] = MappingProxyType(
    {
        b"LIST": MailCommands.list_all,
        b"LSUB": MailCommands.lsub,
        b"SELECT": MailCommands.select,
        b"EXAMINE": MailCommands.examine,
        b"STATUS": MailCommands.status,
        b"SUBSCRIBE": MailCommands.subscribe,
        b"UNSUBSCRIBE": MailCommands.subscribe,
        b"CREATE": MailCommands.refuse,
        b"DELETE": MailCommands.refuse,
        b"RENAME": MailCommands.refuse,
        b"COPY": MailCommands.refuse,
        b"APPEND": MailCommands.append,
        b"CHECK": MailCommands.check,
        b"CLOSE": MailCommands.close,
        b"UNSELECT": MailCommands.unselect,
        b"FETCH": MailCommands.fetch,
        b"STORE": MailCommands.store,
        b"SEARCH": MailCommands.search,
        b"UID": MailCommands.uid,
        b"EXPUNGE": MailCommands.expunge,
    }
)
