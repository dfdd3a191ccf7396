"""The walk, step by step: each does one thing to the proxy and says what must come of it."""

import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from tlsproxy.core.events import Event
from tlsproxy.demo.dialogue import Dialogue, StepError
from tlsproxy.demo.mailserver import Account, Journal, Record
from tlsproxy.demo.proxy import LogLine, Ports, ProxyProcess
from tlsproxy.demo.screen import Screen


@dataclass(slots=True, kw_only=True)
class Stage:
    """What the steps play on."""

    screen: Screen
    proxy: ProxyProcess
    ports: Ports
    trusted: ssl.SSLContext
    account: Account
    journal: Journal
    """The old server's own memory of its visitors."""
    cap: int
    """Connections at once that the configuration allows one address."""
    client_ports: list[int] = field(default_factory=list)
    """Our own ports of the connections in this step, by which the log knows them."""
    logins: int = 0
    """How many logins should have reached the old server so far."""

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


def _refuse_before_password(stage: Stage) -> None:
    with stage.connect(stage.ports.imap) as client:
        client.expect("* OK [CAPABILITY")
        client.say(f"a1 LOGIN {stage.user} {{{len(stage.password)}}}")
        client.expect("a1 NO [PRIVACYREQUIRED]")
        client.say("a2 LOGOUT")
        client.read_until("a2 OK")


def _raise_alarm(stage: Stage) -> None:
    with stage.connect(stage.ports.imap) as client:
        client.expect("* OK")
        client.say(f"a1 LOGIN {stage.user} {stage.password}", secret=stage.password)
        client.expect("* BAD [ALERT]")
        client.expect("a1 NO [PRIVACYREQUIRED]")
    stage.must_be_logged(Event.PASSWORD_EXPOSED, client.port)


def _login_after_starttls(stage: Stage) -> None:
    with stage.connect(stage.ports.imap) as client:
        client.expect("* OK")
        client.say("a1 STARTTLS")
        client.expect("a1 OK")
        client.start_tls()
        _read_by_imap(stage, client, uid=1)


def _read_by_imaps(stage: Stage) -> None:
    with stage.connect(stage.ports.imaps, is_tls=True) as client:
        client.expect("* OK")
        _read_by_imap(stage, client, uid=2)


def _read_by_imap(stage: Stage, client: Dialogue, *, uid: int) -> None:
    """Log in, read one mail, log out."""
    stage.logins += 1
    client.say(f"b1 LOGIN {stage.user} {stage.password}", secret=stage.password)
    client.read_until("b1 OK")
    client.say("b2 EXAMINE INBOX")
    client.read_until("b2 OK")
    client.say(f"b3 UID FETCH {uid} BODY.PEEK[]")
    _must_hold_mail(client.read_until("b3 OK"))
    client.say("b4 LOGOUT")
    client.read_until("b4 OK")


def _read_by_pop3s(stage: Stage) -> None:
    with stage.connect(stage.ports.pop3s, is_tls=True) as client:
        client.expect("+OK")
        _read_by_pop3(stage, client, number=3)


def _read_after_stls(stage: Stage) -> None:
    with stage.connect(stage.ports.pop3) as client:
        client.expect("+OK")
        client.say("STLS")
        client.expect("+OK")
        client.start_tls()
        _read_by_pop3(stage, client, number=1)


def _read_by_pop3(stage: Stage, client: Dialogue, *, number: int) -> None:
    """Log in, read one mail, log out."""
    stage.logins += 1
    client.say(f"USER {stage.user}")
    client.expect("+OK")
    client.say(f"PASS {stage.password}", secret=stage.password)
    client.expect("+OK")
    client.say(f"RETR {number}")
    client.expect("+OK")
    _must_hold_mail(client.read_to_dot())
    client.say("QUIT")
    client.expect("+OK")


def _must_hold_mail(lines: list[str]) -> None:
    if not any(line.startswith("Message-ID: <letter-") for line in lines):
        raise StepError("the mail did not arrive")


def _refuse_pop3_user(stage: Stage) -> None:
    with stage.connect(stage.ports.pop3) as client:
        client.expect("+OK")
        client.say(f"USER {stage.user}")
        client.expect("-ERR [AUTH]")
        client.say("QUIT")
        client.expect("+OK")


