"""Our own STARTTLS with a backend that wants one; must not let anything heard before TLS through."""

from collections.abc import Sequence
from typing import Final, assert_never

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Hangup, StartTls, ToBackend, UpgradeAction
from tlsproxy.protocols.imap.responses import UNTAGGED, Passing, Response, ResponseReader, unfit_greeting

_TAG: Final = b"T1"
# More than any server says between its greeting and its go-ahead.
_UNTAGGED_LINES: Final = 16


class ImapUpgrade:
    """Greeting, ``T1 STARTTLS``, go-ahead (RFC 3501 §6.2.1)."""

    __slots__ = ("_is_over", "_reader", "_said", "_untagged")

    def __init__(self) -> None:
        self._reader = ResponseReader()
        self._said = False
        self._untagged = 0
        self._is_over = False

    @property
    def greeting(self) -> bytes:
        """A greeting of our own: the backend's list is to be asked for again under TLS (RFC 3501 §6.2.1)."""
        return b"* OK ready\r\n"

    def from_backend(self, data: bytes) -> Sequence[UpgradeAction]:
        """Take bytes from the backend, in any split."""
        actions: list[UpgradeAction] = []
        if self._is_over:
            return actions
        self._reader.feed(data)
        while not self._is_over and (part := self._reader.read()) is not None:
            action = self._heard(part)
            if action is not None:
                actions.append(action)
            self._is_over = action is not None and not isinstance(action, ToBackend)
        return actions

    def _heard(self, part: Response | Passing | Reason) -> UpgradeAction | None:
        match part:
            case Reason():
                return Hangup(part)
            case Passing():
                return None
            case Response() if not self._said:
                return self._greeted(part)
            case Response(tag=tag) if tag == _TAG:
                return self._answered(part)
            case Response(tag=tag):
                self._untagged += 1
                is_fine = tag == UNTAGGED and self._untagged <= _UNTAGGED_LINES
                return None if is_fine else Hangup(Reason.BACKEND_GARBAGE)
        assert_never(part)

    def _greeted(self, response: Response) -> UpgradeAction:
        reason = unfit_greeting(response)
        if reason is not None:
            return Hangup(reason)
        self._said = True
        return ToBackend(_TAG + b" STARTTLS\r\n")

    def _answered(self, response: Response) -> UpgradeAction:
        # Bytes behind the go-ahead came in clear; whoever put them there wants them read as the server's.
        is_clean = response.condition == b"OK" and not self._reader.rest()
        return StartTls() if is_clean else Hangup(Reason.BACKEND_TLS_FAILED)
