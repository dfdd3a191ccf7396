"""The last steps: the limit of connections, and what the old server saw of everything."""

from contextlib import ExitStack
from typing import Final

from tlsproxy.core.events import Event
from tlsproxy.demo.dialogue import StepError
from tlsproxy.demo.mailserver import Record
from tlsproxy.demo.proxy import LogLine
from tlsproxy.demo.steps.stage import Stage, Step


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
