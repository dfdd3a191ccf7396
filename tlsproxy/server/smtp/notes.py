"""What is written down of an SMTP session's mail: counts for its last line, and a line for each message.

Envelope addresses are told, since an administrator needs them; subject and content never.
"""

from dataclasses import dataclass, field
from typing import Final

from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LogLevel, SmtpRole
from tlsproxy.core.log import Log
from tlsproxy.core.summary import FieldValue, readable
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.syntax import MailFrom, RcptTo
from tlsproxy.senders.judgement import Judgement
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.smtp.delivering.carried import Carried

_TOLD_RECIPIENTS: Final = 20  # of a message; the rest is counted
_TOLD_REFUSALS: Final = 20  # lines of one session; the rest is counted, so that a guesser of addresses fills no disk

_HINT: Final = (
    "checks are skipped for private addresses: if mail from the Internet comes by this one, a balancer or NAT hides "
    "who sends it; if it is a sender of yours, name it in [smtp.mx] exempt_networks"
)


@dataclass(slots=True, kw_only=True)
class _Envelope:
    """The transaction that is under way."""

    sender: bytes
    recipients: list[bytes] = field(default_factory=list)
    accepted: int = 0
    would: str | None = None
    """What would have become of it, were the checks meant or the recipients not exempt."""


class Notes:
    """Counts and tells; one a session."""

    def __init__(self, log: Log, chronicle: Chronicle, role: SmtpRole) -> None:
        self._log = log
        self._chronicle = chronicle
        self._envelope: _Envelope | None = None
        self._begun = 0
        self._told = 0
        self._counts = {"messages": 0, "recipients": 0, "refused": 0}
        self._words: dict[str, str | None] = dict.fromkeys(("helo", "iprev", "helo_check", "spf", "would"))
        self._checks = None if role is SmtpRole.SUBMISSION else "none"
        self._role = role

    @property
    def message(self) -> str:
        """The id of the message that is under way."""
        return f"{self._chronicle.ref}.{self._begun}"

    def heard(self, hello: bytes) -> None:
        """The client gave its name."""
        self._words["helo"] = readable(hello)

    def began(self, mail: MailFrom) -> None:
        """A transaction began."""
        self._begun += 1
        self._envelope = _Envelope(sender=mail.path.address)

    def accepted(self, rcpt: RcptTo) -> None:
        """A recipient was taken."""
        self._counts["recipients"] += 1
        if self._envelope is not None:
            self._envelope.accepted += 1
            if len(self._envelope.recipients) < _TOLD_RECIPIENTS:
                self._envelope.recipients.append(rcpt.path.address)

    def judged(self, judgement: Judgement | None, *, skipped: str | None = None) -> None:
        """What the checks of the client came to, or why there were none."""
        self._checks = skipped or "done"
        if judgement is not None and judgement.would is not None:
            self._words["would"] = judgement.would
            if self._envelope is not None:
                self._envelope.would = judgement.would

    def found(self, check: str, result: str) -> None:
        """A check's result, by the check's name: iprev, helo_check or spf."""
        self._words[check] = result

    def refused(
        self, reason: str, answer: Reply, rcpt: RcptTo | None = None, *, by: str = "proxy", limit: str | None = None
    ) -> None:
        """Somebody said no to a sender, a recipient or a message.

        Args:
            reason: One word, as the check's name.
            answer: What the client was told.
            rcpt: The recipient, where it is about one.
            by: Who said no: ``proxy`` or ``backend``.
            limit: The number that was reached, where there is one.
        """
        self._counts["refused"] += 1
        self._told += 1
        if self._told <= _TOLD_REFUSALS:
            level = LogLevel.WARNING if by == "backend" and answer.is_transient else LogLevel.INFO
            recipient = readable(rcpt.path.address) if rcpt is not None else None
            self._tell(
                level,
                Event.MESSAGE_REFUSED,
                reason=reason,
                by=by,
                recipient=recipient,
                limit=limit,
                reply=_text(answer),
            )

    def mismatched(self) -> None:
        """A user sends under an address of somebody else, which is only to be told."""
        self._tell(LogLevel.WARNING, Event.SENDER_MISMATCHED)

    def unchecked(self, reason: str, count: int) -> None:
        """A client of whom nothing is asked sends mail.

        Args:
            reason: Why nothing is asked.
            count: Such sessions since this was told last, this one included.
        """
        self._log.warning(Event.SENDER_UNCHECKED, **self._chronicle.who(), reason=reason, count=count, hint=_HINT)

    def relayed(self, carried: Carried) -> None:
        """The old server has a message."""
        self._counts["messages"] += 1
        accepted = self._envelope.accepted if self._envelope else 0
        told = [readable(each) for each in self._envelope.recipients] if self._envelope else []
        self._tell(
            LogLevel.INFO,
            Event.MESSAGE_RELAYED,
            recipients=accepted,
            to=told,
            size=carried.size,
            bare_newlines=carried.bare_newlines,
            would=self._envelope.would if self._envelope else None,
            reply=_text(carried.reply),
        )

    def ended(self) -> None:
        """The transaction is over."""
        self._envelope = None

    def fields(self) -> dict[str, FieldValue]:
        """What ``session.closed`` tells in addition."""
        return {"role": self._role.value, **self._words, "checks": self._checks, **self._counts}

    def _tell(self, level: LogLevel, event: Event, **more: object) -> None:
        sender = self._envelope.sender if self._envelope is not None else b""
        self._log.log(
            level,
            event,
            **self._chronicle.who(),
            message=self.message,
            user=readable(self._chronicle.summary.user),
            sender=readable(sender),
            **more,
        )


def _text(answer: Reply) -> str:
    return f"{answer.code} {readable(answer.text)}"
