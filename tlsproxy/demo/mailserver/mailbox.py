"""The account and its mailbox, in memory and bounded; knows neither IMAP nor POP3."""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

# Room for attachments of a demo, and small enough that nobody fills the memory with APPEND.
_MAILBOX_LIMIT_BYTES: Final = 32 * 1024 * 1024
_MESSAGES_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class Account:
    """The one user there is."""

    user: bytes
    password: bytes = field(repr=False)

    def accepts(self, user: bytes, password: bytes) -> bool:
        """Whether these are the user's name and password."""
        return hmac.compare_digest(self.user, user) & hmac.compare_digest(self.password, password)


@dataclass(slots=True, eq=False)
class Message:
    """One message; the same object in every session that sees it."""

    uid: int
    raw: bytes
    """RFC 5322 bytes with CRLF line ends."""
    received: datetime
    flags: set[bytes] = field(default_factory=set)


class Mailbox:
    """INBOX: messages in order of arrival, and who wants to hear of changes."""

    uid_validity: Final = 1

    def __init__(self, raws: Iterable[bytes] = (), *, limit_bytes: int = _MAILBOX_LIMIT_BYTES) -> None:
        """Fill the mailbox with messages.

        Args:
            raws: RFC 5322 messages with CRLF line ends.
            limit_bytes: How much the mailbox holds in all.
        """
        self.messages: list[Message] = []
        self.uid_next = 1
        self._limit_bytes = limit_bytes
        self._watchers: dict[object, Callable[[], object]] = {}
        for raw in raws:
            self.add(raw)

    @property
    def room_bytes(self) -> int:
        """How large a message still fits; 0 when there are too many messages."""
        if len(self.messages) >= _MESSAGES_LIMIT:
            return 0
        return max(0, self._limit_bytes - sum(len(message.raw) for message in self.messages))

    def add(self, raw: bytes, *, flags: Iterable[bytes] = (), received: datetime | None = None) -> Message | None:
        """Take a message in.

        Returns:
            The message with its new UID; None if there is no room for it.
        """
        if len(raw) > self.room_bytes or len(self.messages) >= _MESSAGES_LIMIT:
            return None
        message = Message(self.uid_next, raw, received or datetime.now(UTC), set(flags))
        self.uid_next += 1
        self.messages.append(message)
        self._tell()
        return message

    def remove(self, messages: Iterable[Message]) -> None:
        """Take messages out, those that are gone already being no matter."""
        gone = {id(message) for message in messages}
        self.messages = [message for message in self.messages if id(message) not in gone]
        self._tell()

    def watch(self, watcher: object, tell: Callable[[], object]) -> None:
        """Have ``tell`` called after every change, until ``unwatch``."""
        self._watchers[watcher] = tell

    def unwatch(self, watcher: object) -> None:
        """End what ``watch`` began."""
        self._watchers.pop(watcher, None)

    def _tell(self) -> None:
        for tell in tuple(self._watchers.values()):
            tell()
