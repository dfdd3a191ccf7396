"""What a worker is equipped with, and how that is told to it; must not know when."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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

    def tell_log(self, member: Member) -> None:
        """Have a worker write its log where we write ours."""
        log = self.supply.config.log
        word = words.LogTo(format=log.format, file=log.file, level=log.level)
        member.say(word, (os.dup(self.log_fd()),))
