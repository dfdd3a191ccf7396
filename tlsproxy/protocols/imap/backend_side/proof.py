"""Our own login to an IMAP server, to learn whether a password is right; must not keep it longer than it is needed."""

import binascii
from collections.abc import Sequence
from typing import Final, assert_never

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Disproven, Hangup, ProofAction, Proven, ToBackend
from tlsproxy.protocols.imap.capabilities import shown_capabilities
from tlsproxy.protocols.imap.responses import (
    CONTINUATION,
    UNTAGGED,
    Passing,
    Response,
    ResponseReader,
    is_about_credentials,
    unfit_greeting,
)
from tlsproxy.protocols.imap.syntax import CRLF, quoted

_TAG: Final = b"T1"
_LOGOUT: Final = b"T2 LOGOUT" + CRLF
# The longest lines before login are capability lists; those of today stay below 2 KiB.
_LINE_BYTES: Final = 8 * 1024
# A greeting, an answer, and whatever news of the mailbox an old server puts between them.
_TOTAL_BYTES: Final = 64 * 1024
# No old server has a longer one, and none should have to cope with it. Tokens that stand in for passwords fit in.
_CREDENTIAL_BYTES: Final = 4096


class ImapProof:
    """Greeting, LOGIN (RFC 3501 §6.2.3), answer, LOGOUT; AUTHENTICATE PLAIN (RFC 4616) where LOGIN is disabled."""

    __slots__ = ("_has_greeted", "_is_over", "_left_bytes", "_parts", "_password", "_reader", "_user")

    def __init__(self, user: bytes, password: bytes) -> None:
        self._user = user
        self._password = password
        self._reader = ResponseReader(_LINE_BYTES)
        self._left_bytes = _TOTAL_BYTES
        self._parts: list[bytes] = []
        """What is still to be said of the command, each piece behind a ``+`` of the server."""
        self._has_greeted = False
        self._is_over = False

    def from_backend(self, data: bytes) -> Sequence[ProofAction]:
        """Take bytes from the backend, in any split."""
        actions: list[ProofAction] = []
        if self._is_over:
            return actions
        self._reader.feed(data[: self._left_bytes])
        self._left_bytes -= len(data)
        while not self._is_over and (part := self._reader.read()) is not None:
            actions += self._heard(part)
        if self._left_bytes < 0 and not self._is_over:
            actions += self._hangup(Reason.BACKEND_GARBAGE)
        return actions

    def _heard(self, part: Response | Passing | Reason) -> list[ProofAction]:
        match part:
            case Reason():
                return self._hangup(part)
            case Passing():
                return []
            case Response():
                return self._responded(part) if self._has_greeted else self._greeted(part)
        assert_never(part)

    def _responded(self, response: Response) -> list[ProofAction]:
        match response.tag:
            case tag if tag == UNTAGGED:
                # A BYE too: the answer to the command may still stand behind it, and else the server just leaves.
                return self._hangup(Reason.BACKEND_PREAUTH) if response.condition == b"PREAUTH" else []
            case tag if tag == CONTINUATION and self._parts:
                return [ToBackend(self._parts.pop(0))]
            case tag if tag == _TAG:
                return self._answered(response)
            case _:
                return self._hangup(Reason.BACKEND_GARBAGE)

    def _greeted(self, greeting: Response) -> list[ProofAction]:
        reason = unfit_greeting(greeting)
        if reason is not None:
            return self._hangup(reason)
        self._has_greeted = True
        if not _is_sayable(self._user) or not _is_sayable(self._password):
            return self._settled(Disproven())
        # Listed unasked by every server that is new enough to disable LOGIN; to ask the others would cost a round trip.
        is_disabled = b"LOGINDISABLED" in shown_capabilities(greeting.line)
        make = _authenticate if is_disabled else _login
        self._parts = make(self._user, self._password)
        self._user = self._password = b""
        return [ToBackend(self._parts.pop(0))]

    def _answered(self, answer: Response) -> list[ProofAction]:
        match answer.condition:
            case b"OK" if not self._parts:
                return self._settled(Proven())
            case b"NO" if not self._parts and is_about_credentials(answer):
                return self._settled(Disproven())
            # BAD, too: what we say is well-formed, so that the password is not what the server dislikes.
            case b"NO" | b"BAD":
                return self._hangup(Reason.BACKEND_REFUSED)
            case _:
                return self._hangup(Reason.BACKEND_GARBAGE)

    def _settled(self, verdict: Proven | Disproven) -> list[ProofAction]:
        self._forget()
        return [verdict, ToBackend(_LOGOUT)]

    def _hangup(self, reason: Reason) -> list[ProofAction]:
        self._forget()
        return [Hangup(reason)]

    def _forget(self) -> None:
        self._is_over = True
        self._parts = []
        self._user = self._password = b""


def _is_sayable(credential: bytes) -> bool:
    """Whether a server may be asked about it.

    A literal holds no NUL (RFC 3501 §9 CHAR8). An empty password is asked of nobody: where a directory stands behind
    the server, it logs in without authenticating (RFC 4513 §5.1.2).
    """
    return 0 < len(credential) <= _CREDENTIAL_BYTES and b"\0" not in credential


def _login(user: bytes, password: bytes) -> list[bytes]:
    """LOGIN in pieces, with synchronizing literals where a quoted string will not do."""
    parts = [_TAG + b" LOGIN"]
    for value in (user, password):
        text = quoted(value)
        if text is not None:
            parts[-1] += b" " + text
        else:
            parts[-1] += b" {%d}" % len(value) + CRLF
            parts.append(value)
    parts[-1] += CRLF
    return parts


def _authenticate(user: bytes, password: bytes) -> list[bytes]:
    """AUTHENTICATE without an initial response, which older servers do not know (RFC 4959)."""
    message = binascii.b2a_base64(b"\0" + user + b"\0" + password, newline=False)
    return [_TAG + b" AUTHENTICATE PLAIN" + CRLF, message + CRLF]
