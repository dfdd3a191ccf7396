"""Postmaster is reached by everybody; who shares a message with postmaster is not."""

from rig.smtpscene import STRANGER
from server.smtp.conftest import SceneMaker


def test_postmaster_opens_the_door_to_nobody_else(make_scene: SceneMaker) -> None:
    scene = make_scene()
    scene.zones.add_policy("b.example", "v=spf1 -all")
    client = scene.call(source=STRANGER).greet(b"mail.b.example")
    client.say(b"MAIL FROM:<joe@b.example>")
    assert client.say(b"RCPT TO:<anna@example.org>").startswith(b"550 ")
    assert client.say(b"RCPT TO:<postmaster@example.org>").startswith(b"250 ")
    assert client.say(b"RCPT TO:<postmaster>").startswith(b"250 ")
    assert client.say(b"RCPT TO:<anna@example.org>").startswith(b"550 ")
    assert client.say(b"DATA").startswith(b"354 ")
    assert client.say(b"Subject: why?\r\n\r\n.").startswith(b"250 ")
    (message,) = scene.old.messages
    assert message.recipients == (b"RCPT TO:<postmaster@example.org>", b"RCPT TO:<postmaster>")
    assert b"\r\nX-Tlsproxy: " in message.content
    assert b"would=reject;" in message.content
