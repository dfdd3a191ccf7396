"""What a client has said so far, and what it may say now (RFC 5321 §4.1.4); must not read or write a line."""

from dataclasses import dataclass
from typing import Final

from tlsproxy.core.kinds import SmtpRole
from tlsproxy.protocols.smtp.answers import (
    ENCRYPTION_FIRST,
    HELLO_FIRST,
    IN_TRANSACTION,
    LOGGED_IN_ALREADY,
    LOGIN_FIRST,
    LOGIN_NOT_OFFERED,
    MAIL_FIRST,
    NO_RECIPIENTS,
    TLS_ALREADY,
    TLS_FIRST,
    TOO_MANY_RECIPIENTS,
)
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.settings import DialogueSettings
from tlsproxy.protocols.smtp.syntax import Extension, MailFrom

# Whoever says one of these has to wait for the answer (RFC 2920 §3.1, RFC 3207 §4, RFC 4954 §4). BDAT is not offered,
# but its content stands behind it and would be taken for commands.
_LAST_IN_GROUP: Final = frozenset(b"AUTH BDAT DATA EHLO HELO QUIT STARTTLS".split())


@dataclass(slots=True)
class Standing:
    """One client's state; a new one after STARTTLS."""

    role: SmtpRole
    settings: DialogueSettings
    is_tls: bool
    hello: bytes | None = None
    is_esmtp: bool = False
    extensions: frozenset[Extension] = frozenset()
    """As last offered."""
    user: bytes | None = None
    mail: MailFrom | None = None
    recipients: int = 0
    """Accepted ones."""

    @property
    def is_utf8(self) -> bool:
        """Whether the transaction's addresses may lie beyond ASCII (RFC 6531 §3.4)."""
        return self.mail is not None and self.mail.is_utf8

    def greet(self, name: bytes, extensions: frozenset[Extension], *, is_esmtp: bool) -> None:
        """An EHLO or HELO was accepted."""
        self.hello, self.extensions, self.is_esmtp = name, extensions, is_esmtp

    def leave(self) -> None:
        """A new EHLO or HELO came; until it is accepted, the client is a stranger again."""
        self.reset()
        self.hello, self.extensions, self.is_esmtp = None, frozenset(), False

    def reset(self) -> None:
        """The transaction is over."""
        self.mail, self.recipients = None, 0

    def may_be_followed(self, verb: bytes) -> bool:
        """Whether the client may go on without waiting for the answer to a command."""
        return self.is_esmtp and verb not in _LAST_IN_GROUP

    def against_starttls(self) -> Reply | None:
        """Why TLS cannot be begun; None if it can."""
        return TLS_ALREADY if self.is_tls else None

    def against_auth(self) -> Reply | None:
        """Why no login may begin; None if one may."""
        if self.role is SmtpRole.MX:
            return LOGIN_NOT_OFFERED
        if not self.is_tls:
            return ENCRYPTION_FIRST
        if self.user is not None:
            return LOGGED_IN_ALREADY
        if not self.is_esmtp:
            return HELLO_FIRST
        return IN_TRANSACTION if self.mail else None

    def against_mail(self) -> Reply | None:
        """Why no transaction may begin; None if one may."""
        return self._against_sending() or (IN_TRANSACTION if self.mail else None)

    def against_rcpt(self) -> Reply | None:
        """Why no recipient may be named; None if one may."""
        if refusal := self._against_sending() or self._against_going_on():
            return refusal
        return TOO_MANY_RECIPIENTS if self.recipients >= self.settings.max_recipients else None

    def against_data(self) -> Reply | None:
        """Why no content may come; None if it may."""
        if refusal := self._against_sending() or self._against_going_on():
            return refusal
        return None if self.recipients else NO_RECIPIENTS

    def _against_sending(self) -> Reply | None:
        is_submission = self.role is SmtpRole.SUBMISSION
        if not self.is_tls and (is_submission or self.settings.requires_tls):
            return TLS_FIRST
        if is_submission and self.user is None:
            return LOGIN_FIRST
        return HELLO_FIRST if self.hello is None else None

    def _against_going_on(self) -> Reply | None:
        return None if self.mail else MAIL_FIRST
