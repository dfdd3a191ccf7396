"""The login phase: a client, a backend and the Login between them; must not know a protocol's text."""

import time
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from tlsproxy.core.errors import BackendError
from tlsproxy.core.outcome import Reason
from tlsproxy.net.clocks.deadlines import Deadline
from tlsproxy.net.endpoint import Ending, Endpoint, PeerLostError
from tlsproxy.net.plane import Rest
from tlsproxy.net.relay import ASKED_BYTES, TAIL_BYTES
from tlsproxy.protocols.base import (
    ClientIdentified,
    Hangup,
    LoggedIn,
    Login,
    LoginAction,
    LoginFailed,
    ToBackend,
    ToClient,
)
from tlsproxy.server.chronicle import Observation
from tlsproxy.server.ending import SessionEndedError

# A client that closed its side gets the answer to what it said before, if it comes soon.
_PATIENCE_S: Final = 5.0


class Exchange:
    """Feeds a Login from both sides and does what it says, until somebody is logged in or gone."""

    __slots__ = (
        "_answer_limit_s",
        "_backend",
        "_client",
        "_deadline",
        "_hangup",
        "_is_asked",
        "_is_busy",
        "_is_client_wanted",
        "_is_greeting_awaited",
        "_is_logged_in",
        "_login",
        "_observe",
        "_patience",
        "_rest",
        "asked",
        "tail",
    )

    def __init__(
        self,
        rest: Rest,
        client: Endpoint,
        login: Login,
        observe: Callable[[Observation], None],
        answer_limit_s: float,
    ) -> None:
        """Listen to the client at once; what it says waits in the Login for a backend."""
        self._rest = rest
        self._client = client
        self._backend: Endpoint | None = None
        self._login = login
        self._observe = observe
        self._answer_limit_s = answer_limit_s
        self._deadline = Deadline(client.plane.deadlines, self._is_late)
        """By when the backend must have greeted or answered."""
        self._is_greeting_awaited = False
        self._is_client_wanted = login.wants_client
        """``Login.wants_client``, as of the last step."""
        self._is_busy = False
        """Whether a step is under way, after which whoever waits is woken if need be."""
        self._hangup: Reason | None = None
        self._is_logged_in = False
        self._patience: Deadline | None = None
        """Until when a client that closed its side may still be answered."""
        self._is_asked = False
        """Whether the client said something that waits for a backend."""
        self.tail: bytes | None = None
        """What the backend said last behind its yes; None if that was its last word. For the relay."""
        self.asked = b""
        """What the client said last behind the yes."""
        client.sink = self._from_client
        client.on_end = self._ended
        client.on_drained = self._resume
        client.resume()

    def attach(self, backend: Endpoint, greeting: bytes) -> None:
        """Go on with this backend; ``greeting`` is what was already heard from it."""
        self._backend = backend
        self._is_greeting_awaited = True
        self._answer_by_the_limit()
        backend.sink = self._from_backend
        backend.on_end = self._ended
        backend.on_drained = self._resume
        if greeting:
            self._perform(self._login.from_backend(greeting))
        backend.resume()

    def detach(self) -> None:
        """The backend is given up; nothing more of it is heard, and a half of its greeting is forgotten."""
        self._backend = None
        self._deadline.lift()
        if not self._login.is_greeted:
            self._login.try_again()
        self._is_client_wanted = self._login.wants_client

    async def greeted(self) -> None:
        """Wait for the backend's greeting.

        Raises:
            BackendError: It left, or said nothing in time.
            SessionEndedError: Its greeting ends the session.
            PeerLostError: The client left.
        """
        while not self._login.is_greeted:
            self._raise_if_over(is_patient=self._is_asked)
            if self._backend is None or self._backend.ending is not None:
                raise BackendError(Reason.BACKEND_DOWN, "closed before its greeting")
            if not self._deadline.is_set:
                raise BackendError(Reason.BACKEND_TIMEOUT, "no greeting within the deadline")
            await self._rest.rest()
        self._is_asked = False

    async def finished(self) -> bool:
        """Wait for the end of the login.

        Returns:
            True when the client is logged in; False when the backend left and another connection may go on.

        Raises:
            SessionEndedError: The Login, or the backend, ends the session.
            PeerLostError: The client left.
        """
        while not self._is_logged_in:
            # A client that said all it has to say and closed its side still waits for the answer.
            self._raise_if_over(is_patient=not self._login.wants_client)
            ending = self._backend.ending if self._backend is not None else Ending.CLOSED
            if ending is not None:
                if self._login.try_again():
                    return False
                raise SessionEndedError(Reason.BACKEND_CLOSED if ending is Ending.CLOSED else Reason.BACKEND_RESET)
            await self._rest.rest()
        return True

    async def pause(self, seconds: float) -> None:
        """Wait for a backend that may come back.

        Raises:
            PeerLostError: The client has had enough.
            SessionEndedError: The Login ends the session.
        """
        pause = self._time_limit(seconds)
        try:
            while pause.is_set:
                self._raise_if_over(is_patient=False)
                await self._rest.rest()
        finally:
            pause.close()

    def close(self) -> None:
        """Stop the clocks; of a backend where nobody is logged in, nothing more is heard."""
        if self._backend is not None and not self._is_logged_in:
            self._backend.let_go()
        self._deadline.close()
        if self._patience is not None:
            self._patience.close()

    def _raise_if_over(self, *, is_patient: bool) -> None:
        if self._hangup is not None:
            raise SessionEndedError(self._hangup)  # the Login knows whether its client has had its last words
        ending = self._client.ending
        if ending is not None and not (is_patient and ending is Ending.CLOSED and self._has_patience()):
            raise PeerLostError(ending)
        if self._backend is not None and self._backend.ending is Ending.INTERNAL:
            raise SessionEndedError(Reason.INTERNAL_ERROR)

    def _has_patience(self) -> bool:
        """Whether a client that closed its side may still wait for an answer; asked first when it has closed."""
        if self._patience is None:
            self._patience = self._time_limit(_PATIENCE_S)
        return self._patience.is_set

    def _time_limit(self, seconds: float) -> Deadline:
        limit = Deadline(self._client.plane.deadlines, lambda _reason: self._rest.wake())
        limit.move(time.monotonic() + seconds, Reason.CLIENT_TIMED_OUT)
        return limit

    def _from_client(self, size: int) -> None:
        was_wanted = self._is_client_wanted
        self._is_asked = not self._login.is_greeted
        self._perform(self._login.from_client(bytes(self._client.plane.buffer[:size])))
        if not was_wanted:
            self._client.pause()  # one chunk beyond what is wanted shows that the client still lives; no more

    def _from_backend(self, size: int) -> None:
        self._perform(self._login.from_backend(bytes(self._client.plane.buffer[:size])))

    def _perform(self, actions: Sequence[LoginAction]) -> None:
        self._is_busy = True
        try:
            for action in actions:
                self._do(action)
            is_to_be_seen = self._settle()
        finally:
            self._is_busy = False
        if is_to_be_seen:
            self._rest.wake()

    def _do(self, action: LoginAction) -> None:
        match action:
            case ToClient(data=data):
                self._client.push(data)
                self.tail = data[-TAIL_BYTES:] if self._is_logged_in else None
            case ToBackend(data=data):
                if self._backend is not None:
                    self._backend.push(data)
                self.tail, self.asked = (b"", data[-ASKED_BYTES:]) if self._is_logged_in else (None, b"")
            case Hangup(reason=reason):
                self._hangup = reason
            case LoggedIn() | LoginFailed() | ClientIdentified():
                self._is_logged_in |= isinstance(action, LoggedIn)
                self._observe(action)
            case _:
                assert_never(action)

    def _settle(self) -> bool:
        """After each step: who is read next, and by when the backend must have answered.

        Returns:
            Whether whoever waits has to judge. Of a session's steps that is two or three.
        """
        login, backend = self._login, self._backend
        is_over = self._is_logged_in or self._hangup is not None
        if is_over:
            self._client.pause()
            if backend is not None:
                backend.pause()
        else:
            self._is_client_wanted = login.wants_client
            self._resume()
        has_greeted = self._is_greeting_awaited and login.is_greeted
        if has_greeted or not self._is_greeting_awaited:
            self._is_greeting_awaited = False
            is_waiting = not is_over and not self._is_client_wanted and login.is_greeted
            if has_greeted or not is_waiting:
                self._deadline.lift()
            if is_waiting and not self._deadline.is_set:
                self._answer_by_the_limit()
        has_lost = self._client.ending is not None or (backend is not None and backend.ending is not None)
        return has_greeted or is_over or has_lost

    def _answer_by_the_limit(self) -> None:
        self._deadline.move(time.monotonic() + self._answer_limit_s, Reason.BACKEND_TIMEOUT)

    def _resume(self) -> None:
        """Read whoever is wanted, but nobody whose words the other side is not taking."""
        client, backend = self._client, self._backend
        if backend is None or self._is_logged_in or self._hangup is not None:
            return
        if client.unsent:
            backend.pause()
        else:
            backend.resume()
        if self._is_client_wanted and not backend.unsent:
            client.resume()

    def _is_late(self, reason: Reason) -> None:
        if not self._is_greeting_awaited:
            self._hangup = reason
        self._rest.wake()

    def _ended(self, _ending: Ending) -> None:
        if not self._is_busy:
            self._rest.wake()
