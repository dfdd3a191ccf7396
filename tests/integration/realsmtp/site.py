"""The proxy as a program in front of one old SMTP server, which it may reach in several ways."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from integration.realmail.backend import Account
from integration.realmail.daemon import free_port
from integration.realmail.pki import Pki
from integration.realmail.program import Line, Program
from integration.realmail.site import SCHEMA, Settings, leaked
from integration.realsmtp.letters import wait_until
from rig.nameserver import NameServer

DOMAIN: Final = "example.org"
HOSTNAME: Final = "mx.proxy.test"

# All clients of a test run come from few addresses, which are no offices.
_OPEN: Final[Settings] = {
    "limits": {"connection_rate": "none", "unauthenticated_per_address": "none"},
    "log": {"level": "debug"},
    "timeouts": {"drain": "0s", "backend_hold": "1s"},
    "smtp": {"hostname": HOSTNAME},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A listener, and how the old server is reached from it."""

    name: str
    port: int
    """The old server's."""
    role: str = "mx"
    tls: str = "starttls"
    backend: Mapping[str, str | bool] = field(default_factory=dict)
    """More keys of the backend: identity, login."""


def configuration(pki: Pki, routes: Iterable[Route], nameserver: NameServer, settings: Settings) -> str:
    """A configuration file with a listener and a backend for each route."""
    routes = list(routes)
    lines = ["[tls]", f'certificates = [{{ chain = "{pki.chain}", key = "{pki.key}" }}]']
    for route in routes:
        port = free_port()
        lines += ["[[listener]]", f'name = "{route.name}"', 'protocol = "smtp"', f'role = "{route.role}"']
        lines += [f'bind = ["0.0.0.0:{port}", "[::]:{port}"]', f'tls = "{route.tls}"', f'backend = "{route.name}"']
        lines += [f'[backend.{route.name}]\naddress = "127.0.0.1:{route.port}"']
        lines += [f"{key} = {json.dumps(value)}" for key, value in route.backend.items()]
    sections: dict[str, Mapping[str, Any]] = dict(_OPEN)
    roles = {route.role for route in routes}
    if "mx" in roles:
        sections["smtp.mx"] = {"local_domains": [DOMAIN]}
    if "submission" in roles:
        sections["smtp.submission"] = {"auth": "replay"}
    sections["dns"] = {"servers": ["{}:{}".format(*nameserver.address)]}
    for section in dict.fromkeys((*sections, *settings)):
        values = {**sections.get(section, {}), **settings.get(section, {})}
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


@dataclass(slots=True, eq=False)
class SmtpSite:
    """The running proxy."""

    pki: Pki
    program: Program
    accounts: list[Account] = field(default_factory=list)
    """Everybody whose password must not be found in the log."""

    @property
    def ports(self) -> Mapping[str, int]:
        """Where the listener of a route is, by its name."""
        return self.program.ports

    def mark(self) -> int:
        """A point in the log, for ``closed``, with no session under way that could still end."""
        program = self.program

        def is_quiet() -> bool:
            return len(program.events("session.opened")) == len(program.events("session.closed"))

        wait_until(is_quiet, "sessions that end")
        return program.mark()

    def closed(self, since: int, count: int = 1) -> list[Line]:
        """Wait for exactly that many ``session.closed`` after a mark of the log."""
        lines = self.program.wait_for("session.closed", count, since)
        assert len(lines) == count
        return lines

    def close(self) -> None:
        """Stop the proxy in order, and look through all that it said."""
        try:
            code = self.program.stop()
        finally:
            self.program.discard()
        assert code == 0
        assert self.program.events("server.stopped")
        assert not self.program.faults()
        assert self.program.complaints == b""
        assert not leaked(self.program.output, self.accounts)
        for line in self.program.specimens():
            SCHEMA.validate(line)


def open_smtp_site(
    pki: Pki, routes: Iterable[Route], nameserver: NameServer, folder: Path, settings: Settings | None = None
) -> SmtpSite:
    """Start the proxy in front of a server, which may be down."""
    program = Program(configuration(pki, routes, nameserver, settings or {}), folder)
    try:
        program.start()
    except BaseException:
        program.discard()
        raise
    return SmtpSite(pki, program)
