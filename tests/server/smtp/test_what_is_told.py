"""The old server is told what the client says now, and nothing that it does not understand."""

import pytest
from rig.smtpscene import Scene
from server.smtp.conftest import SceneMaker

_WITHOUT_UTF8 = b"250-old.example\r\n250 8BITMIME\r\n"


def test_addresses_beyond_ascii_wait_for_a_server_that_takes_them(scene: Scene) -> None:
    client = scene.call().greet()
    scene.old.script["EHLO"] = _WITHOUT_UTF8
    assert client.say(b"MAIL FROM:<joe@b.example> SMTPUTF8").startswith(b"250 ")
    assert client.say("RCPT TO:<jürgen@example.org>".encode()).startswith(b"451 4.6.7 ")
    assert scene.old.said(1) == [b"EHLO mx.test.example"]
    assert b"SMTPUTF8" not in client.say(b"EHLO client.example")
    assert client.deliver(b"Subject: hi\r\n\r\n", b"anna@example.org").startswith(b"250 ")


@pytest.mark.parametrize(("identity", "connections"), [("xclient", 3), ("none", 2)])
def test_a_client_that_changes_its_name(make_scene: SceneMaker, identity: str, connections: int) -> None:
    scene = make_scene(backend={"identity": identity})
    scene.old.script["EHLO"] = b"250-old.example\r\n250 XCLIENT NAME ADDR PROTO HELO\r\n"
    scene.old.script["XCLIENT"] = b"220 again\r\n"
    client = scene.call().greet(b"one.example")
    for name in (b"one.example", b"one.example", b"two.example"):
        client.say(b"EHLO " + name)
        assert client.deliver(b"Subject: hi\r\n\r\n", b"anna@example.org").startswith(b"250 ")
    client.leave()
    assert len(scene.old.visitors) == connections
    if identity == "xclient":
        assert scene.old.said(1)[-1] == b"QUIT"
        assert scene.old.said(2)[2] == b"EHLO two.example"
