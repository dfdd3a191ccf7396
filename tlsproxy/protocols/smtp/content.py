"""Header fields that nobody but us may have written, taken out of a message that passes.

Must not touch anything else: signatures cover header and body (DKIM).
"""

import re
from typing import Final

_CRLF: Final = b"\r\n"
_LINE_END: Final = 2
_LONGEST_NAME: Final = len(b"\r\nAuthentication-Results")
_HELD_BYTES: Final = 4_096
"""How much of a field may wait for its verdict. The authserv-id stands in front, so honest ones never wait long."""
_COMMENT_DEPTH: Final = 6
"""How deep comments may nest before we say that the field cannot be read. Hardly anybody nests them at all."""


def _results() -> re.Pattern[bytes]:
    """What the value of Authentication-Results starts with: ``[CFWS] authserv-id`` (RFC 8601 §2.2)."""
    fold = rb"\r\n[ \t]"
    comment = rb"(?!)"
    for _ in range(_COMMENT_DEPTH):
        comment = rb"\((?:[^()\\\r]|\\[^\r]|" + fold + rb"|" + comment + rb")*+\)"
    quoted = rb'"((?:[^"\\\r]|\\[^\r]|' + fold + rb')*+)"'
    # A token of RFC 2045 §5.1; what follows it is not of the name, whatever it is.
    token = rb"([^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]++)"
    return re.compile(rb"(?:[ \t]|" + fold + rb"|" + comment + rb")*+(?:" + quoted + rb"|" + token + rb")")


_RESULTS: Final = _results()
_NOT_QUOTED: Final = re.compile(rb"\\(.)|\r\n")
# The empty line under the header, or a field that may have to go. Blanks before the colon are obsolete but read by all
# (RFC 5322 §4.5). A name whose colon has not come is notable as well.
_NOTABLE: Final = re.compile(rb"\r\n(?:(\r\n)|(?i:(authentication-results)|x-tlsproxy)[ \t\v\f\0]*+(?::|\Z))")
_FIELD_END: Final = re.compile(rb"\r\n(?=[^ \t])")


class HeaderFilter:
    """Takes content as the Reframer gives it, in any split, and gives it without forged fields.

    Those are Authentication-Results in our name (RFC 8601 §5), or so odd that nobody can say in whose, and X-Tlsproxy.
    The header ends at the first empty line and nowhere else, since some servers read on behind a line that is no field.
    """

    __slots__ = ("_gone", "_held", "_is_begun", "_is_body", "_is_dropping", "_own_id")

    def __init__(self, own_id: bytes) -> None:
        """``own_id`` is our authserv-id, in any case."""
        self._own_id = own_id.lower()
        # What waits for more, with the line end before it. Its first octets may have gone out already.
        self._held = _CRLF
        self._gone = _LINE_END
        self._is_begun = False
        self._is_dropping = False
        self._is_body = False

    def feed(self, data: bytes) -> bytes:
        """Take content; give what of it is to go on. Less than 5 KiB wait, and nothing once the header is over."""
        if self._is_body or not data:
            return data
        if not self._is_begun:
            self._is_begun = True
            if data.startswith((b" ", b"\t")):
                # It would continue the last field that we put before it, in our name. It is no field, so: body.
                self._is_body = True
                return _CRLF + data
        return self._sift(self._held + data)

    def finish(self) -> bytes:
        """What still waits at the end of the content."""
        if self._is_body or self._is_dropping:
            return b""
        # A field that still has no verdict cannot be read.
        end = _LINE_END if _NOTABLE.match(self._held) else len(self._held)
        return self._held[self._gone : end]

    def _sift(self, buffer: bytes) -> bytes:
        kept = []
        position, gone = 0, self._gone
        while True:
            if self._is_dropping:
                end = _FIELD_END.search(buffer, position)
                if end is None:
                    position, gone = max(position, len(buffer) - _LINE_END), len(buffer)
                    break
                position, gone, self._is_dropping = end.start(), end.end(), False
            found = _NOTABLE.search(buffer, position)
            if found is None or found[1] is not None:
                self._is_body = found is not None
                position = len(buffer) if found else _undecided(buffer)
                break
            is_forged = self._is_forged(buffer, found)
            position = found.start()
            if is_forged is None:
                break
            position = found.end()
            if is_forged:
                position = found.start() + _LINE_END
                kept.append(buffer[gone:position])
                self._is_dropping = True
        kept.append(buffer[gone:position])
        self._held, self._gone = buffer[position:], max(gone - position, 0)
        return b"".join(kept)

    def _is_forged(self, buffer: bytes, field: re.Match[bytes]) -> bool | None:
        """Whether the field is one that has to go; None if more of it is needed to tell."""
        if field[0].endswith(b":"):
            if field[2] is None:
                return True
            name = _RESULTS.match(buffer, field.end())
            if name and name.end() < len(buffer):
                return self._is_ours(name)
        is_long = len(buffer) - field.start() > _HELD_BYTES
        return True if is_long or _FIELD_END.search(buffer, field.end()) else None

    def _is_ours(self, name: re.Match[bytes]) -> bool:
        quoted, token = name.groups()
        return self._own_id == (token if quoted is None else _NOT_QUOTED.sub(rb"\1", quoted)).lower()


def _undecided(buffer: bytes) -> int:
    """Where in the buffer starts what may become notable; its end if nothing may."""
    start = buffer.rfind(_CRLF, -_LONGEST_NAME)
    if start >= 0:
        return start
    return len(buffer) - buffer.endswith(b"\r")
