"""What the steps play on, and what a step is; does nothing by itself."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from tlsproxy.core.events import Event
from tlsproxy.demo.dialogue import Dialogue
from tlsproxy.demo.mailserver import Account, MailServer
from tlsproxy.demo.proxy import LogLine, ProxyProcess
from tlsproxy.demo.screen import Screen
from tlsproxy.demo.setting import Ports


@dataclass(slots=True, kw_only=True)
class Stage:
    """What the steps play on."""

    screen: Screen
    proxy: ProxyProcess
    ports: Ports
    trusted: ssl.SSLContext
    account: Account
    old: MailServer
    """The old server, with its own memory of its visitors."""
    cap: int
    """Connections at once that the configuration allows one address."""
    client_ports: list[int] = field(default_factory=list)
    """Our own ports of the connections in this step, by which the log knows them."""
    logins: int = 0
    """How many logins should have reached the old server so far."""
    judgements: int = 0
    """How many of these were the proxy's own, to have a password judged."""
    direct_ports: list[int] = field(default_factory=list)
    """Our own ports of connections past the proxy."""

    @property
    def user(self) -> str:
        """The account's name."""
        return self.account.user.decode()

    @property
    def password(self) -> str:
        """The account's password."""
        return self.account.password.decode()

    def connect(self, port: int, *, is_tls: bool = False, is_shown: bool = True) -> Dialogue:
        """Connect to the proxy and remember our port."""
        screen = self.screen if is_shown else Screen(is_quiet=True)
        dialogue = Dialogue(screen, port, self.trusted, is_tls=is_tls)
        self.client_ports.append(dialogue.port)
        return dialogue

    def connect_directly(self, port: int) -> Dialogue:
        """Connect to the old server itself, as nobody should be able to."""
        self.screen.event("past the proxy, to the old server itself:")
        dialogue = Dialogue(self.screen, port, self.trusted, is_tls=False)
        self.direct_ports.append(dialogue.port)
        return dialogue

    def must_be_logged(self, event: Event, client_port: int) -> None:
        """The log must hold this event for the connection from that port of ours, now or soon.

        Raises:
            StepError: It does not.
        """

        def is_it(line: LogLine) -> bool:
            return line.event == event and line.fields.get("client_port") == client_port

        self.proxy.wait_for(is_it)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what is shown above it, what is done, and what it has proved."""

    title: str
    reason: str
    act: Callable[[Stage], None]
    proof: str
