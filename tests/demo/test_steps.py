"""Steps that must fail: without a proxy in front, and where the old server's memory and the proxy's log differ."""

import io
import ssl
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tlsproxy.core.events import Event
from tlsproxy.demo.dialogue import StepError
from tlsproxy.demo.mailserver import Account, HostedMailServer, Mailbox, MailServer
from tlsproxy.demo.proxy import LogLine
from tlsproxy.demo.screen import Screen
from tlsproxy.demo.setting import Ports
from tlsproxy.demo.steps import STEPS, Stage

ACCOUNT = Account(b"demo", b"s3cret")
GOOD: dict[str, Any] = {
    "event": Event.SESSION_CLOSED,
    "source_port": 5000,
    "session": "abc",
    "tls_version": "TLSv1.3",
    "login": "ok",
}
STRANGER: dict[str, Any] = {**GOOD, "tls_version": None, "login": None}


def stage(old: MailServer, out: io.StringIO, *lines: LogLine) -> Stage:
    proxy: Any = SimpleNamespace(lines=lambda: list(lines))
    port = old.smtp_port
    return Stage(
        screen=Screen(out),
        proxy=proxy,
        ports=Ports(imaps=1, imap=2, pop3s=3, pop3=4, submissions=5, submission=port, smtp=port),
        trusted=ssl.create_default_context(),
        account=ACCOUNT,
        old=old,
        cap=1,
    )


def judge(
    fields: dict[str, Any],
    *,
    text: str = "{}",
    is_accepted: bool = True,
    logins: int = 1,
    judgements: int = 0,
    is_direct: bool = False,
) -> str:
    """Let the last step judge one connection; returns what it showed."""
    old = MailServer(ACCOUNT, Mailbox())
    old.journal.open("imap", 5000).note_login(b"demo", is_accepted=is_accepted)
    out = io.StringIO()
    all_of_it = stage(old, out, LogLine(text, fields))
    all_of_it.logins, all_of_it.judgements = logins, judgements
    all_of_it.direct_ports += [5000] if is_direct else []
    STEPS[-1].act(all_of_it)
    return out.getvalue()


def judge_smtp(fields: dict[str, Any], *verbs: bytes) -> str:
    """The same for a connection to the old SMTP server."""
    old = MailServer(ACCOUNT, Mailbox())
    record = old.journal.open("smtp", 5000)
    for verb in verbs:
        record.note_command(verb)
    out = io.StringIO()
    STEPS[-1].act(stage(old, out, LogLine("{}", fields)))
    return out.getvalue()


def test_what_is_as_it_should_be() -> None:
    assert "imap from port 5000:   = session abc" in judge(GOOD)
    assert "= ours, past the proxy" in judge({}, is_direct=True)
    assert "= the proxy, having a sender's password judged" in judge({}, judgements=1)
    assert "EHLO MAIL  = session abc" in judge_smtp(GOOD, b"EHLO", b"MAIL")
    assert "= session abc" in judge_smtp({**STRANGER, "role": "mx"}, b"MAIL")
    assert "= the proxy, asking what the old server can do" in judge_smtp({}, b"EHLO", b"QUIT")


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"source_port": 5001}, "1 logins belong to no session, expected 0"),
        ({"event": Event.LOGIN_FAILED}, "1 logins belong to no session, expected 0"),
        ({"tls_version": None}, "without TLS"),
        ({"login": "failed"}, "without TLS or login"),
        ({"tls_version": None, "role": "mx"}, "without TLS"),
    ],
)
def test_a_connection_that_should_not_be(change: dict[str, Any], failure: str) -> None:
    with pytest.raises(StepError, match=failure):
        judge({**GOOD, **change})


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({}, "does not know"),
        ({**STRANGER, "role": "submission"}, "without TLS or login"),
    ],
)
def test_mail_that_should_not_be(fields: dict[str, Any], failure: str) -> None:
    with pytest.raises(StepError, match=failure):
        judge_smtp(fields, b"EHLO", b"MAIL", b"RCPT", b"QUIT")


def test_a_refused_login_that_came_through() -> None:
    with pytest.raises(StepError, match="a refused login reached the old server"):
        judge(GOOD, is_accepted=False)


def test_a_login_that_did_not_come_through() -> None:
    with pytest.raises(StepError, match="saw 1 logins, expected 2"):
        judge(GOOD, logins=2)


def test_a_password_in_the_log() -> None:
    with pytest.raises(StepError, match="password is in the log"):
        judge(GOOD, text='{"user": "s3cret"}')


@pytest.mark.parametrize(
    ("title", "failure"),
    [
        ("A sender's login in clear", "begins with 538"),
        ("A stranger who delivers", "begins with 550 5.7.1"),
        ("A message hidden in another", "begins with 221"),
    ],
)
def test_the_old_server_alone_does_what_the_proxy_is_to_prevent(title: str, failure: str) -> None:
    act: Callable[[Stage], None] = next(step.act for step in STEPS if step.title.startswith(title))
    with HostedMailServer(ACCOUNT, Mailbox()) as hosted, pytest.raises(StepError, match=failure):
        act(stage(hosted.server, io.StringIO()))
