"""One command while it is read, whoever sends it; must not answer it or keep its text."""

from typing import Final

from tlsproxy.protocols.imap.arguments import ARGUMENTS, LoginArguments, NoArguments
from tlsproxy.protocols.imap.syntax import Literal, Token, TokenKind, parse_command, tag_of, tokens

_UNTAGGED: Final = b"*"


class OpenCommand:
    """A command while it is read: its first line and, behind each literal, the line that goes on with it."""

    __slots__ = ("arguments", "is_refused", "left", "literal_bytes", "name", "tag")

    def __init__(self, tag: bytes, name: bytes) -> None:
        self.tag = tag
        """What an answer begins with; ``*`` where no tag is readable (RFC 9051 §7.1.3)."""
        self.name = name
        make = ARGUMENTS.get(name)
        self.is_refused = make is None
        """Whether it is unknown, malformed or otherwise not to be obeyed; known before it is complete."""
        self.arguments = (make or NoArguments)()
        self.literal_bytes = 0
        """All its literals so far together."""
        self.left: int | None = None
        """Bytes of the current literal still to come; None outside of literals."""

    @property
    def is_fine(self) -> bool:
        """Whether the command may end here and be obeyed."""
        return self.arguments.is_complete and not self.is_refused

    def read(self, text: bytes) -> None:
        """Read arguments up to a line end or a literal."""
        if isinstance(self.arguments, LoginArguments) and self.arguments.take_both(text):
            return
        for token in tokens(text):
            self._take(token)

    def announce(self, literal: Literal) -> None:
        """Learn that a literal is to come, which is not to say that it may."""
        self.literal_bytes += literal.size
        self.is_refused = self.is_refused or not self.arguments.expects_string

    def read_literal(self, data: bytes) -> None:
        """Read the literal that was announced."""
        self.left = None
        self._take(Token(TokenKind.LITERAL, data))

    def _take(self, token: Token) -> None:
        self.is_refused = self.is_refused or not self.arguments.take(token)


def open_command(line: bytes) -> tuple[OpenCommand, bytes]:
    """Begin a command with its first line.

    Returns:
        The command, nothing of its arguments read yet, and the text of these.
    """
    command = parse_command(line)
    if command is None:
        return OpenCommand(tag_of(line) or _UNTAGGED, b""), line
    tag, name, text = command
    return OpenCommand(tag, name), text
