"""The old server's side of an SMTP session: reached when there is something to say, told one command at a time.

Whatever goes wrong with it becomes a reply with the right 4xx here; a 2xx is only ever its own.
"""

import asyncio
from typing import Final, Protocol

from tlsproxy.core.errors import BackendError
from tlsproxy.core.kinds import BackendIdentity
from tlsproxy.core.outcome import Reason
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.smtp.answers import BACKEND_LOST, BACKEND_NOT_REACHABLE
from tlsproxy.protocols.smtp.backend_side.introduction import (
    Guest,
    Refusal,
    Replayed,
    replay,
)
from tlsproxy.protocols.smtp.backend_side.upgrade import SmtpUpgrade
from tlsproxy.protocols.smtp.capabilities import HEADERS_LIMIT_BYTES, Capabilities
from tlsproxy.protocols.smtp.reply import Reply, reply
from tlsproxy.protocols.smtp.syntax import Extension, MailFrom, RcptTo
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.smtp.delivering.old_server import OldServer
from tlsproxy.server.smtp.delivering.presenting import first_words, introduction
from tlsproxy.server.smtp.service import SmtpService

_GREETING_CODE: Final = 220
_START_CODE: Final = 354
_CLOSING_CODE: Final = 421
# Offered on the word of an earlier connection; by the next EHLO the client knows better.
_ASCII_ONLY: Final = reply(451, "4.6.7", "the mail server takes no addresses beyond ASCII now, try again later")
_NO_PLACE: Final = reply(450, "4.7.0", "too many messages at once from your address, try again later")
_SENSELESS: Final = reply(451, "4.5.0", "the mail server gave an answer that makes no sense, try again later")


class _NoPlaceError(BackendError):
    """The client has as many connections to the old server as it may have."""


class Lobby(Protocol):
    """What is known of the client by the time the old server is told."""

    def guest(self) -> Guest:
        """The client as the old server is to see it."""
        ...


