"""Between TLS and authenticated: only whole, well-formed commands reach the backend; must not keep a password."""

from collections.abc import Sequence
from typing import Final, assert_never

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import (
    DialogueLimits,
    Hangup,
    LoggedIn,
    LoginAction,
    LoginFailed,
    ToBackend,
    ToClient,
)
from tlsproxy.protocols.imap.arguments import AuthenticateArguments, LoginArguments
from tlsproxy.protocols.imap.capabilities import filter_capabilities, shown_capabilities, sift
from tlsproxy.protocols.imap.client_side import ClientSide, farewell
from tlsproxy.protocols.imap.command import OpenCommand
from tlsproxy.protocols.imap.responses import (
    CONTINUATION,
    UNTAGGED,
    Passing,
    Response,
    ResponseReader,
    is_about_credentials,
    unfit_greeting,
    with_failure_code,
)
from tlsproxy.protocols.imap.syntax import CRLF
from tlsproxy.protocols.replies import coded, imap_parting, refusal

# A tagged NO without a code looks like a wrong password (RFC 5530 §3).
_BLAMELESS_CODE: Final = "UNAVAILABLE"
_ANSWERS: Final = frozenset({b"OK", b"NO", b"BAD"})


class ImapLogin:
    """The dialogue from the end of the client's handshake to the backend's yes.

    One command is under way at a time; what the client says meanwhile waits.
    """

    __slots__ = (
        "_client",
        "_failures",
        "_has_parted",
        "_is_over",
        "_limits",
        "_passes_greeting",
        "_reader",
        "is_greeted",
        "wants_client",
    )

    def __init__(self, limits: DialogueLimits, greeting_passes: bool) -> None:  # noqa: FBT001 - MailProtocol.make_login
        self._limits = limits
        self._passes_greeting = greeting_passes
        self.is_greeted = False
        """Whether the backend's greeting is complete."""
        self.wants_client = True
        """Whether client bytes are useful now."""
        self._reader = ResponseReader()
        self._client = ClientSide(limits)
        self._failures = 0
        self._is_over = False
        self._has_parted = False
        """Whether the client has been told goodbye, or is no longer ours to tell."""

    def from_client(self, data: bytes) -> Sequence[LoginAction]:
        """Take bytes from the client, in any split; kept until the backend has greeted."""
        if self._is_over:
            return []
        self._client.intake.feed(data)
        actions = self._hear_client()
        # Bytes beyond the total are lost, so nothing may come of those before them that waits.
        if self._client.intake.is_exceeded and not self._is_over:
            end = farewell(Reason.TOO_MUCH_BEFORE_LOGIN)
            actions += self._noted(end[-1:] if self._reader.is_inside else end)
            self.wants_client = False
        return actions

    def from_backend(self, data: bytes) -> Sequence[LoginAction]:
        """Take bytes from the backend, in any split."""
        actions: list[LoginAction] = []
        if self._is_over:
            return actions
        self._reader.feed(data)
        while not self._is_over and (part := self._reader.read()) is not None:
            actions += self._hear_backend(part)
            actions += self._hear_client()
        return actions

    def try_again(self) -> bool:
        """Make ready for a new backend connection; False if the old one took something with it or said goodbye."""
        if self._is_over or self._has_parted or self._client.is_sent or self._reader.is_inside:
            return False
        self._passes_greeting = self._passes_greeting and not self.is_greeted
        self.is_greeted = False
        self.wants_client = True
        self._reader = ResponseReader()
        self._client.capabilities = frozenset()
        return True

    def parting(self, reason: Reason, why: str) -> bytes:
        """A tagged NO for the command that waits, if one does, and an untagged BYE (RFC 3501 §7.1.5)."""
        if self._reader.is_inside or (self._has_parted and self._is_over):
            return b""
        bye = b"" if self._has_parted else imap_parting(reason, why)
        command = self._client.command
        tag = command.tag if command else self._client.intake.waiting_tag()
        is_greeting_due = self._passes_greeting and not self.is_greeted
        if tag is None or is_greeting_due:
            return bye
        return tag + b" NO " + coded(refusal(reason).imap_code or _BLAMELESS_CODE, why) + CRLF + bye

    def _hear_client(self) -> list[LoginAction]:
        """Read what the client has said while it is its turn, and settle whose turn it is then."""
        actions: list[LoginAction] = []
        while True:
            # Never inside a response, where an answer of ours would cut it in two.
            is_turn = self.is_greeted and not self._is_over and not self._reader.is_inside and self._client.is_awaited
            more = self._client.step() if is_turn else None
            if more is None:
                self.wants_client = is_turn or not (self.is_greeted or self._is_over)
                return actions
            actions += self._noted(more)

    def _hear_backend(self, part: Response | Passing | Reason) -> list[LoginAction]:
        match part:
            case Response():
                return self._hear_response(part) if self.is_greeted else self._hear_greeting(part)
            case Passing(data=data):
                return [ToClient(data)]
            case Reason():
                return self._fail(part)
        assert_never(part)

    def _hear_greeting(self, response: Response) -> list[LoginAction]:
        match unfit_greeting(response):
            case None:
                self.is_greeted = True
                passed = self._passed(response)
                return [passed] if self._passes_greeting else []
            case Reason.BACKEND_REFUSED:
                self._has_parted = True
                return [self._passed(response), *self._fail(Reason.BACKEND_REFUSED)]
            case reason:
                return self._fail(reason)

    def _hear_response(self, response: Response) -> list[LoginAction]:
        if response.tag == UNTAGGED:
            return self._hear_untagged(response)
        if response.tag == CONTINUATION and self._client.continued():
            return [self._passed(response)]
        command = self._client.command
        if command and response.tag == command.tag and response.condition in _ANSWERS:
            return self._hear_answer(response, command)
        return self._fail(Reason.BACKEND_GARBAGE)

    def _hear_untagged(self, response: Response) -> list[LoginAction]:
        if response.condition == b"PREAUTH":
            return self._fail(Reason.BACKEND_PREAUTH)
        self._has_parted = self._has_parted or response.condition == b"BYE"
        return [self._passed(response)]

    def _hear_answer(self, response: Response, command: OpenCommand) -> list[LoginAction]:
        if not self._client.may_be_answered(response.condition):
            return self._fail(Reason.BACKEND_GARBAGE)
        is_cancelled = self._client.is_cancelled
        self._client.end()
        match command.arguments:
            case (LoginArguments() | AuthenticateArguments()) as login:
                return self._judge(response, login, is_cancelled=is_cancelled)
            case _ if command.name == b"LOGOUT":
                self._is_over = self._has_parted = True
                return [self._passed(response), Hangup(Reason.LOGGED_OUT)]
            case _:
                return [self._passed(response)]

    def _judge(
        self, response: Response, login: LoginArguments | AuthenticateArguments, *, is_cancelled: bool
    ) -> list[LoginAction]:
        mechanism = login.mechanism.decode("ascii")
        match response.condition:
            case b"OK":
                return [self._passed(response), LoggedIn(user=login.user, mechanism=mechanism), *self._let_go()]
            case _ if is_cancelled:
                return [self._passed(response)]
            case b"NO":
                is_credential = is_about_credentials(response)
                self._client.capabilities |= shown_capabilities(response.line)
                failed = LoginFailed(user=login.user, mechanism=mechanism, is_credential=is_credential)
                answer = filter_capabilities(with_failure_code(response)) + CRLF
                self._failures += is_credential
                is_enough = self._failures >= self._limits.failed_logins
                return [ToClient(answer), failed, *(self._noted(farewell(Reason.LOGIN_FAILURES)) if is_enough else [])]
            case _:
                return [self._passed(response), *self._noted(self._client.count_bad())]

    def _let_go(self) -> list[LoginAction]:
        """The first bytes of the relay: what either side said behind the login."""
        self._is_over = self._has_parted = True
        heard, waiting = self._reader.rest(), self._client.intake.rest()
        to_client: list[LoginAction] = [ToClient(heard)] if heard else []
        to_backend: list[LoginAction] = [ToBackend(waiting)] if waiting else []
        return to_client + to_backend

    def _noted(self, actions: list[LoginAction]) -> list[LoginAction]:
        """Take note of a goodbye of ours, which is the last of the actions if it is there."""
        if actions and isinstance(actions[-1], Hangup):
            self._is_over = self._has_parted = True
        return actions

    def _fail(self, reason: Reason) -> list[LoginAction]:
        """End because of the backend; what the client is owed is for ``parting``."""
        self._is_over = True
        return [Hangup(reason)]

    def _passed(self, response: Response) -> ToClient:
        """The response as the client may see it; what it says of the backend is kept in mind."""
        line, shown = sift(response.line)
        if shown:
            self._client.capabilities |= shown
        return ToClient(line + CRLF)