def _refuse_injection(stage: Stage) -> None:
    with stage.connect(stage.ports.imap) as client:
        client.expect("* OK")
        client.say("a1 STARTTLS", "a2 LOGIN mallory stolen")
        client.expect("a1 BAD [CLIENTBUG]")
        client.expect("* BYE")
        client.expect_end()
    stage.must_be_logged(Event.STARTTLS_INJECTION, client.port)


def _refuse_one_too_many(stage: Stage) -> None:
    with ExitStack() as clients:
        for _ in range(stage.cap):
            clients.enter_context(stage.connect(stage.ports.imap, is_shown=False)).expect("* OK")
        stage.screen.event(f"{stage.cap} connections to port {stage.ports.imap}, all greeted and left open")
        refused = clients.enter_context(stage.connect(stage.ports.imap))
        refused.expect("* BYE [UNAVAILABLE]")
        refused.expect_end()


def _ask_old_server(stage: Stage) -> None:
    """Hold the old server's memory against the proxy's log: the two know each other by the port between them."""
    closed = {
        line.fields.get("source_port"): line for line in stage.proxy.lines() if line.event == Event.SESSION_CLOSED
    }
    records = stage.journal.records()
    for record in records:
        _must_be_expected(record, closed.get(record.client_port))
        stage.screen.event(
            f"{record.protocol} from port {record.client_port}: {' '.join(record.commands)}"
            f"  = session {closed[record.client_port].fields.get('session')}"
        )
    logins = [login for record in records for login in record.logins]
    if len(logins) != stage.logins:
        raise StepError(f"the old server saw {len(logins)} logins, expected {stage.logins}")
    if any(stage.password in line.text for line in stage.proxy.lines()):
        raise StepError("the password is in the log")


def _must_be_expected(record: Record, line: LogLine | None) -> None:
    """The old server may know a connection only if the proxy's log has a TLS session with a login behind it."""
    if line is None:
        raise StepError(f"a connection from port {record.client_port} that the proxy's log does not know")
    if not line.fields.get("tls_version") or line.fields.get("login") != "ok":
        raise StepError(f"a connection of a session without TLS or login: {line.text}")
    if any(not is_accepted for _, is_accepted in record.logins):
        raise StepError("a refused login reached the old server")


STEPS: Final = (
    Step(
        title="A login in clear is refused before the password leaves",
        reason="The client announces its password as a literal and waits for the go-ahead, which never comes.",
        act=_refuse_before_password,
        proof="refused, and no password was on the wire",
    ),
    Step(
        title="A client that does send its password in clear raises an alarm",
        reason="It is refused all the same, the user is told, and the administrator reads password.exposed in the log.",
        act=_raise_alarm,
        proof="refused and reported",
    ),
    Step(
        title="STARTTLS on the IMAP port, then a login and a mail",
        reason="The old server knows no TLS; the client has it from the proxy.",
        act=_login_after_starttls,
        proof="the mail came through TLS",
    ),
    Step(
        title="IMAPS: TLS from the first byte",
        reason="What RFC 8314 recommends.",
        act=_read_by_imaps,
        proof="the mail came through TLS",
    ),
    Step(
        title="POP3S: the same for POP3",
        reason="This letter has lines that begin with a dot, which POP3 doubles on the way.",
        act=_read_by_pop3s,
        proof="the mail came through TLS",
    ),
    Step(
        title="STLS on the POP3 port",
        reason="POP3's word for STARTTLS.",
        act=_read_after_stls,
        proof="the mail came through TLS",
    ),
    Step(
        title="A POP3 login in clear is refused at the user name",
        reason="So that the password is not sent at all.",
        act=_refuse_pop3_user,
        proof="refused, and no password was on the wire",
    ),
    Step(
        title="Plaintext smuggled behind STARTTLS is refused",
        reason="Somebody on the wire could put commands there that a server would take for encrypted ones.",
        act=_refuse_injection,
        proof="refused and reported",
    ),
    Step(
        title="One connection too many from one address is refused",
        reason="With a code that no mail program takes for a wrong password, and a reference that finds the log line.",
        act=_refuse_one_too_many,
        proof="the cap holds",
    ),
    Step(
        title="What the old server saw of all this",
        reason="Its own memory, joined with the proxy's log by the port between the two.",
        act=_ask_old_server,
        proof="only logins inside TLS reached it, and no password is in the log",
    ),
)
