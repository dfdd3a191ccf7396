"""Clients that do what no client should, and a bug of ours: each costs its own connection."""

from contextlib import suppress
from typing import Final

import pytest
from rig.smtpscene import Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event
from tlsproxy.server.smtp.desks.mx import MxDesk

NOOPS: Final = b"NOOP\r\n" * 10_000


def test_nothing_may_follow_starttls(scene: Scene) -> None:
    client = scene.call().greet()
    client.send(b"STARTTLS\r\nMAIL FROM:<joe@b.example>\r\n")
    assert client.rest().startswith(b"554 5.5.0 ")
    client.close()
    assert scene.log.lines(Event.STARTTLS_INJECTION)
    closed = scene.closed()
    assert (closed["reason"], closed["level"]) == ("starttls_injection", "warning")


def test_what_was_said_before_tls_is_forgotten(scene: Scene) -> None:
    client = scene.call().greet()
    client.say(b"MAIL FROM:<joe@b.example>")
    client.say(b"RCPT TO:<anna@example.org>")
    assert client.say(b"STARTTLS").startswith(b"220 ")
    client.secure(scene.pki.client_context())
    assert client.say(b"MAIL FROM:<joe@b.example>") == b"503 5.5.1 say EHLO first\r\n"
    client.say(b"EHLO client.example")
    assert client.say(b"RCPT TO:<anna@example.org>") == b"503 5.5.1 say MAIL first\r\n"
    assert client.deliver(b"x", b"bert@example.org").startswith(b"250 ")
    client.leave()
    assert scene.old.messages[0].recipients == (b"RCPT TO:<bert@example.org>",)


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"Host: mx.test.example", b"\x16\x03\x01\x02\x00\x01"])
def test_no_mail(scene: Scene, line: bytes) -> None:
    client = scene.call()
    client.answer()
    client.send(line + b"\r\n\r\n")
    assert client.rest().startswith(b"421 4.7.0 This is a mail server")
    client.close()
    assert scene.closed()["reason"] == "not_mail"


def test_who_does_not_wait_is_sent_away(scene: Scene) -> None:
    client = scene.call()
    client.answer()
    client.send(b"HELO a.example\r\nMAIL FROM:<joe@b.example>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n")
    assert client.rest().startswith(b"554 5.5.0 An answer has to be waited for")
    client.close()
    assert scene.closed()["reason"] == "not_synchronized"


def test_or_is_not_if_so_wished(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"strict_sync": False})
    client = scene.call()
    client.answer()
    client.send(
        b"EHLO a.example\r\nMAIL FROM:<joe@b.example>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
    )
    assert client.rest().endswith(b"250 2.0.0 queued as 4711\r\n221 2.0.0 goodbye\r\n")
    client.close()
    assert scene.closed()["messages"] == 1


def test_too_many_mistakes(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"max_errors": 3})
    client = scene.call().greet()
    assert [client.say(b"HM")[:3] for _ in range(4)] == [b"500", b"500", b"500", b"421"]
    assert client.rest() == b""
    client.close()
    assert scene.closed()["reason"] == "bad_commands"


def test_too_many_wrong_passwords(make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsproxy.server.smtp.password_check.WRONG_AFTER_S", 0.01)
    scene = make_scene(submission={"max_auth_failures": 2})
    client = scene.call("submissions").greet()
    assert [client.log_in(password=b"guess")[:3] for _ in range(2)] == [b"535", b"421"]
    client.close()
    assert len(scene.log.lines(Event.LOGIN_FAILED)) == 2
    assert scene.closed()["reason"] == "login_failures"


def test_who_reads_no_answers_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsproxy.server.smtp.caller._TAKE_S", 0.3)
    client = scene.call().greet()
    client.sock.settimeout(2.0)
    with suppress(TimeoutError, ConnectionError):
        for _ in range(1000):
            client.send(NOOPS)
    closed = scene.closed()
    assert closed["reason"] in {"idle_timeout", "bad_commands"}
    assert closed["bytes_from_client"] < 40 << 20


def test_recipients_of_others_and_of_nobody(scene: Scene) -> None:
    client = scene.call().greet()
    client.say(b"MAIL FROM:<joe@b.example>")
    for path in (b"<a@elsewhere.example>", b"<@mx:a@example.org>", b"<a%b.example@example.org>", b"<b!a@example.org>"):
        assert client.say(b"RCPT TO:" + path).startswith(b"550 5.7.1 relaying denied (id "), path
    assert client.say(b"RCPT TO:<Anna@EXAMPLE.org>").startswith(b"250 ")
    client.leave()
    assert [line for line in scene.old.said() if line.startswith(b"RCPT")] == [b"RCPT TO:<Anna@EXAMPLE.org>"]
    assert scene.closed()["refused"] == 4


def test_a_guesser_fills_no_disk(scene: Scene) -> None:
    client = scene.call().greet()
    client.say(b"MAIL FROM:<joe@b.example>")
    for number in range(30):
        client.say(b"RCPT TO:<u%d@elsewhere.example>" % number)
    client.leave()
    assert len(scene.log.lines(Event.MESSAGE_REFUSED)) == 20
    assert scene.closed()["refused"] == 30


def test_a_bug_of_ours(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(MxDesk, "sender", fail)
    client = scene.call().greet()
    client.send(b"MAIL FROM:<joe@b.example>\r\n")
    assert client.rest().startswith(b"421 4.3.0 An internal error came up, try again later")
    client.close()
    assert isinstance(scene.log.lines(Event.SESSION_BROKEN)[0]["exc_info"], ZeroDivisionError)
    closed = scene.closed()
    assert (closed["reason"], closed["level"]) == ("internal_error", "error")
