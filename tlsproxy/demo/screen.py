"""What the demo looks like: colours on a terminal, plain text elsewhere; knows nothing of mail."""

import sys
from typing import Final, TextIO

from rich.console import Console
from rich.text import Text

# A long answer is shown by its ends: for a mail, the first headers and the last words.
_FIRST_LINES: Final = 4
_LAST_LINES: Final = 4


class Screen:
    """Writes the story down; lines are never broken by us, so that they can be copied."""

    def __init__(self, file: TextIO | None = None, *, is_quiet: bool = False) -> None:
        """Write to a file, standard output by default; a quiet screen shows nothing."""
        self._console = Console(
            file=file or sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=is_quiet
        )
        self._is_ascii = self._console.options.ascii_only
        self._yes, self._no, self.dots, self._more = (
            ("ok", "FAILED", "***", "...") if self._is_ascii else ("✓", "✗", "•••", "…")
        )

    def title(self, text: str) -> None:
        """A heading with room above it."""
        self._print(Text(""))
        self._print(Text(text, "bold"))

    def say(self, text: str) -> None:
        """A sentence."""
        self._print(Text("  " + text, "dim"))

    def block(self, text: str) -> None:
        """Text as it stands, such as a file's."""
        for line in text.splitlines():
            self._print(Text("    " + line, "cyan"))

    def client(self, line: str) -> None:
        """A line that the client says."""
        self._print(Text.assemble("    ", ("C: ", "bold blue"), self._cut(line)))

    def server(self, line: str) -> None:
        """A line that the proxy answers, or the old server through it."""
        self._print(Text.assemble("    ", ("S: ", "bold magenta"), self._cut(line)))

    def server_block(self, lines: list[str]) -> None:
        """Many lines of an answer, by its first and last."""
        hidden = len(lines) - _FIRST_LINES - _LAST_LINES
        if hidden <= 1:
            first, last = lines, []
        else:
            first, last = lines[:_FIRST_LINES], lines[-_LAST_LINES:]
        for line in first:
            self.server(line)
        if last:
            self._print(Text(f"       {self._more} {hidden} more lines", "dim"))
        for line in last:
            self.server(line)

    def event(self, text: str) -> None:
        """Something that happens besides the lines, such as a handshake."""
        self._print(Text(f"    -- {text}", "green"))

    def log(self, line: str) -> None:
        """A line of the proxy's log, which may bring its own colours."""
        self._print(Text.assemble("    ", ("log ", "dim"), Text.from_ansi(line)))

    def verdict(self, text: str, *, is_good: bool) -> None:
        """How a step ended."""
        mark, style = (self._yes, "bold green") if is_good else (self._no, "bold red")
        self._print(Text(f"  {mark} {text}", style))

    def _print(self, text: Text) -> None:
        """Print one line; what an old terminal cannot show becomes a question mark of the same width."""
        if self._is_ascii:
            text.plain = text.plain.encode("ascii", "replace").decode()
        self._console.print(text)

    @property
    def is_coloured(self) -> bool:
        """Whether colours are shown."""
        return self._console.color_system is not None

    def _cut(self, line: str) -> str:
        """On a terminal, a line as long as it is wide; elsewhere the whole line."""
        room = self._console.width - len("    S: ")
        is_too_long = self._console.is_terminal and len(line) > room
        return line[: max(room - 1, 1)] + self._more if is_too_long else line
