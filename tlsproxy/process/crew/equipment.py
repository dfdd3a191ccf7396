"""What a worker is equipped with, and how that is told to it; must not know when."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tlsproxy.admission.mail_rates import Allowance, MailCaps
from tlsproxy.config.model import Rate
from tlsproxy.process.crew.member import Member
from tlsproxy.process.line import words
from tlsproxy.process.line.supply import Supply
from tlsproxy.server.way.health import BackendHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What every worker gets when it starts, and again when it changes."""

    supply: Supply
    health: Mapping[int, BackendHealth]
    """Who watches a backend, by the number that it has in the supply."""
    log_fd: Callable[[], int]
    """Gives the descriptor that lines go to now; not the crew's to close."""

    @property
    def mail_caps(self) -> MailCaps:
        """How much mail may come from one client over time, by all workers together."""
        limits = self.supply.config.limits
        messages, recipients = _allowance(limits.message_rate), _allowance(limits.recipient_rate)
        return MailCaps(messages=messages, recipients=recipients, allow=limits.allow)

    def tell_log(self, member: Member) -> None:
        """Have a worker write its log where we write ours."""
        log = self.supply.config.log
        word = words.LogTo(format=log.format, file=log.file, level=log.level)
        member.say(word, (os.dup(self.log_fd()),))


def _allowance(rate: Rate | None) -> Allowance | None:
    return Allowance(count=rate.count, period_s=rate.period_s) if rate is not None else None
