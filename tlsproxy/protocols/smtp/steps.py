"""What a conversation wants done, step by step; must not hold what follows from it.

A question is answered before the next step comes; a report needs no answer.
"""

from dataclasses import dataclass, field

from tlsproxy.protocols.base import Hangup, PasswordExposed, StartTls
from tlsproxy.protocols.smtp.syntax import MailFrom, RcptTo

__all__ = [
    "Credentials",
    "Data",
    "Hangup",
    "Hello",
    "Injection",
    "Mail",
    "PasswordExposed",
    "Question",
    "Quit",
    "Rcpt",
    "Report",
    "Reset",
    "StartTls",
    "Step",
]


@dataclass(frozen=True, slots=True)
class Hello:
    """EHLO or HELO; whatever was under way is over. Answered with ``offer``, or with a refusal."""

    name: bytes
    """A host name or an address literal."""
    is_esmtp: bool
    """Whether it was EHLO."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password to be judged."""

    mechanism: str
    user: bytes
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL; a positive answer begins a transaction."""

    sender: MailFrom


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT; a positive answer counts one recipient more."""

    recipient: RcptTo


@dataclass(frozen=True, slots=True)
class Data:
    """DATA; behind an answer of 354 comes the content."""


@dataclass(frozen=True, slots=True)
class Reset:
    """RSET; the transaction, if there was one, is over whatever the answer."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT; behind the answer comes a Hangup."""


@dataclass(frozen=True, slots=True)
class Injection:
    """Something stood behind STARTTLS: somebody may have put it there. A Hangup follows."""


Question = Hello | StartTls | Credentials | Mail | Rcpt | Data | Reset | Quit
Report = PasswordExposed | Injection | Hangup
Step = Question | Report
