"""The server's side of AUTH PLAIN and AUTH LOGIN (RFC 4954, RFC 4616); must not judge a password, nor keep one."""

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from tlsproxy.protocols.base import PasswordExposed
from tlsproxy.protocols.sasl import SaslUser, gives_secret_away, known_mechanism
from tlsproxy.protocols.smtp.answers import (
    CANCELLED,
    MALFORMED_RESPONSE,
    UNKNOWN_MECHANISM,
    WRONG_PASSWORD,
)
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.steps import Credentials

# RFC 4422 §3.1 names a mechanism, RFC 4954 §4 puts the initial response behind it.
_ARGUMENT: Final = re.compile(rb"([A-Za-z0-9_-]{1,20})(?: +(.*))?", re.DOTALL)
_CANCEL: Final = b"*"  # RFC 4954 §4
_EMPTY_RESPONSE: Final = b"="  # RFC 4954 §4
# What a draft that never became an RFC made every client expect.
_USER_NAME: Final = binascii.b2a_base64(b"Username:", newline=False)
_PASSWORD: Final = binascii.b2a_base64(b"Password:", newline=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """Said to the client behind 334."""

    text: bytes
    """In base64."""


@dataclass(frozen=True, slots=True)
class AuthArgument:
    """What follows AUTH."""

    mechanism: bytes
    """In upper case."""
    response: bytes | None
    """The initial response in base64, as it was sent; None if there is none."""

    def __repr__(self) -> str:
        """Without the response, which may hold a password."""
        return f"AuthArgument({self.mechanism!r})"


def auth_argument(argument: bytes) -> AuthArgument | None:
    """Read what follows AUTH; None if that is no mechanism's name."""
    found = _ARGUMENT.fullmatch(argument)
    return AuthArgument(found[1].upper(), found[2] or None) if found else None


def exposure(argument: AuthArgument) -> PasswordExposed | None:
    """What an AUTH without TLS gave away; None if there was no response in it, or only a proof."""
    if argument.response in {None, _EMPTY_RESPONSE} or not gives_secret_away(argument.mechanism):
        return None
    seen = SaslUser(argument.mechanism)
    seen.see(argument.response)
    return PasswordExposed(user=seen.user, mechanism=known_mechanism(argument.mechanism.decode("ascii")))


class AuthExchange:
    """One exchange, from AUTH to a user and a password."""

    __slots__ = ("_mechanism", "_mechanisms", "_user")

    def __init__(self, mechanisms: Sequence[bytes]) -> None:
        """Take the mechanisms that are offered, in upper case."""
        self._mechanisms = mechanisms
        self._mechanism = b""
        self._user: bytes | None = None  # of LOGIN

    def begin(self, argument: AuthArgument) -> Challenge | Credentials | Reply:
        """Take what followed AUTH; a Reply is a refusal and ends the exchange."""
        self._mechanism = argument.mechanism
        if self._mechanism not in self._mechanisms or self._mechanism not in self._READERS:
            return UNKNOWN_MECHANISM
        if argument.response is None:
            return Challenge(_USER_NAME if self._mechanism == b"LOGIN" else b"")
        return self._read(b"" if argument.response == _EMPTY_RESPONSE else argument.response)

    def answer(self, line: bytes) -> Challenge | Credentials | Reply:
        """Take the client's next line; a Reply is a refusal and ends the exchange."""
        return CANCELLED if line == _CANCEL else self._read(line)

    def _read(self, response: bytes) -> Challenge | Credentials | Reply:
        try:
            message = binascii.a2b_base64(response, strict_mode=True)
        except binascii.Error:
            return MALFORMED_RESPONSE
        return self._READERS[self._mechanism](self, message)

    def _plain(self, message: bytes) -> Credentials | Reply:
        fields = message.split(b"\0")
        if len(fields) != 3:  # noqa: PLR2004 - authzid NUL authcid NUL passwd, RFC 4616 §2
            return MALFORMED_RESPONSE
        acts_as, user, password = fields
        return self._credentials(user, password) if acts_as in {b"", user} else WRONG_PASSWORD

    def _login(self, message: bytes) -> Challenge | Credentials | Reply:
        if b"\0" in message:  # it could not be replayed as PLAIN
            return MALFORMED_RESPONSE
        if self._user is None:
            self._user = message
            return Challenge(_PASSWORD)
        return self._credentials(self._user, message)

    def _credentials(self, user: bytes, password: bytes) -> Credentials | Reply:
        """An empty password is wrong: some judges take it for an anonymous login."""
        if not user or not password:
            return WRONG_PASSWORD
        return Credentials(self._mechanism.decode("ascii"), user, password)

    _READERS: ClassVar[Mapping[bytes, Callable[["AuthExchange", bytes], Challenge | Credentials | Reply]]] = {
        b"PLAIN": _plain,
        b"LOGIN": _login,
    }
