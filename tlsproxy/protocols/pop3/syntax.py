"""How POP3 lines look: commands of the client, answers of the backend; must not know what they lead to."""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from tlsproxy.protocols.lines import without_line_end

CRLF: Final = b"\r\n"

# Every keyword a mail client may open with, or use after login: RFC 1939, RFC 2449 §5, RFC 2595 §4, RFC 5034 §4,
# RFC 6856 §2 and §3, and of the older ones RPOP (RFC 1081), LAST (RFC 1460) and XTND (RFC 1082).
KEYWORDS: Final = frozenset(
    b"APOP AUTH CAPA DELE LANG LAST LIST NOOP PASS QUIT RETR RPOP RSET STAT STLS TOP UIDL USER UTF8 XTND".split()
)

# RFC 1939 §3: a keyword, and arguments behind one space; a password may begin with or hold more spaces (§7, PASS).
_COMMAND: Final = re.compile(rb"([A-Za-z0-9]+)(?: (.*))?", re.DOTALL)
# RFC 4422 §3.1 names a mechanism, RFC 5034 §4 puts the initial response behind it.
_AUTH: Final = re.compile(rb"([A-Za-z0-9_-]{1,20})(?: +(.*))?", re.DOTALL)
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
# RFC 1939 §7, APOP: a name, and an MD5 digest in hexadecimal.
_APOP: Final = re.compile(rb"(.+) [0-9A-Fa-f]{32}")
# RFC 2449 §8: rchar is printable but "/" and "]"; levels are parted by "/".
_ERROR_CODE: Final = re.compile(rb"-ERR +\[([\x21-\x5c\x5e-\x7e]+)\]", re.IGNORECASE)
_STATUS: Final = re.compile(rb"(?:(\+OK\b)|(-ERR\b)|\+(?: |$))", re.IGNORECASE)

END_OF_LIST: Final = b"."  # RFC 1939 §3
EMPTY_RESPONSE: Final = b"="  # RFC 5034 §4: an initial response of no bytes
CANCEL: Final = b"*"  # RFC 5034 §4: the client gives the exchange up


@dataclass(frozen=True, slots=True)
class Command:
    """A client's line, cut in two."""

    verb: bytes
    """In upper case."""
    argument: bytes = field(repr=False)
    """All behind the first space, empty if there is nothing; may be a password."""

    @property
    def is_bare(self) -> bool:
        """Whether nothing but blanks follows the verb."""
        return not self.argument.strip(b" ")

    @property
    def is_printable(self) -> bool:
        """Whether the argument is free of control characters; 8-bit text is for the backend to judge (RFC 6856)."""
        return _CONTROL.search(self.argument) is None


@dataclass(frozen=True, slots=True)
class AuthArgument:
    """What follows AUTH."""

    mechanism: bytes
    """In upper case."""
    response: bytes | None = field(repr=False)
    """The initial response in base64, or ``=``; None if there is none."""

    @property
    def is_well_formed(self) -> bool:
        """Whether the initial response is what RFC 5034 §4 allows."""
        return self.response in {None, EMPTY_RESPONSE} or is_base64(self.response or b"")


class Status(Enum):
    """What an answer's first line says."""

    OK = auto()
    ERROR = auto()
    CONTINUE = auto()  # RFC 5034 §4: "+ " and a challenge
    NONSENSE = auto()


def command(line: bytes) -> Command | None:
    """Read a client's line, its line end stripped; None if it has no keyword."""
    found = _COMMAND.fullmatch(line)
    return Command(found[1].upper(), found[2] or b"") if found else None


def auth_argument(argument: bytes) -> AuthArgument | None:
    """Read what follows AUTH; None if that is no mechanism's name."""
    found = _AUTH.fullmatch(argument.rstrip(b" "))
    return AuthArgument(found[1].upper(), found[2] or None) if found else None


def apop_user(argument: bytes) -> bytes | None:
    """The name in an APOP's arguments; None if they are malformed."""
    found = _APOP.fullmatch(argument)
    return found[1] if found else None


def is_base64(data: bytes) -> bool:
    """Whether every byte belongs to base64, and there is at least one."""
    return _BASE64.fullmatch(data) is not None


def is_sasl_response(line: bytes) -> bool:
    """Whether a client's line may stand inside a SASL exchange: base64, empty, or the cancelling star."""
    return line in {b"", CANCEL} or is_base64(line)


def status(line: bytes) -> Status:
    """Read the first line of an answer (RFC 1939 §3)."""
    found = _STATUS.match(line)
    if found is None:
        return Status.NONSENSE
    if found[1]:
        return Status.OK
    return Status.ERROR if found[2] else Status.CONTINUE


def error_code(line: bytes) -> bytes | None:
    """The response code of a -ERR line in upper case, as ``SYS/TEMP``; None if there is none."""
    found = _ERROR_CODE.match(line)
    return found[1].upper() if found else None


def with_error_code(line: bytes, code: bytes) -> bytes:
    """A -ERR line that has no code, with one put in (RFC 2449 §8)."""
    return line[:4] + b" [" + code + b"]" + line[4:]


def is_between_responses(tail: bytes) -> bool:
    """Whether the last bytes that a logged-in session's backend said end with a whole response.

    The first line of a list looks like a whole response too: POP3 cannot be told apart further without the command.

    Args:
        tail: Empty if the client spoke last.
    """
    if not tail.endswith(b"\n"):
        return False
    last_line = without_line_end(tail).rpartition(b"\n")[2]
    return last_line == END_OF_LIST or status(last_line) in {Status.OK, Status.ERROR}
