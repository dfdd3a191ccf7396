"""The last step's judgement: what the old server saw, held against the proxy's log."""

import io
import ssl
from types import SimpleNamespace
from typing import Any

import pytest

from tlsproxy.core.events import Event
from tlsproxy.demo.dialogue import StepError
from tlsproxy.demo.mailserver import Account, Journal
from tlsproxy.demo.proxy import LogLine
from tlsproxy.demo.screen import Screen
from tlsproxy.demo.setting import Ports
from tlsproxy.demo.steps import STEPS, Stage

GOOD: dict[str, Any] = {
    "event": Event.SESSION_CLOSED,
    "source_port": 5000,
    "session": "abc",
    "tls_version": "TLSv1.3",
    "login": "ok",
}


def judge(fields: dict[str, Any], *, text: str = "{}", is_accepted: bool = True, logins: int = 1) -> str:
    """Let the last step judge one connection; returns what it showed."""
    journal = Journal()
    journal.open("imap", 5000).note_login(b"demo", is_accepted=is_accepted)
    out = io.StringIO()
    proxy: Any = SimpleNamespace(lines=lambda: [LogLine(text, fields)])
    stage = Stage(
        screen=Screen(out),
        proxy=proxy,
        ports=Ports(imaps=1, imap=2, pop3s=3, pop3=4),
        trusted=ssl.create_default_context(),
        account=Account(b"demo", b"s3cret"),
        journal=journal,
        cap=1,
        logins=logins,
    )
    STEPS[-1].act(stage)
    return out.getvalue()


def test_what_is_as_it_should_be() -> None:
    assert "imap from port 5000" in judge(GOOD)


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"source_port": 5001}, "does not know"),
        ({"event": Event.LOGIN_FAILED}, "does not know"),
        ({"tls_version": None}, "without TLS"),
        ({"login": "failed"}, "without TLS or login"),
    ],
)
def test_a_connection_that_should_not_be(change: dict[str, Any], failure: str) -> None:
    with pytest.raises(StepError, match=failure):
        judge({**GOOD, **change})


def test_a_refused_login_that_came_through() -> None:
    with pytest.raises(StepError, match="a refused login reached the old server"):
        judge(GOOD, is_accepted=False)


def test_a_login_that_did_not_come_through() -> None:
    with pytest.raises(StepError, match="saw 1 logins, expected 2"):
        judge(GOOD, logins=2)


def test_a_password_in_the_log() -> None:
    with pytest.raises(StepError, match="password is in the log"):
        judge(GOOD, text='{"user": "s3cret"}')
