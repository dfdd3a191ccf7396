"""What a client said and nobody took yet, cut into command lines; must not read meaning into them."""

import re
from enum import StrEnum
from typing import Final

from tlsproxy.protocols.lines import LineBuffer

_CRLF: Final = b"\r\n"
_AUTH: Final = b"AUTH "
_TLS_HANDSHAKE: Final = b"\x16"  # RFC 8446 §5.1
_BARE: Final = re.compile(rb"[\r\n\0]")


class LineFault(StrEnum):
    """Why a line is none that can be answered by its meaning."""

    TOO_LONG = "too_long"
    SASL_TOO_LONG = "sasl_too_long"
    TLS = "tls"
    """The head of a TLS record, which need not hold a line end."""
    BARE_NEWLINE = "bare_newline"
    """A CR or LF that is not CRLF, or a NUL."""


class CommandReader:
    """Cuts a client's bytes into lines, whatever the split they arrive in.

    Only CRLF ends a line (RFC 5321 §2.3.8). A bare LF ends a faulty one, so that a client which knows no other is told
    so. The rest of a line that is too long is dropped as it comes.
    """

    __slots__ = ("_is_skipping", "_limit_bytes", "_pending", "_sasl_limit_bytes")

    def __init__(self, limit_bytes: int, sasl_limit_bytes: int | None = None) -> None:
        """Take the bounds.

        Args:
            limit_bytes: The longest command line, CRLF included.
            sasl_limit_bytes: The same for AUTH and for the lines of its exchange (RFC 4954 §4); None for no more
                than others.
        """
        self._limit_bytes = limit_bytes
        self._sasl_limit_bytes = sasl_limit_bytes or limit_bytes
        self._pending = LineBuffer()
        self._is_skipping = False

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._pending)

    def feed(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._pending.feed(data)

    def take(self, *, is_sasl: bool = False) -> bytes | LineFault | None:
        """Take one whole line, without its CRLF; None if there is none yet.

        Args:
            is_sasl: Whether the line belongs to an exchange that AUTH began.
        """
        if self._is_skipping and not self._skip():
            return None
        if self._pending.starts_with(_TLS_HANDSHAKE):
            return LineFault.TLS
        is_long = is_sasl or self._pending.starts_with(_AUTH)
        if self._pending.is_over(self._sasl_limit_bytes if is_long else self._limit_bytes):
            self._is_skipping = True
            return LineFault.SASL_TOO_LONG if is_long else LineFault.TOO_LONG
        line = self._pending.line()
        if line is None:
            return None
        whole = line.removesuffix(_CRLF)
        return LineFault.BARE_NEWLINE if _BARE.search(whole) else whole

    def rest(self) -> bytes:
        """Take everything unread."""
        return self._pending.take(len(self._pending))

    def _skip(self) -> bool:
        """Drop the rest of a line that was too long; whether its end has come."""
        self._is_skipping = self._pending.line() is None
        if self._is_skipping:
            self._pending.take(len(self._pending))
        return not self._is_skipping