class Delivery:
    """The way of this session's mail into the old server."""

    def __init__(self, plane: Plane, service: SmtpService, chronicle: Chronicle, lobby: Lobby) -> None:
        self._plane = plane
        self._service = service
        self._chronicle = chronicle
        self._lobby = lobby
        self._server: OldServer | None = None
        self._known: Capabilities | None = None
        self._told: Guest | None = None
        self._mail: MailFrom | None = None
        self._mail_reply: Reply | None = None
        self._is_bound = False
        self._has_place = False

    @property
    def is_severed(self) -> bool:
        """Whether the old server is lost to a user whose login cannot be repeated."""
        return self._is_bound and self._server is None

    # The envelope.

    def begin(self, mail: MailFrom) -> None:
        """A transaction begins; the old server hears of it with ``announce`` or the first recipient."""
        self._mail, self._mail_reply = mail, None

    async def announce(self) -> Reply:
        """Tell the old server of the sender, once; returns its reply, or ours if it has none."""
        if self._mail_reply is None:
            self._mail_reply = await self._announced()
        return self._mail_reply

    async def recipient(self, rcpt: RcptTo) -> Reply:
        """Tell it of a recipient; if it does not take the sender, that is the reply."""
        mail = await self.announce()
        if not mail.is_positive or self._server is None or self._known is None:
            return mail if not mail.is_positive else BACKEND_LOST
        return await self._ask(rcpt.encode(self._known.extensions))

    async def reset(self) -> None:
        """The transaction is over before its time."""
        if self._server is not None and self._mail_reply is not None:
            answer = await self._ask(b"RSET\r\n")
            if not answer.is_positive:  # else the next message might go to the recipients of this one as well
                self.drop()
        self._mail = self._mail_reply = None

    # The content.

    async def begin_content(self) -> Reply:
        """DATA; 354 and nothing else lets content follow."""
        answer = await self._answer_to(b"DATA\r\n")
        is_senseless = answer.is_positive or (answer.is_intermediate and answer.code != _START_CODE)
        return self._senseless() if is_senseless else answer

    async def push(self, content: bytes) -> None:
        """Content on its way; if the old server is lost meanwhile, ``end_content`` says so."""
        if self._server is not None:
            try:
                await self._server.push(content, self._service.data_s)
            except BackendError as error:
                self._lose(error)

    async def end_content(self, ending: bytes) -> Reply:
        """The end of the message; only from here on may the old server say that it has it.

        Args:
            ending: The last line, which the old server takes for the end.
        """
        answer = await self._ask(ending, self._service.final_reply_s)
        self._mail = self._mail_reply = None
        return answer

    # The connection.

    async def log_in(self, user: bytes, password: bytes) -> Replayed:
        """Have the old server judge a user, who keeps this connection from then on."""
        try:
            server, known = await self._opened()
            outcome = await server.perform(replay(user, password, known.mechanisms))
        except BackendError as error:
            self._lose(error)
            return Replayed.UNAVAILABLE
        if isinstance(outcome, Refusal):
            self._lose(BackendError(Reason.BACKEND_REFUSED, outcome))
            return Replayed.UNAVAILABLE
        if outcome is Replayed.OK:
            self._is_bound = True
        else:
            self.drop()  # its own count of failures is not to hit the next attempt
        return outcome

    async def quit(self) -> None:
        """Leave the old server in good order."""
        if self._server is not None:
            server = self._server
            await server.quit()
            self.drop()

    def drop(self) -> None:
        """Leave it at once; a message that was not ended is not delivered."""
        if self._server is not None:
            self._chronicle.count_backend(self._server.endpoint)
            self._server.close()
        self._server = None
        if self._has_place:
            self._has_place = False
            self._service.places.give_back(self._chronicle.summary.client)

    # Within.

    async def _announced(self) -> Reply:
        if self._mail is None:
            return BACKEND_LOST
        if self._is_told_otherwise():
            await self.quit()
        is_fresh = self._server is None
        try:
            if self.is_severed:
                return BACKEND_LOST
            server, known = await self._held_open()
            if self._mail.is_utf8 and Extension.SMTPUTF8 not in known.extensions:
                return _ASCII_ONLY
            line = self._mail.encode(known.extensions, HEADERS_LIMIT_BYTES)
            return await self._ask_fresh(server, line, is_fresh=is_fresh)
        except BackendError as error:
            self._lose(error)
            return _NO_PLACE if isinstance(error, _NoPlaceError) else BACKEND_NOT_REACHABLE

    def _is_told_otherwise(self) -> bool:
        """Whether the old server knows the client by a name that it no longer gives itself."""
        if self._told is None or self._is_bound or self._service.identity is BackendIdentity.NONE:
            return False
        guest = self._lobby.guest()
        return (guest.hello, guest.is_esmtp) != (self._told.hello, self._told.is_esmtp)

    async def _ask_fresh(self, server: OldServer, line: bytes, *, is_fresh: bool) -> Reply:
        """Ask; an old server that has hung up since the last message is called again."""
        if is_fresh or self._is_bound:
            return await self._ask(line)
        try:
            answer = await server.ask(line)
        except BackendError:
            answer = None
        if answer is not None and answer.code != _CLOSING_CODE:
            return self._sane(answer)
        self.drop()
        await self._held_open()
        return await self._ask(line)

    async def _ask(self, line: bytes, limit_s: float | None = None) -> Reply:
        """Its answer to a command that asks for nothing more, or ours if it has none."""
        return self._sane(await self._answer_to(line, limit_s))

    async def _answer_to(self, line: bytes, limit_s: float | None = None) -> Reply:
        if self._server is None:
            return BACKEND_LOST
        try:
            answer = await self._server.ask(line, limit_s)
        except BackendError as error:
            self._lose(error)
            return BACKEND_LOST
        if answer.code == _CLOSING_CODE:
            self.drop()
            return _softened(answer)
        return answer

    def _sane(self, answer: Reply) -> Reply:
        return self._senseless() if answer.is_intermediate else answer

    def _senseless(self) -> Reply:
        self.drop()
        return _SENSELESS

    async def _held_open(self) -> tuple[OldServer, Capabilities]:
        """The connection; a client waits while the old server restarts, instead of being sent away."""
        now, service = asyncio.get_running_loop().time, self._service
        hold_until = now() + service.backend_hold_s
        while True:
            try:
                return await self._opened()
            except BackendError as error:
                self._lose(error)
                is_hopeless = error.reason not in {Reason.BACKEND_DOWN, Reason.BACKEND_TIMEOUT}
                is_over = now() + service.backend_retry_s > hold_until or service.way.is_down()
                if is_hopeless or is_over:
                    raise
            await asyncio.sleep(service.backend_retry_s)

    async def _opened(self) -> tuple[OldServer, Capabilities]:
        """The connection, made now if there is none."""
        if self._server is not None and self._known is not None:
            return self._server, self._known
        service, guest = self._service, self._lobby.guest()
        self._has_place = self._has_place or service.places.take(guest.peer)
        if not self._has_place:
            raise _NoPlaceError(Reason.BACKEND_REFUSED, "as many connections for one address as there may be")
        arrival = await service.way.connect(
            self._plane, self._chronicle.summary.client.key, SmtpUpgrade, first_words(service.identity, guest)
        )
        self._chronicle.reached(arrival.address, arrival.source_port)
        self._server = server = OldServer(arrival, service.command_s)
        try:
            async with asyncio.timeout(service.introduction_s):
                known = await self._introduced(server, guest)
        except TimeoutError as error:
            raise BackendError(
                Reason.BACKEND_TIMEOUT, f"no introduction within {service.introduction_s:g} s"
            ) from error
        self._known, self._told = known, guest
        service.tools.knowledge[service.way.name].capabilities = known
        return server, known

    async def _introduced(self, server: OldServer, guest: Guest) -> Capabilities:
        service = self._service
        greeting = await server.greeting()
        if greeting.code != _GREETING_CODE:
            raise BackendError(Reason.BACKEND_REFUSED, "its greeting is a refusal")
        hostname = service.hostname.encode("ascii")
        known = await server.perform(
            introduction(hostname, service.identity, guest, is_required=service.is_identity_required)
        )
        if isinstance(known, Refusal):
            raise BackendError(Reason.BACKEND_REFUSED, known)
        return known

    def _lose(self, error: BackendError) -> None:
        self._chronicle.summary.backend_error = error.detail
        self.drop()


def _softened(answer: Reply) -> Reply:
    """Its goodbye is not ours: the client's connection stays."""
    return Reply(451, answer.lines)
