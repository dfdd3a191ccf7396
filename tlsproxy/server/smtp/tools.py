"""What a worker's SMTP sessions work with: made from a configuration, kept over reloads where nothing changed."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from tlsproxy.config.model import Config
from tlsproxy.config.smtp.dns import DnsConfig
from tlsproxy.core.errors import BackendError
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import ProtocolName, SmtpRole, SubmissionAuth
from tlsproxy.core.log import Log
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.registry import PROTOCOLS
from tlsproxy.senders.passwords.book import PasswordBook
from tlsproxy.server.judges.backend import ServerJudge
from tlsproxy.server.judges.base import PasswordJudge
from tlsproxy.server.judges.cached import CachedJudge
from tlsproxy.server.judges.fair import FairJudge
from tlsproxy.server.judges.file import FileJudge
from tlsproxy.server.smtp.delivering.knowledge import Knowledge
from tlsproxy.server.smtp.service import SmtpTools
from tlsproxy.server.way.way import Way

if TYPE_CHECKING:
    from tlsproxy.net.dns import Resolver

_LOOK_PERIOD_S: Final = 60.0
_FEW: Final = 10  # questions in that time say nothing of the name servers


class Toolbox:
    """Makes tools; one a worker."""

    def __init__(self, plane: Plane, log: Log) -> None:
        self._plane = plane
        self._log = log
        self._dns: tuple[DnsConfig, Resolver] | None = None
        self._knowledge: dict[str, tuple[Way, str, Knowledge]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._counted = (0, 0)

    def tools(self, config: Config, ways: Mapping[str, Way], passwords: PasswordBook | None) -> SmtpTools:
        """The tools for a configuration.

        Args:
            config: Validated.
            ways: A way for each backend's name.
            passwords: What stands in the password file, if there is one.

        Raises:
            ConfigError: There is no name server to ask.
        """
        smtp = config.smtp
        if smtp is None:
            return SmtpTools()
        roles = {listener.role for listener in config.listener}
        resolver = self._resolver(config.dns) if SmtpRole.MX in roles else None
        served = {each.backend for each in config.listener if each.protocol is ProtocolName.SMTP}
        for name in served:
            way, known = ways[name], self._knowledge.get(name)
            if known is None or known[:2] != (way, smtp.hostname):
                fresh = Knowledge(way, smtp.hostname.encode("ascii"), config.backend[name].identity)
                self._knowledge[name] = way, smtp.hostname, fresh
        self._knowledge = {name: known for name, known in self._knowledge.items() if name in served}
        knowledge = {name: known for name, (_, _, known) in self._knowledge.items()}
        judge = self._judge(config, ways, passwords) if SmtpRole.SUBMISSION in roles else None
        if resolver is None:
            return SmtpTools(judge=judge, knowledge=knowledge)
        return SmtpTools(lookup=resolver.look_up, judge=judge, knowledge=knowledge)

    def close(self) -> None:
        """Watch the name servers no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _judge(self, config: Config, ways: Mapping[str, Way], passwords: PasswordBook | None) -> PasswordJudge | None:
        """Who judges passwords, with a short memory; None where the old SMTP server does."""
        submission = config.smtp.submission if config.smtp is not None else None
        if submission is None or submission.auth is SubmissionAuth.REPLAY:
            return None
        deadline_s = config.timeouts.backend_login
        judge: PasswordJudge
        if passwords is not None:
            judge = FileJudge(passwords, deadline_s=deadline_s)
        else:
            protocol = PROTOCOLS[ProtocolName(submission.auth)]
            name = submission.auth_backend_name
            tell = partial(self._tell_no_verdict, name)
            judge = ServerJudge(ways[name], self._plane, protocol, deadline_s=deadline_s, tell=tell)
        return CachedJudge(FairJudge(judge), asyncio.get_running_loop().time, ttl_s=submission.cache)

    def _tell_no_verdict(self, backend: str, error: BackendError) -> None:
        self._log.warning(Event.JUDGE_FAILED, backend=backend, reason=error.reason, error=error.detail)

    def _resolver(self, config: DnsConfig) -> "Resolver":
        if self._dns is None or self._dns[0] != config:
            self._dns = config, make_resolver(config)
            self._counted = (0, 0)
            self.close()
            self._look()
        return self._dns[1]

    def _look(self) -> None:
        """Once a minute: do the name servers answer?"""
        self._timer = asyncio.get_running_loop().call_later(_LOOK_PERIOD_S, self._look)
        if self._dns is None:
            return
        tally = self._dns[1].tally
        asked, failed = tally.asked - self._counted[0], tally.failed - self._counted[1]
        self._counted = tally.asked, tally.failed
        if asked >= _FEW and failed * 2 > asked:
            self._log.warning(Event.DNS_FAILED, asked=asked, failed=failed, seconds=_LOOK_PERIOD_S)


def make_resolver(config: DnsConfig) -> "Resolver":
    """Take the name servers.

    Raises:
        ConfigError: There is none.
    """
    from tlsproxy.net.dns import Resolver  # noqa: PLC0415 - half a second and 20 MB that IMAP and POP3 do not pay

    servers = [(server.ip, server.port) for server in config.servers if server.ip is not None]
    return Resolver(servers, timeout_s=config.timeout, cache_entries=config.cache_entries, max_ttl_s=config.max_ttl)
