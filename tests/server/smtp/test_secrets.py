"""A password is in no line of the log, at any level, in no form, whatever goes wrong; nor is a message."""

import base64
from typing import Final

import pytest
from rig.scriptedsmtp import Turn, hang_up
from rig.smtpscene import PASSWORD, Scene, plain
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event
from tlsproxy.server.judges.base import Verdict

FORMS: Final = tuple(
    text
    for secret in (PASSWORD, b"\0anna\0" + PASSWORD)
    for text in (
        repr(secret)[2:-1],
        secret.decode("utf-8", "replace"),
        base64.b64encode(secret).decode("ascii"),
        secret.hex(),
    )
)


def assert_secret(scene: Scene, *more: str) -> None:
    scene.log.wait(Event.SESSION_CLOSED)
    scene.proxy.idle()
    lines = scene.log._lines
    assert scene.log.has_debug
    assert scene.log.lines(Event.SESSION_OPENED)
    told = repr(lines) + "".join(str(value) for line in lines for value in line.values())
    assert [form for form in (*FORMS, *more) if form in told] == []


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("mechanism", ["PLAIN", "PLAIN in two", "LOGIN", "LOGIN with the name"])
def test_logins(make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch, mechanism: str, verdict: Verdict) -> None:
    monkeypatch.setattr("tlsproxy.server.smtp.password_check.WRONG_AFTER_S", 0.01)
    scene = make_scene()
    scene.judge.verdicts[PASSWORD] = verdict
    client = scene.call("submissions").greet()
    name, word = base64.b64encode(b"anna"), base64.b64encode(PASSWORD)
    lines = {
        "PLAIN": [b"AUTH PLAIN " + plain(b"anna", PASSWORD)],
        "PLAIN in two": [b"AUTH PLAIN", plain(b"anna", PASSWORD)],
        "LOGIN": [b"AUTH LOGIN", name, word],
        "LOGIN with the name": [b"AUTH LOGIN " + name, word],
    }[mechanism]
    code = {Verdict.OK: b"235", Verdict.WRONG: b"535", Verdict.UNAVAILABLE: b"454"}[verdict]
    assert [client.say(line)[:3] for line in lines][-1] == code
    client.leave()
    failed = scene.log.lines(Event.LOGIN_FAILED)
    assert [line["credential"] for line in failed] == {"235": [], "535": [True], "454": [False]}[code.decode()]
    assert_secret(scene)


@pytest.mark.parametrize("listener", ["submission", "mx"])
def test_without_tls(scene: Scene, listener: str) -> None:
    client = scene.call(listener).greet()
    assert client.log_in()[:3] == {"submission": b"538", "mx": b"503"}[listener]
    client.leave()
    assert [line["user"] for line in scene.log.lines(Event.PASSWORD_EXPOSED)] == ["anna"]
    assert_secret(scene)


@pytest.mark.parametrize(
    "answer", [hang_up, b"535 5.7.8 no such word as " + PASSWORD + b"\r\n", b"454 4.7.0 no\r\n", b"x\r\n"]
)
def test_replayed_logins(make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch, answer: Turn) -> None:
    monkeypatch.setattr("tlsproxy.server.smtp.password_check.WRONG_AFTER_S", 0.01)
    scene = make_scene(backend={"login": "replay"}, submission={"auth": "replay"})
    scene.old.script["EHLO"] = b"250-old.example\r\n250 AUTH PLAIN\r\n"
    scene.old.script["AUTH"] = answer
    client = scene.call("submissions").greet()
    assert client.log_in()[:3] in {b"535", b"454"}
    client.leave()
    assert b"AUTH PLAIN " + plain(b"anna", PASSWORD) in scene.old.said()
    assert_secret(scene)


def test_words_in_the_wrong_place(scene: Scene) -> None:
    """As a client does that takes a refusal for a question."""
    client = scene.call("submissions").greet()
    word = base64.b64encode(PASSWORD)
    client.say(b"AUTH CRAM-MD5")
    client.say(word)
    client.say(b"AUTH " + word)
    client.say(PASSWORD)
    client.close()
    assert_secret(scene)


def test_subject_and_content(scene: Scene) -> None:
    client = scene.call().greet()
    assert client.deliver(b"Subject: the subject\r\n\r\nthe body").startswith(b"250 ")
    client.leave()
    assert_secret(scene, "the subject", "the body")
