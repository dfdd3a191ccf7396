"""What became of a message; must not know how it got there."""

from dataclasses import dataclass

from tlsproxy.protocols.smtp.answers import MESSAGE_TOO_BIG
from tlsproxy.protocols.smtp.reply import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What became of a message."""

    reply: Reply
    size: int
    """Octets of content as the client sent them, dots unstuffed."""
    bare_newlines: int
    is_ours: bool
    """Whether the reply is ours, so that the old server never saw the end."""

    @property
    def word(self) -> str:
        """Why it was refused, if it was."""
        if not self.is_ours:
            return "content"
        return "message_too_big" if self.reply is MESSAGE_TOO_BIG else "bare_newline"
