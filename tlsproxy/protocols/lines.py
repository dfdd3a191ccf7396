"""Bytes in, lines out: the one buffer under every dialogue; knows no protocol and keeps nothing it handed out."""

from typing import Final

_LF: Final = b"\n"


class LineBuffer:
    """Cuts a byte stream into lines and counted runs, whatever the split it arrives in.

    A line ends at LF; a CR before it belongs to the line end, so that bare-LF clients work. The caller bounds the
    buffer by looking at ``is_over`` after every feed.
    """

    __slots__ = ("_data", "_scanned", "is_exceeded")

    def __init__(self) -> None:
        self._data = bytearray()
        self._scanned = 0
        self.is_exceeded = False
        """Whether ``next_line`` last found none because the limit was reached."""

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._data += data

    def line(self) -> bytes | None:
        """Take one whole line, its line end included; None if there is none yet."""
        end = self._data.find(_LF, self._scanned)
        if end < 0:
            self._scanned = len(self._data)
            return None
        return self.take(end + 1)

    def next_line(self, limit_bytes: int) -> bytes | None:
        """Take one whole line, its line end removed; None if there is none yet, or if it is over the limit.

        Args:
            limit_bytes: How long the line may be, line end included; ``is_exceeded`` tells whether it is longer.
        """
        end = self._data.find(_LF, self._scanned, limit_bytes)
        if end < 0:
            self._scanned = min(len(self._data), limit_bytes)
            self.is_exceeded = self._scanned == limit_bytes
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._scanned = 0
        return line.removesuffix(b"\r")

    def take(self, size: int) -> bytes:
        """Take up to ``size`` bytes, whatever they are."""
        taken = bytes(self._data[:size])
        del self._data[:size]
        self._scanned = 0
        return taken

    def rest(self) -> bytes:
        """Take everything."""
        taken = bytes(self._data)
        self._data.clear()
        self._scanned = 0
        return taken

    def starts_with(self, word: bytes) -> bool:
        """Whether the bytes that wait begin with a word, whatever its case.

        Args:
            word: In upper case.
        """
        return self._data[: len(word)].upper() == word

    def is_over(self, limit_bytes: int) -> bool:
        """Whether the line at the head, complete or not, is longer than the limit, line end included."""
        end = self._data.find(_LF, 0, limit_bytes)
        return end < 0 and len(self._data) >= limit_bytes


def without_line_end(line: bytes) -> bytes:
    """The line without its LF or CRLF."""
    return line[:-2] if line.endswith(b"\r\n") else line.removesuffix(_LF)
