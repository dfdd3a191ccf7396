"""An SMTP session's story: greeting, TLS, one command after the other, and messages; read ``run`` top down.

Every command is answered by the conversation itself, by the desk that judges the client, by those who count its mail,
or by the old server.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import assert_never

from tlsproxy.admission.base import Ticket
from tlsproxy.core.kinds import EarlyTalker, ListenerTls, SmtpRole
from tlsproxy.core.outcome import Phase, Reason
from tlsproxy.net.clocks.deadlines import Deadline
from tlsproxy.net.endpoint import Endpoint
from tlsproxy.net.plane import Nap
from tlsproxy.net.tcp import local_peer_of
from tlsproxy.protocols.base import LoggedIn, LoginFailed
from tlsproxy.protocols.smtp import steps
from tlsproxy.protocols.smtp.answers import (
    BYE,
    LOGGED_IN,
    LOGIN_NOT_AVAILABLE,
    OK,
    READY_FOR_TLS,
    WRONG_PASSWORD,
)
from tlsproxy.protocols.smtp.capabilities import offered
from tlsproxy.protocols.smtp.conversation import Conversation
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.ending import SessionEndedError
from tlsproxy.server.handshake import shake_hands
from tlsproxy.server.judges.base import Verdict
from tlsproxy.server.plan import House
from tlsproxy.server.smtp.caller import Caller
from tlsproxy.server.smtp.delivering.delivery import Delivery
from tlsproxy.server.smtp.desks.client_facts import ClientFacts
from tlsproxy.server.smtp.desks.desk import Desk
from tlsproxy.server.smtp.desks.mx import MxDesk, MxRules
from tlsproxy.server.smtp.desks.submission import SubmissionDesk
from tlsproxy.server.smtp.notes import Notes
from tlsproxy.server.smtp.password_check import PasswordCheck
from tlsproxy.server.smtp.service import SmtpService
from tlsproxy.server.smtp.spending import Spending
from tlsproxy.server.smtp.transactions import Transactions


class Visit:
    """What happens between accept and the end."""

    def __init__(
        self,
        house: House,
        service: SmtpService,
        chronicle: Chronicle,
        client: Endpoint,
        ticket: Ticket,
        *,
        stop: Callable[[Reason], None],
    ) -> None:
        """Nothing happens yet, but the time for a login runs.

        Args:
            house: What all sessions share.
            service: What this one is served by.
            chronicle: What is written down of it.
            client: The client in plaintext.
            ticket: Its right to be here.
            stop: Cancels the session's task for a reason.
        """
        self._house = house
        self._service = service
        self._chronicle = chronicle
        self._ticket = ticket
        self._now = time.monotonic
        self._login_until = self._now() + (service.login_stressed_s if ticket.is_stressed else service.login_s)
        self._deadline = Deadline(house.plane.deadlines, stop)
        self._facts = ClientFacts(
            peer=ticket.peer,
            destination=local_peer_of(client.sock),
            ref=chronicle.ref,
            receiver=service.hostname,
        )
        self.notes = Notes(house.log, chronicle, service.role)
        """What is written down of its mail."""
        self._conversation = Conversation(
            service.role, replace(service.dialogue, ref=f"(id {chronicle.ref})".encode("ascii")), is_tls=False
        )
        self._caller = Caller(client, self._conversation, stop)
        self._desk = _make_desk(service, self._facts, self.notes)
        self._delivery = Delivery(house.plane, service, chronicle, self._desk)
        self._mail = Transactions(
            service,
            self._desk,
            Spending(house.budget, ticket, self.notes, ref=chronicle.ref),
            self._delivery,
            self.notes,
            conversation=self._conversation,
            caller=self._caller,
        )
        self._login = PasswordCheck(service, self._delivery, ticket.peer.key)
        self._size_limit = service.max_message_bytes
        self.is_accepted = False
        """Whether it has logged in, or has a recipient here: it no longer has to make room for others."""

    @property
    def client(self) -> Endpoint:
        """The client, with TLS or without."""
        return self._caller.endpoint

    @property
    def is_at_rest(self) -> bool:
        """Whether it is between two commands and in no transaction."""
        return self._conversation.is_at_rest

    def close(self) -> None:
        """Let go of everything but the client."""
        self._deadline.close()
        self._caller.close()
        self._desk.close()
        self._delivery.drop()

    # The story.

    async def run(self) -> None:
        """Live until something ends the session.

        Raises:
            SessionEndedError: Always, in the end.
            PeerLostError: The client left.
            CancelledError: Stopped, by a deadline too.
        """
        if self._service.tls is ListenerTls.IMPLICIT:
            await self._secure()
            self._conversation.tls_started()
        self._chronicle.enter(Phase.MAIL)
        if self._service.way.is_down():
            raise SessionEndedError(Reason.BACKEND_DOWN)
        await self._greet()
        while True:
            step = self._conversation.next()
            if step is None:
                await self._listen()
            else:
                await self._take(step)

    async def _greet(self) -> None:
        """The greeting; in clear, whoever speaks before it is no mail server that keeps to the rules."""
        self._desk.arrived()
        self._caller.attach(self.client)
        if self._service.tls is ListenerTls.STARTTLS and self._service.early_talker is not EarlyTalker.OFF:
            await asyncio.sleep(self._service.greet_delay_s)
            if len(self._conversation):
                self._chronicle.spoke_early()
                if self._service.early_talker is EarlyTalker.DROP:
                    raise SessionEndedError(Reason.SPOKE_EARLY)
        self.client.push(self._conversation.greeting())

    async def _listen(self) -> None:
        """Say what there is to say, and wait for the client."""
        if self._delivery.is_severed:  # nobody can log in again for the user
            await self._caller.flush()
            raise SessionEndedError(Reason.BACKEND_CLOSED)
        is_stressed = self._ticket.is_stressed and not self.is_accepted
        until = self._now() + (self._service.stressed_s if is_stressed else self._service.command_s)
        if self._service.role is SmtpRole.SUBMISSION and not self.is_accepted and self._login_until < until:
            self._deadline.move(self._login_until, Reason.LOGIN_TIMEOUT)
        else:
            self._deadline.move(until, Reason.IDLE_TIMEOUT)
        await self._caller.flush()
        await self._caller.listen()
        self._deadline.lift()

    async def _take(self, step: steps.Step) -> None:
        """Do what one command asks for."""
        match step:
            case steps.Hello():
                await self._hello(step)
            case steps.StartTls():
                await self._start_tls()
            case steps.Credentials():
                await self._log_in(step)
            case steps.Mail():
                await self._mail.begin(step.sender, self._size_limit)
            case steps.Rcpt():
                if await self._mail.add(step.recipient):
                    self._accept()
            case steps.Data():
                await self._mail.carry(self._patience_for_content)
            case _:
                await self._take_aside(step)

    async def _take_aside(self, step: steps.Reset | steps.Quit | steps.Report) -> None:
        """What ends something, and what is only to be written down."""
        match step:
            case steps.Reset():
                await self._mail.give_up()
                self._conversation.answer(OK)
            case steps.Quit():
                self._conversation.answer(BYE)
                await self._caller.flush()
                await self._delivery.quit()
            case steps.PasswordExposed():
                self._chronicle.exposed(step)
            case steps.Injection():
                self._chronicle.injected()
            case steps.Hangup(reason=reason):
                await self._caller.flush()
                raise SessionEndedError(reason, is_told=True)
            case _:
                assert_never(step)

    # Introductions.

    async def _hello(self, step: steps.Hello) -> None:
        self._facts.hello, self._facts.is_esmtp = step.name, step.is_esmtp
        self._desk.heard(step.name)
        self.notes.heard(step.name)
        await self._mail.give_up()  # RFC 5321 §4.1.4: EHLO is RSET as well
        knowledge = self._service.tools.knowledge[self._service.way.name]
        with self._caller.served():
            known = await knowledge.ask(self._house.plane, self._ticket.peer.key)
        is_tls = self._facts.is_tls
        lines, self._size_limit = offered(
            known,
            self._service.max_message_bytes,
            starttls=not is_tls,
            auth=self._service.dialogue.mechanisms if is_tls else (),
        )
        self._conversation.offer(lines)

    async def _start_tls(self) -> None:
        self._conversation.answer(READY_FOR_TLS)
        await self._caller.flush()
        phase = self._chronicle.phase
        await self._secure()
        self._chronicle.enter(phase)
        self._conversation.tls_started()
        self._caller.attach(self.client)

    async def _secure(self) -> None:
        self._chronicle.enter(Phase.HANDSHAKE)
        self._deadline.move(self._now() + self._service.handshake_s, Reason.HANDSHAKE_TIMEOUT)
        plain = self._caller.detach()
        self._caller.endpoint = await shake_hands(plain, self._service.server_tls, self._chronicle, Nap())
        self._facts.is_tls = True
        self._deadline.lift()

    async def _log_in(self, step: steps.Credentials) -> None:
        """Have the password judged, and answer."""
        with self._caller.served():
            verdict = await self._login.judge(step)
        match verdict:
            case Verdict.OK:
                self._chronicle.observe(LoggedIn(user=step.user, mechanism=step.mechanism))
                self._facts.user = step.user
                self._accept()
                self._conversation.authenticated(step.user)
                self._conversation.answer(LOGGED_IN)
            case Verdict.WRONG:
                self._chronicle.observe(LoginFailed(user=step.user, mechanism=step.mechanism, is_credential=True))
                self._conversation.answer(WRONG_PASSWORD)
            case Verdict.UNAVAILABLE:
                self._chronicle.observe(LoginFailed(user=step.user, mechanism=step.mechanism, is_credential=False))
                self._conversation.answer(LOGIN_NOT_AVAILABLE)
            case _:
                assert_never(verdict)

    @contextmanager
    def _patience_for_content(self) -> Iterator[None]:
        """The client has so long to send more of its message."""
        self._deadline.move(self._now() + self._service.data_s, Reason.IDLE_TIMEOUT)
        yield
        self._deadline.lift()

    def _accept(self) -> None:
        if not self.is_accepted:
            self.is_accepted = True
            self._house.admission.authenticated(self._ticket)


def _make_desk(service: SmtpService, facts: ClientFacts, notes: Notes) -> Desk:
    rules = service.rules
    return MxDesk(rules, facts, notes) if isinstance(rules, MxRules) else SubmissionDesk(rules, facts, notes)
