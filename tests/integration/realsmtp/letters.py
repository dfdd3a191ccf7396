"""Mail as it arrived at an old server: whoever tests waits for it by its recipient."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_DEADLINE_S: Final = 20.0
_RETRY_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Letter:
    """A message with what the old server put before it."""

    recipient: str
    raw: bytes
    """In CRLF lines."""

    def content(self, first: bytes) -> bytes:
        """What came from the client, which began with these bytes."""
        return self.raw[self.raw.index(first) :]

    def header(self, name: str) -> list[bytes]:
        """The values of a header field, unfolded, from the top."""
        head = self.raw.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
        start = f"{name}: ".lower().encode()
        return [line[len(start) :] for line in head.split(b"\r\n") if line.lower().startswith(start)]


class MailRoom(Protocol):
    """Where an old server puts what it has taken."""

    def letters(self) -> list[Letter]:
        """All that have arrived."""
        ...


class Maildir:
    """A folder that an old server writes into; each letter's recipient stands in ``Delivered-To``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, Letter] = {}

    def letters(self) -> list[Letter]:
        """All that have arrived."""
        for path in self._folder.rglob("new/*"):
            if path not in self._read:
                raw = path.read_bytes().replace(b"\n", b"\r\n")
                (recipient, *_) = Letter("", raw).header("Delivered-To")
                self._read[path] = Letter(recipient.decode(), raw)
        return list(self._read.values())


def wait_for_letters(room: MailRoom, recipient: str, count: int = 1) -> list[Letter]:
    """Wait until somebody has exactly so many letters."""

    def found() -> list[Letter]:
        return [letter for letter in room.letters() if letter.recipient == recipient]

    wait_until(lambda: len(found()) >= count, f"{count} letters for {recipient}, {len(found())} came")
    letters = found()
    assert len(letters) == count
    return letters


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Look again until something is so, which shows in other processes alone."""
    deadline = time.monotonic() + _DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(_RETRY_S)
