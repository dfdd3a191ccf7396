"""The last steps: the limit of connections, and what the old server saw of everything."""

from contextlib import ExitStack
from typing import Final

from tlsproxy.core.events import Event
from tlsproxy.demo.dialogue import StepError
from tlsproxy.demo.mailserver import Record
from tlsproxy.demo.proxy import LogLine
from tlsproxy.demo.steps.stage import Stage, Step

_JUDGEMENT: Final = "the proxy, having a sender's password judged"
_NO_MAIL: Final = frozenset({"EHLO", "HELO", "QUIT"})


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
    records = stage.old.journal.records()
    judgements = 0
    for record in records:
        whose = _whose(stage, record, closed.get(record.client_port))
        judgements += whose == _JUDGEMENT
        stage.screen.event(f"{record.protocol} from port {record.client_port}: {' '.join(record.commands)}  = {whose}")
    logins = [login for record in records for login in record.logins]
    if judgements != stage.judgements:
        raise StepError(f"{judgements} logins belong to no session, expected {stage.judgements}")
    if len(logins) != stage.logins:
        raise StepError(f"the old server saw {len(logins)} logins, expected {stage.logins}")
    if any(stage.password in line.text for line in stage.proxy.lines()):
        raise StepError("the password is in the log")


def _whose(stage: Stage, record: Record, line: LogLine | None) -> str:
    """Whose connection it was, which may be nobody else's than these."""
    if any(not is_accepted for _, is_accepted in record.logins):
        raise StepError("a refused login reached the old server")
    if record.client_port in stage.direct_ports:
        return "ours, past the proxy"
    if line is not None:
        _must_be_expected(record, line)
        return f"session {line.fields.get('session')}"
    if record.protocol == "imap" and record.logins:
        return _JUDGEMENT
    if record.protocol == "smtp" and _NO_MAIL.issuperset(record.commands):
        return "the proxy, asking what the old server can do"
    raise StepError(f"a connection from port {record.client_port} that the proxy's log does not know")


def _must_be_expected(record: Record, line: LogLine) -> None:
    """Behind all but mail that strangers deliver must be TLS and a login."""
    is_stranger = record.protocol == "smtp" and line.fields.get("role") == "mx"
    if not is_stranger and not (line.fields.get("tls_version") and line.fields.get("login") == "ok"):
        raise StepError(f"a connection of a session without TLS or login: {line.text}")


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
        proof="only logins inside TLS and mail for its own domain came through, and no password is in the log",
    ),
)
