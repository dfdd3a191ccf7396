"""Several messages of one client, and an old server that does not live to see all of them."""

from typing import Final

import pytest
from rig.scriptedsmtp import Turn, break_off, hang_up, then
from rig.smtpscene import Scene
from server.smtp.conftest import SceneMaker

LOST: Final = b"451 4.4.2 lost the mail server\r\n"
LATER: Final = b"421 4.3.2 going down\r\n"
SOFTENED: Final = b"451 4.3.2 going down\r\n"


@pytest.mark.parametrize("turn", [hang_up, break_off, then(LATER, hang_up), then(b"250 what?\r\n", hang_up)])
def test_gone_between_two_messages(scene: Scene, turn: Turn) -> None:
    client = scene.call().greet()
    scene.old.script["DOT"] = [then(b"250 2.0.0 first\r\n", turn), b"250 2.0.0 second\r\n"]
    assert client.deliver(b"1") == b"250 2.0.0 first\r\n"
    scene.old.wait_gone(2)
    assert client.deliver(b"2") == b"250 2.0.0 second\r\n"
    client.leave()
    assert scene.closed()["messages"] == 2


def test_going_down_at_the_second_message_and_again(scene: Scene) -> None:
    client = scene.call().greet()
    assert client.deliver(b"1").startswith(b"250 ")
    scene.old.script["MAIL"] = LATER
    client.say(b"MAIL FROM:<joe@b.example>")
    assert client.say(b"RCPT TO:<anna@example.org>") == SOFTENED
    assert client.say(b"NOOP").startswith(b"250 ")
    client.leave()
    assert scene.closed()["messages"] == 1


def test_a_user_whose_login_was_replayed_has_to_come_again(make_scene: SceneMaker) -> None:
    scene = make_scene(backend={"login": "replay"}, submission={"auth": "replay"})
    scene.old.script["EHLO"] = b"250-old.example\r\n250 AUTH PLAIN\r\n"
    scene.old.script["AUTH"] = b"235 2.7.0 in\r\n"
    client = scene.user()
    scene.old.script["MAIL"] = hang_up
    assert client.say(b"MAIL FROM:<anna@example.org>") == LOST
    assert client.rest().startswith(b"421 4.3.2 The mail server closed the connection")
    client.close()
    assert scene.closed()["reason"] == "backend_closed"


def test_a_transaction_that_cannot_be_taken_back_is_left_behind(scene: Scene) -> None:
    """Else the next message might go to the recipients of this one as well."""
    client = scene.call().greet()
    scene.old.script["RSET"] = b"500 5.5.1 what?\r\n"
    client.say(b"MAIL FROM:<joe@b.example>")
    client.say(b"RCPT TO:<anna@example.org>")
    assert client.say(b"RSET").startswith(b"250 ")
    assert client.deliver(b"x", b"bert@example.org").startswith(b"250 ")
    client.leave()
    assert scene.old.messages[0].recipients == (b"RCPT TO:<bert@example.org>",)
    assert len(scene.old.visitors) == 3


@pytest.mark.parametrize("hello", [b"EHLO client.example", b"HELO other.example"])
def test_a_new_hello_takes_the_transaction_back(scene: Scene, hello: bytes) -> None:
    client = scene.call().greet()
    client.say(b"MAIL FROM:<joe@b.example>")
    client.say(b"RCPT TO:<anna@example.org>")
    assert client.say(hello).startswith(b"250")
    assert client.deliver(b"x", b"bert@example.org").startswith(b"250 ")
    client.leave()
    said = scene.old.said()
    assert said.index(b"RSET") < said.index(b"RCPT TO:<bert@example.org>")
