"""What a worker's SMTP sessions work with: made from a configuration, kept over reloads where nothing changed."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tlsproxy.config.model import Config
from tlsproxy.config.smtp.dns import DnsConfig
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import ProtocolName, SmtpRole
from tlsproxy.core.log import Log
from tlsproxy.server.smtp.delivering.knowledge import Knowledge
from tlsproxy.server.smtp.service import SmtpTools
from tlsproxy.server.way.way import Way

if TYPE_CHECKING:
    from tlsproxy.net.dns import Resolver

_LOOK_PERIOD_S: Final = 60.0
_FEW: Final = 10  # questions in that time say nothing of the name servers


class Toolbox:
    """Makes tools; one a worker."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._dns: tuple[DnsConfig, Resolver] | None = None
        self._knowledge: dict[str, tuple[Way, str, Knowledge]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._counted = (0, 0)

    def tools(self, config: Config, ways: Mapping[str, Way]) -> SmtpTools:
        """The tools for a configuration.

        Args:
            config: Validated.
            ways: A way for each backend's name.

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
        knowledge = {name: self._knowledge[name][2] for name in served}
        return (
            SmtpTools(knowledge=knowledge)
            if resolver is None
            else SmtpTools(lookup=resolver.look_up, knowledge=knowledge)
        )

    def close(self) -> None:
        """Watch the name servers no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _resolver(self, config: DnsConfig) -> "Resolver":
        from tlsproxy.net.dns import Resolver  # noqa: PLC0415 - half a second and 20 MB that IMAP and POP3 do not pay

        if self._dns is None or self._dns[0] != config:
            servers = [(server.ip, server.port) for server in config.servers if server.ip is not None]
            resolver = Resolver(
                servers, timeout_s=config.timeout, cache_entries=config.cache_entries, max_ttl_s=config.max_ttl
            )
            self._dns = config, resolver
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
