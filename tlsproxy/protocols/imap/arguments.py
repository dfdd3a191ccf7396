"""What may follow each command's name before login, one small reader per shape; must not keep a password.

A reader takes tokens one by one and says which it cannot take, so that a command is judged before its literals are
asked for.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from tlsproxy.protocols.imap.syntax import Token, TokenKind, first_of_two_strings, quoted
from tlsproxy.protocols.sasl import SaslUser

# RFC 4422 §3.1 sasl-mech.
_MECHANISM: Final = re.compile(rb"[A-Za-z0-9_-]{1,20}")
# RFC 4648 §4, and "=" alone for an empty initial response (RFC 4959 §3).
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_EMPTY_RESPONSE: Final = b"="
# RFC 2971.
_KEY_BYTES: Final = 30
_VALUE_BYTES: Final = 1024
_PAIRS: Final = 30
# What the proxy itself tells a backend that trusts it; a client must not be able to say it.
_RESERVED: Final = b"x-"
_FOR_THE_LOG: Final = (b"name", b"version", b"vendor", b"os")
_CLIENT_ID_BYTES: Final = 80


class Arguments(Protocol):
    """The arguments of one command."""

    @property
    def expects_string(self) -> bool:
        """Whether a literal may come next."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the command may end here."""
        ...

    def take(self, token: Token) -> bool:
        """Take the next token; False if it must not stand here, after which the command is malformed."""
        ...


class NoArguments:
    """CAPABILITY, NOOP, LOGOUT (RFC 3501 §6.1)."""

    __slots__ = ()
    expects_string: Final = False
    is_complete: Final = True

    def take(self, _token: Token) -> bool:
        """Nothing may follow."""
        return False


class LoginArguments:
    """``SP userid SP password``, both astrings (RFC 3501 §6.2.3); only the first is kept."""

    __slots__ = ("_taken", "is_complete", "user")
    mechanism: Final = b"LOGIN"
    _TOKENS: Final = 4

    def __init__(self) -> None:
        self._taken = 0
        self.is_complete = False
        """Whether user and password are both there."""
        self.user: bytes | None = None

    @property
    def expects_string(self) -> bool:
        """A string stands at every second place."""
        return self._taken in {1, 3}

    @property
    def expects_user(self) -> bool:
        """Whether the next string is the user."""
        return self._taken == 1

    @property
    def is_past_user(self) -> bool:
        """Whether whatever comes next, well-formed or not, is meant as the password."""
        return self._taken >= self._TOKENS - 1

    def take_both(self, text: bytes) -> bool:
        """Take all at one look, as a line without literals has it; False, and nothing is taken, if this is none."""
        user = None if self._taken else first_of_two_strings(text)
        if user is None:
            return False
        self.user, self._taken, self.is_complete = user, self._TOKENS, True
        return True

    def take(self, token: Token) -> bool:
        """Take a space or a string where it is due; RFC 3501 §9: a literal has no NUL."""
        is_due = token.is_string if self.expects_string else token.kind is TokenKind.SPACE
        if self.is_complete or not is_due or b"\0" in token.value:
            return False
        if self.expects_user:
            self.user = token.value
        self._taken += 1
        self.is_complete = self._taken == self._TOKENS
        return True


class AuthenticateArguments:
    """``SP mechanism [SP initial-response]`` (RFC 3501 §6.2.2, RFC 4959 §3); the response is only looked at."""

    __slots__ = ("_sasl", "_taken", "has_response", "mechanism")
    expects_string: Final = False

    def __init__(self) -> None:
        self._taken = 0
        self._sasl: SaslUser | None = None
        self.mechanism = b""
        self.has_response = False
        """Whether an initial response came that is not empty."""

    @property
    def user(self) -> bytes | None:
        """Who logs in, as far as it is known yet."""
        return self._sasl.user if self._sasl else None

    @property
    def is_complete(self) -> bool:
        """Whether a mechanism is there, with or without a response."""
        return self._taken in {2, 4}

    def take(self, token: Token) -> bool:
        """Take a space, the mechanism, a space, the response."""
        match self._taken, token.kind:
            case 0 | 2, TokenKind.SPACE:
                is_taken = True
            case 1, TokenKind.ATOM if _MECHANISM.fullmatch(token.value):
                self.mechanism, self._sasl = token.value.upper(), SaslUser(token.value)
                is_taken = True
            case 3, TokenKind.ATOM if is_base64(token.value):
                self.has_response = token.value != _EMPTY_RESPONSE
                self.see(token.value)
                is_taken = True
            case _:
                is_taken = False
        self._taken += is_taken
        return is_taken

    def see(self, response: bytes) -> None:
        """Look at a client response for the user's name."""
        if self._sasl:
            self._sasl.see(response)


