"""One command that the backend may see before login, and what its answer will mean; must not hold a password."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tlsproxy.protocols.base import LoginFailed
from tlsproxy.protocols.pop3.syntax import (
    CANCEL,
    Command,
    apop_user,
    auth_argument,
    error_code,
    with_error_code,
)
from tlsproxy.protocols.sasl import SaslUser, is_bound_to_channel

_WRONG_PASSWORD: Final = b"AUTH"  # RFC 3206 §5
# First levels of the codes that say that the password was not the cause (RFC 2449 §8.1, RFC 3206 §4). A code that
# nobody registered counts as a wrong password: else a server with a tag of its own in each -ERR had no limit.
_NO_CREDENTIAL_CODES: Final = frozenset({b"SYS", b"IN-USE", b"LOGIN-DELAY"})


@dataclass(slots=True)
class Attempt:
    """What the client asked for."""

    verb: bytes
    named_user: bytes | None = None
    sasl_mechanism: bytes = b""
    exchange: SaslUser | None = None
    has_responded: bool = False
    """Whether the client has said anything in the exchange that the backend can judge."""
    is_cancelled: bool = False

    @property
    def user(self) -> bytes | None:
        """Who logs in, as far as it is known."""
        return self.exchange.user if self.exchange else self.named_user

    @property
    def mechanism(self) -> str:
        """For the log: the SASL mechanism, else the command itself."""
        return (self.sasl_mechanism or self.verb).decode("ascii")

    @property
    def is_bound_to_channel(self) -> bool:
        """Whether the backend would look at its own channel instead of the client's."""
        return self.is_exchange and is_bound_to_channel(self.sasl_mechanism)

    @property
    def is_exchange(self) -> bool:
        """Whether challenges and responses follow (RFC 5034 §4)."""
        return bool(self.sasl_mechanism)

    @property
    def is_login(self) -> bool:
        """Whether a yes logs in."""
        return self.is_exchange or self.verb in {b"PASS", b"APOP"}

    @property
    def is_judged(self) -> bool:
        """Whether a no is a failed login.

        It is not where the client gave up, or where the backend did not even know the mechanism: clients try one after
        the other, and must not run into the limit on failed logins by that.
        """
        if self.is_exchange:
            return self.has_responded and not self.is_cancelled
        return self.verb in {b"USER", b"PASS", b"APOP"}

    def see(self, response: bytes) -> None:
        """Look at a client's line of the exchange."""
        self.has_responded = True
        self.is_cancelled = self.is_cancelled or response == CANCEL
        if self.exchange:
            self.exchange.see(response)

    def failure(self, line: bytes) -> tuple[bytes, LoginFailed]:
        """Read the backend's no.

        Args:
            line: Its -ERR line, without line end.

        Returns:
            The line for the client, with [AUTH] where the backend gave a login no code, and the event.
        """
        code = error_code(line)
        failed = LoginFailed(
            user=self.user,
            mechanism=self.mechanism,
            is_credential=is_about_credentials(line),
        )
        return (with_error_code(line, _WRONG_PASSWORD) if code is None and self.is_login else line), failed


def is_about_credentials(line: bytes) -> bool:
    """Whether a -ERR to a login means the user or the password; one without a code does."""
    code = error_code(line)
    return code is None or code.partition(b"/")[0] not in _NO_CREDENTIAL_CODES


def attempt(said: Command, user: bytes | None) -> Attempt | None:
    """What a command attempts; None if it is malformed or has no place before login.

    Args:
        said: The client's command.
        user: Of the USER command that the backend has accepted.
    """
    read = _READERS.get(said.verb)
    return read(said, user) if read and said.is_printable else None


def _bare(said: Command, _user: bytes | None) -> Attempt | None:
    return Attempt(said.verb) if said.is_bare else None


def _user(said: Command, _user: bytes | None) -> Attempt | None:
    return None if said.is_bare else Attempt(said.verb, said.argument)


def _pass(said: Command, user: bytes | None) -> Attempt | None:
    return Attempt(said.verb, user) if said.argument else None


def _apop(said: Command, _user: bytes | None) -> Attempt | None:
    name = apop_user(said.argument)
    return Attempt(said.verb, name) if name else None


def _auth(said: Command, _user: bytes | None) -> Attempt | None:
    if said.is_bare:
        return Attempt(said.verb)  # old clients ask so for a list of mechanisms
    auth = auth_argument(said.argument)
    if auth is None or not auth.is_well_formed:
        return None
    attempted = Attempt(said.verb, sasl_mechanism=auth.mechanism, exchange=SaslUser(auth.mechanism))
    if auth.response is not None:
        attempted.see(auth.response)
    return attempted


_READERS: Final[Mapping[bytes, Callable[[Command, bytes | None], Attempt | None]]] = MappingProxyType(
    {
        b"CAPA": _bare,
        b"NOOP": _bare,
        b"QUIT": _bare,
        b"USER": _user,
        b"PASS": _pass,
        b"APOP": _apop,
        b"AUTH": _auth,
    }
)
