"""The desk of a submission listener: users who have logged in, and under which address they may send."""

import time
from dataclasses import dataclass

from tlsproxy.core.kinds import BackendLogin, SenderLogin
from tlsproxy.protocols.smtp.backend_side.introduction import UNKNOWN_NAME, Guest
from tlsproxy.protocols.smtp.reply import Reply, reply
from tlsproxy.protocols.smtp.syntax import MailFrom, Path, RcptTo
from tlsproxy.senders.headers import received
from tlsproxy.senders.local import LocalDomains
from tlsproxy.senders.wording import clean
from tlsproxy.server.smtp.desks.client_facts import ClientFacts
from tlsproxy.server.smtp.notes import Notes


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRules:
    """What holds for all users of a listener."""

    sender_login: SenderLogin
    domains: LocalDomains | None
    """The domains of users whose names have none; None if they are not known, so that any will do."""
    backend_login: BackendLogin
    adds_received: bool
    """Whether the old server learns of the client by our header alone."""


class SubmissionDesk:
    """Judges one user; see ``desk.Desk``. That somebody has logged in at all is the conversation's care."""

    def __init__(self, rules: SubmissionRules, facts: ClientFacts, notes: Notes) -> None:
        self._rules = rules
        self._facts = facts
        self._notes = notes
        self._sender = b""

    def arrived(self) -> None:
        """See Desk."""

    def heard(self, hello: bytes) -> None:
        """See Desk."""

    async def sender(self, mail: MailFrom) -> Reply | None:
        """See Desk."""
        self._sender = mail.path.address
        user = self._facts.user or b""
        if self._rules.sender_login is SenderLogin.OFF or mail.path.is_null or self._is_own(mail.path):
            return None
        if self._rules.sender_login is SenderLogin.LOG:
            self._notes.mismatched()
            return None
        name, address = (clean(text) for text in (user, self._sender))
        answer = reply(550, "5.7.1", f"{name} may not send as {address} (id {self._facts.ref})")
        self._notes.refused("sender_login", answer)
        return answer

    def _is_own(self, path: Path) -> bool:
        """Whether an address is the user's: the name of the login, or its local part where the name is no more."""
        user, domains = (self._facts.user or b"").lower(), self._rules.domains
        local, at, domain = user.rpartition(b"@")
        if at:
            return (path.local.lower(), path.domain.lower()) == (local, domain)
        return path.local.lower() == user and (domains is None or path.domain in domains)

    async def recipient(self, rcpt: RcptTo) -> Reply | None:
        """See Desk; a user may write to anybody."""

    def headers(self) -> bytes:
        """See Desk; where a user sits is nobody's business."""
        if not self._rules.adds_received:
            return b""
        return received(self._facts.trace(self._sender), name="", now=time.time())

    def guest(self) -> Guest:
        """See Desk."""
        is_told = self._rules.backend_login is BackendLogin.XCLIENT
        return self._facts.guest(UNKNOWN_NAME, user=self._facts.user if is_told else None)

    def close(self) -> None:
        """See Desk."""