class IdArguments:
    """``SP NIL`` or ``SP ( string nstring ... )`` (RFC 2971)."""

    __slots__ = ("_is_open", "_strings", "_taken", "is_complete")

    def __init__(self) -> None:
        self._taken = 0
        self._is_open = False
        self._strings: list[bytes | None] = []
        self.is_complete = False

    @property
    def expects_string(self) -> bool:
        """Strings stand between the parentheses."""
        return self._is_open

    def take(self, token: Token) -> bool:
        """Take the next token; spaces between the strings may be missing or many, for the list is written anew."""
        self._taken += 1
        if self._taken == 1:
            return token.kind is TokenKind.SPACE
        if self._is_open:
            return token.kind is TokenKind.SPACE or self._take_inside(token)
        self._is_open = self._taken == 2 and token.kind is TokenKind.OPEN  # noqa: PLR2004 - behind the space
        self.is_complete = self._taken == 2 and _is_nil(token)  # noqa: PLR2004 - same
        return self._is_open or self.is_complete

    def _take_inside(self, token: Token) -> bool:
        is_key = len(self._strings) % 2 == 0
        if token.kind is TokenKind.CLOSE:
            self._is_open, self.is_complete = False, is_key
            return is_key
        if _is_nil(token):
            self._strings.append(None)
            return not is_key
        self._strings.append(token.value)
        is_short = len(token.value) <= (_KEY_BYTES if is_key else _VALUE_BYTES)
        return token.is_string and token.kind is not TokenKind.ATOM and is_short and len(self._strings) <= 2 * _PAIRS

    def pairs(self) -> list[tuple[bytes, bytes | None]]:
        """Keys and values, without those that only the proxy may say."""
        keys = (key or b"" for key in self._strings[::2])
        return [(k, v) for k, v in zip(keys, self._strings[1::2], strict=True) if not k.lower().startswith(_RESERVED)]

    def line(self) -> bytes:
        """The arguments written anew, without literals; what no quoted string can hold becomes NIL."""
        written = [(quoted(key), None if value is None else quoted(value)) for key, value in self.pairs()]
        inside = b" ".join(key + b" " + (value or b"NIL") for key, value in written if key)
        return b"(" + inside + b")" if inside else b"NIL"

    def client_id(self) -> bytes:
        """Name, version, vendor and system of the client for the log, at most 80 bytes."""
        known = {key.lower(): value for key, value in self.pairs()}
        return b" ".join(known[key] or b"" for key in _FOR_THE_LOG if known.get(key))[:_CLIENT_ID_BYTES]


def is_base64(response: bytes) -> bool:
    """Whether a client response is base64, the empty one included."""
    return _BASE64.fullmatch(response) is not None


def _is_nil(token: Token) -> bool:
    return token.kind is TokenKind.ATOM and token.value.upper() == b"NIL"


ARGUMENTS: Final[Mapping[bytes, Callable[[], Arguments]]] = MappingProxyType(
    {
        b"CAPABILITY": NoArguments,
        b"NOOP": NoArguments,
        b"LOGOUT": NoArguments,
        b"STARTTLS": NoArguments,
        b"ID": IdArguments,
        b"LOGIN": LoginArguments,
        b"AUTHENTICATE": AuthenticateArguments,
    }
)
"""Every command that makes sense before login; all but STARTTLS may reach the backend."""
