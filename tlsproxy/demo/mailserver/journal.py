"""What the old server remembers of its visitors; must never hold a password."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tlsproxy.core.summary import readable

# More than a demo or a test opens; the oldest go first.
_RECORDS_LIMIT: Final = 4096
# Commands noted of one connection; what comes later is heard but not noted.
_COMMANDS_LIMIT: Final = 200


@dataclass(slots=True, kw_only=True)
class Record:
    """One connection as the old server saw it."""

    protocol: str
    client_port: int
    """The port of the client's end, which is the proxy's: the join with the proxy's log."""
    bytes_heard: int = 0
    commands: list[str] = field(default_factory=list)
    """The verbs alone, in order; arguments are not kept."""
    logins: list[tuple[str, bool]] = field(default_factory=list)
    """User name and whether the password was right."""

    def note_command(self, verb: bytes) -> None:
        """Remember that a command was heard."""
        if len(self.commands) < _COMMANDS_LIMIT:
            self.commands.append(readable(verb) or "")

    def note_login(self, user: bytes, *, is_accepted: bool) -> None:
        """Remember a login and what came of it."""
        if len(self.logins) < _COMMANDS_LIMIT:
            self.logins.append((readable(user) or "", is_accepted))


class Journal:
    """Every connection's Record, in the order they came; bounded."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=_RECORDS_LIMIT)

    def open(self, protocol: str, client_port: int) -> Record:
        """Begin the Record of a new connection."""
        record = Record(protocol=protocol, client_port=client_port)
        self._records.append(record)
        return record

    def records(self) -> tuple[Record, ...]:
        """All that is remembered; may be called from another thread."""
        return tuple(self._records)
