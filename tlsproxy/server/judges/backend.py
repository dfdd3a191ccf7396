"""Passwords judged by the old server, by a login over IMAP or POP3; must not know a protocol's text."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from tlsproxy.core.errors import BackendError
from tlsproxy.core.outcome import Reason
from tlsproxy.net.endpoint import Ending, Endpoint, PeerLostError
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.base import Disproven, Hangup, MailProtocol, Proof, ProofAction, Proven, ToBackend
from tlsproxy.server.judges.base import Verdict
from tlsproxy.server.way.way import Arrival, Way

# An old server has few processes, and the mailboxes need them.
_AT_ONCE: Final = 32
# For the answer to our goodbye: to close before it would look like a client that broke off.
_LINGER_S: Final = 1.0


class ServerJudge:
    """Logs in to a backend with what the client gave, and out again; asks once, whatever the answer."""

    __slots__ = ("_deadline_s", "_places", "_plane", "_protocol", "_tell", "_way")

    def __init__(
        self,
        way: Way,
        plane: Plane,
        protocol: MailProtocol,
        *,
        deadline_s: float,
        tell: Callable[[BackendError], None],
        at_once: int = _AT_ONCE,
    ) -> None:
        """Prepare to ask.

        Args:
            way: To the backend; its health is told of every failure to connect.
            plane: Who watches the connections.
            protocol: What the backend speaks.
            deadline_s: Seconds for one verdict, waiting for a place included.
            tell: Called with the reason for each UNAVAILABLE, for the log.
            at_once: How many logins there are at the same time.
        """
        self._way = way
        self._plane = plane
        self._protocol = protocol
        self._deadline_s = deadline_s
        self._tell = tell
        self._places = asyncio.Semaphore(at_once)

    async def judge(self, user: bytes, password: bytes, client_key: bytes) -> Verdict:
        """See PasswordJudge."""
        try:
            return await self._in_time(self._protocol.make_proof(user, password), client_key)
        except BackendError as error:
            self._tell(error)
            return Verdict.UNAVAILABLE

    async def _in_time(self, proof: Proof, client: bytes) -> Verdict:
        if self._way.is_down():
            raise BackendError(Reason.BACKEND_DOWN, "known to be down")
        try:
            async with asyncio.timeout(self._deadline_s) as deadline, self._places:
                arrival = await self._way.connect(self._plane, client, self._protocol.make_upgrade)
                try:
                    verdict = await _verdict(arrival, proof)
                    deadline.reschedule(None)  # the verdict stands; what is left is to go
                    await arrival.endpoint.part(_LINGER_S)
                finally:
                    arrival.endpoint.close()
                return verdict
        except TimeoutError as error:
            raise BackendError(Reason.BACKEND_TIMEOUT, "no verdict on a password within the deadline") from error
        except PeerLostError as error:
            is_internal = error.ending is Ending.INTERNAL
            reason = Reason.INTERNAL_ERROR if is_internal else Reason.BACKEND_RESET
            raise BackendError(reason, f"{error.ending} before the verdict on a password") from error


async def _verdict(arrival: Arrival, proof: Proof) -> Verdict:
    """Talk until the backend has said yes or no.

    Raises:
        BackendError: It says neither.
        PeerLostError: The connection broke.
    """
    data = arrival.greeting or await arrival.endpoint.receive()
    while data:
        verdict = _perform(proof.from_backend(data), arrival.endpoint)
        if verdict is not None:
            return verdict
        data = await arrival.endpoint.receive()
    raise BackendError(Reason.BACKEND_CLOSED, "closed before the verdict on a password")


def _perform(actions: Sequence[ProofAction], backend: Endpoint) -> Verdict | None:
    verdict: Verdict | None = None
    for action in actions:
        match action:
            case ToBackend(data=data):
                backend.push(data)
            case Proven():
                verdict = Verdict.OK
            case Disproven():
                verdict = Verdict.WRONG
            case Hangup(reason=reason):
                raise BackendError(reason, "no verdict on a password: the backend's answer is neither yes nor no")
            case _:
                assert_never(action)
    return verdict
