"""A whole site: clients, the proxy, a tap and an old mail server; and a watch that accounts for every session."""

import base64
import json
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from integration.realmail.backend import Account, Backend, deliver
from integration.realmail.daemon import free_port
from integration.realmail.messages import big, varied
from integration.realmail.pki import Pki
from integration.realmail.program import Line, Program
from integration.realmail.tap import Tap, Tapped
from jsonschema import Draft202012Validator
from rig.program import wait_until

Settings = Mapping[str, Mapping[str, Any]]

_LISTENERS: Final = (
    ("imaps", "imap", "implicit"),
    ("imap", "imap", "starttls"),
    ("pop3s", "pop3", "implicit"),
    ("pop3", "pop3", "starttls"),
)
_SCHEMA_FILE: Final = Path(__file__).parents[3] / "deploy" / "log-schema.json"
SCHEMA: Final = Draft202012Validator(json.loads(_SCHEMA_FILE.read_text("utf-8")))
_DEADLINE_S: Final = 20.0
# All clients of a test run come from one address, which is no office.
_OPEN: Final[Settings] = {
    "limits": {"connection_rate": "none", "unauthenticated_per_address": "none"},
    "log": {"level": "debug"},
    "timeouts": {"drain": "0s"},
}


def configuration(pki: Pki, imap_port: int, pop3_port: int, settings: Settings) -> str:
    """A configuration file with the four listeners on ports that were free."""
    lines = ["[tls]", f'certificates = [{{ chain = "{pki.chain}", key = "{pki.key}" }}]']
    for name, protocol, tls in _LISTENERS:
        lines += ["[[listener]]", f'name = "{name}"', f'protocol = "{protocol}"', f'tls = "{tls}"']
        lines += [f'bind = ["127.0.0.1:{free_port()}"]', f'backend = "{protocol}"']
    lines += ["[backend.imap]", f'address = "127.0.0.1:{imap_port}"']
    lines += ["[backend.pop3]", f'address = "127.0.0.1:{pop3_port}"']
    for section in dict.fromkeys((*_OPEN, *settings)):
        lines.append(f"[{section}]")
        values = {**_OPEN.get(section, {}), **settings.get(section, {})}
        lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _toml(value: str | float) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


@dataclass(slots=True, eq=False)
class Site:
    """An old server with the proxy in front of it."""

    backend: Backend
    pki: Pki
    program: Program
    taps: tuple[Tap, ...]
    """One for each protocol; none where the test stops the server."""
    accounts: list[Account] = field(default_factory=list)
    """Everybody whose password must not be found in the log."""
    _full: Account | None = None

    @property
    def ports(self) -> Mapping[str, int]:
        """Listener name to port: imaps, imap, pop3s, pop3."""
        return self.program.ports

    @property
    def tls(self) -> ssl.SSLContext:
        """A careful client's context."""
        return self.pki.client_context()

    def account(self) -> Account:
        """A new account with an empty mailbox."""
        account = self.backend.account()
        self.accounts.append(account)
        return account

    def full_account(self) -> Account:
        """The account with the varied mailbox and the big message behind it; tests leave it as it is."""
        if self._full is None:
            self._full = self.account()
            deliver(self.backend, self._full, [*varied(), big()])
        return self._full

    def wrong_password(self, account: Account) -> str:
        """A password that the old server refuses, and that must not be found in the log either."""
        wrong = Account(account.user, account.password[::-1])
        self.accounts.append(wrong)
        return wrong.password

    def watch(self) -> "Watch":
        """Look at log and tap from now on."""
        return Watch(self)

    def close(self) -> None:
        """Stop the proxy in order, and look through all that it said."""
        try:
            code = self.program.stop()
        finally:
            self.program.discard()
            for tap in self.taps:
                tap.close()
        assert code == 0
        assert self.program.events("server.stopped")
        assert not self.program.faults()
        assert self.program.complaints == b""
        assert not leaked(self.program.output, self.accounts)
        for line in self.program.specimens():
            SCHEMA.validate(line)


SiteMaker = Callable[..., Site]
"""Opens a site with settings, as ``make_site(limits={"total": 20})``."""


def open_site(backend: Backend, pki: Pki, folder: Path, settings: Settings, *, has_taps: bool = True) -> Site:
    """Start taps and proxy in front of a server, which may be down."""
    ports = (backend.imap_port, backend.pop3_port)
    taps = tuple(map(Tap, ports)) if has_taps else ()
    program = Program(configuration(pki, *(tuple(tap.port for tap in taps) or ports), settings), folder)
    try:
        program.start()
    except BaseException:
        program.discard()
        for tap in taps:
            tap.close()
        raise
    return Site(backend, pki, program, taps)


def leaked(output: bytes, accounts: Iterable[Account]) -> list[str]:
    """Whose password is in the output, in clear, as hex or in any of base64's three alignments."""
    return [account.user for account in accounts if any(form in output for form in _forms(account.password.encode()))]


def _forms(password: bytes) -> list[bytes]:
    """What a password looks like inside a log line; base64 without the characters that its neighbours share."""
    encoded = [base64.b64encode(b"\0" * before + password)[4 if before else 0 : -4] for before in range(3)]
    return [password, password.hex().encode(), *encoded]


class Watch:
    """Log lines and tapped connections since one moment; whoever opens it accounts for every session."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._log = site.program.mark()
        self._marks = [tap.mark() for tap in site.taps]

    def closed(self, count: int = 1) -> list[Line]:
        """Wait for exactly that many ``session.closed`` lines, and hold them against the taps."""
        lines = self._site.program.wait_for("session.closed", count, self._log)
        assert len(lines) == count
        if not self._site.taps:
            return lines
        reached = [line for line in lines if line["source_port"] is not None]
        wait_until(lambda: len(self.tapped()) >= len(reached))  # a tap may not have looked yet
        by_port: dict[int, list[Tapped]] = {}
        for each in self.tapped():  # a port that is free again may be taken again
            by_port.setdefault(each.source_port, []).append(each)
        assert sorted(line["source_port"] for line in reached) == sorted(
            port for port, those in by_port.items() for _ in those
        )
        for line in reached:
            tapped = by_port[line["source_port"]].pop(0)
            assert tapped.is_over.wait(_DEADLINE_S), "the proxy keeps the old server's connection open"
            assert line["bytes_to_backend"] == len(tapped.from_proxy)
            # A client that leaves first may leave bytes of the old server unread.
            assert line["bytes_from_backend"] <= len(tapped.from_backend)
            if line["side"] == "backend":
                assert line["bytes_from_backend"] == len(tapped.from_backend)
        return lines

    def events(self, event: str, count: int) -> list[Line]:
        """Wait for exactly that many lines of an event."""
        lines = self._site.program.wait_for(event, count, self._log)
        assert len(lines) == count
        return lines

    def tapped(self) -> list[Tapped]:
        """The connections that the proxy made to the old server."""
        marked = zip(self._site.taps, self._marks, strict=True)
        return [each for tap, mark in marked for each in tap.since(mark)]
