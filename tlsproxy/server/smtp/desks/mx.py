"""The desk of an MX listener: who delivers is checked, and only mail for our own domains is taken."""

import time
from dataclasses import dataclass, field
from typing import Final

from tlsproxy.core.kinds import RejectAt
from tlsproxy.protocols.smtp.backend_side.introduction import UNKNOWN_FOR_NOW, UNKNOWN_NAME, Guest
from tlsproxy.protocols.smtp.reply import Reply, reply
from tlsproxy.protocols.smtp.syntax import MailFrom, RcptTo
from tlsproxy.senders.headers import authentication_results, received, received_spf, x_tlsproxy
from tlsproxy.senders.identity import IprevResult
from tlsproxy.senders.judgement import Judgement
from tlsproxy.senders.local import Recipients, Skip
from tlsproxy.server.smtp.desks.client_facts import ClientFacts
from tlsproxy.server.smtp.desks.examination import Examination
from tlsproxy.server.smtp.desks.questions import Checks
from tlsproxy.server.smtp.desks.sparing import Sparing
from tlsproxy.server.smtp.notes import Notes

_RELAYING: Final = "relaying denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class MxRules:
    """What holds for all who deliver by a listener."""

    checks: Checks
    recipients: Recipients
    reject_at: RejectAt
    adds_received: bool
    """Whether the old server learns of the client by our header alone."""
    unchecked: Sparing = field(default_factory=Sparing, compare=False)
    """How often it is told that clients with private addresses send unchecked."""


class MxDesk:
    """Judges one client that is no user of ours; see ``desk.Desk``."""

    def __init__(self, rules: MxRules, facts: ClientFacts, notes: Notes) -> None:
        self._rules = rules
        self._facts = facts
        self._notes = notes
        self._examination = Examination(rules.checks, facts.peer.ip, facts.destination.ip, facts.ref)
        self._mail: MailFrom | None = None
        self._judgement: Judgement | None = None
        self._is_judged = False
        self._is_private = self._examination.skip is Skip.PRIVATE

    def arrived(self) -> None:
        """See Desk."""
        self._examination.arrive()

    def heard(self, hello: bytes) -> None:
        """See Desk."""
        self._examination.hear(hello)

    async def sender(self, mail: MailFrom) -> Reply | None:
        """See Desk."""
        self._mail, self._judgement, self._is_judged = mail, None, False
        self._examination.open(mail)
        self._warn()
        if self._rules.reject_at is RejectAt.RCPT:
            return None
        return self._answer(await self._judged(), None)

    async def recipient(self, rcpt: RcptTo) -> Reply | None:
        """See Desk."""
        local, domain = rcpt.path.local, rcpt.path.domain
        if rcpt.is_routed or not self._rules.recipients.is_local(local, domain):
            answer = reply(550, "5.7.1", f"{_RELAYING} (id {self._facts.ref})")
            self._notes.refused("relaying_denied", answer, rcpt)
            return answer
        judgement = await self._judged()
        if judgement is not None and self._rules.recipients.is_exempt(local, domain):
            judgement = judgement.softened()  # for this recipient alone: the next one may be anybody
            self._notes.judged(judgement)
        return self._answer(judgement, rcpt)

    def headers(self) -> bytes:
        """See Desk."""
        facts, judgement = self._facts, self._judgement
        trace = facts.trace(self._mail.path.address if self._mail is not None else b"")
        lines = b""
        if judgement is not None:
            judgement = judgement.softened()  # whoever gets it in spite of the checks reads what they came to
            lines += received_spf(judgement.spf, trace) if judgement.spf is not None else b""
            lines += authentication_results(judgement, trace) + x_tlsproxy(judgement, trace)
        if self._rules.adds_received:
            lines += received(trace, name=self._name(), now=time.time())
        return lines

    def guest(self) -> Guest:
        """See Desk."""
        iprev = self._examination.iprev
        unknown = UNKNOWN_FOR_NOW if iprev is not None and iprev.result is IprevResult.TEMPERROR else UNKNOWN_NAME
        return self._facts.guest(self._name().encode("ascii") or unknown, user=None)

    def close(self) -> None:
        """See Desk."""
        self._examination.close()

    def _name(self) -> str:
        iprev = self._examination.iprev
        return iprev.names[0] if iprev is not None and iprev.names else ""

    def _warn(self) -> None:
        """Who has a private address sends unchecked; behind a balancer that would be everybody, so it wants a word."""
        if self._is_private:
            self._is_private = False  # once a session
            count = self._rules.unchecked.count(time.monotonic())
            if count:
                self._notes.unchecked(Skip.PRIVATE, count)

    async def _judged(self) -> Judgement | None:
        """The judgement of this transaction, made once."""
        if not self._is_judged:
            self._judgement = await self._examination.judgement()
            self._is_judged = True
            self._write_down(self._judgement)
        return self._judgement

    def _write_down(self, judgement: Judgement | None) -> None:
        examination = self._examination
        self._notes.judged(judgement, skipped=examination.skip)
        if examination.iprev is not None:
            self._notes.found("iprev", examination.iprev.result)
        if examination.hello_result is not None:
            self._notes.found("helo_check", examination.hello_result)
        if examination.spf is not None:
            self._notes.found("spf", examination.spf.verdict)

    def _answer(self, judgement: Judgement | None, rcpt: RcptTo | None) -> Reply | None:
        if judgement is None or judgement.reply is None:
            return None
        code, enhanced, text = judgement.reply
        answer = reply(code, enhanced, text)
        if judgement.explanation:
            answer = Reply(code, (*reply(code, enhanced, judgement.explanation).lines, *answer.lines))
        self._notes.refused(judgement.findings[0] if judgement.findings else "policy", answer, rcpt)
        return answer
