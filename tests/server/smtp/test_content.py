"""Content on its way: what is too big, what is malformed, what stands behind its end."""

from typing import Final

import pytest
from rig.smtpscene import Client, Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event

TOO_BIG: Final = b"552 5.3.4 message too big\r\n"
SMALL: Final = {"smtp": {"max_message_size": "64KiB"}}
BIG: Final = b"x" * 1022 + b"\r\n"


def own(scene: Scene, number: int = -1) -> bytes:
    """A message as its sender wrote it, without what was put above it."""
    received, _, content = scene.old.messages[number].content.partition(b"\r\nSubject: ")
    assert received.startswith(b"Received: ")
    return b"Subject: " + content


def goes_on(client: Client) -> None:
    assert client.deliver(b"Subject: next").startswith(b"250 ")
    client.leave()


def test_too_big_by_its_own_word(make_scene: SceneMaker) -> None:
    scene = make_scene(**SMALL)
    client = scene.call().greet()
    assert client.say(b"MAIL FROM:<joe@b.example> SIZE=65537") == TOO_BIG
    (refused,) = scene.log.wait(Event.MESSAGE_REFUSED)
    assert (refused["reason"], refused["sender"], refused["by"]) == ("message_too_big", "joe@b.example", "proxy")
    assert client.say(b"MAIL FROM:<joe@b.example> SIZE=65536").startswith(b"250 ")
    client.leave()
    assert scene.closed()["refused"] == 1


def test_the_old_servers_limit_counts_less_what_is_added(scene: Scene) -> None:
    scene.old.script["EHLO"] = b"250-old.example\r\n250 SIZE 10000\r\n"
    client = scene.call()
    client.answer()
    assert b"250-SIZE 5904\r\n" in client.say(b"EHLO a.example")
    assert client.say(b"MAIL FROM:<joe@b.example> SIZE=5905") == TOO_BIG


def test_too_big_in_truth(make_scene: SceneMaker) -> None:
    """It is read to its end, and the old server, left in the middle of it, delivers nothing."""
    scene = make_scene(**SMALL)
    client = scene.call().greet().open()
    client.send(BIG * 65)
    scene.old.wait_gone(2)
    client.send(b"MAIL FROM:<in@content.example>\r\n" * 1000)
    assert client.say(b".") == TOO_BIG
    (refused,) = scene.log.wait(Event.MESSAGE_REFUSED)
    assert (refused["reason"], refused["by"], refused["level"]) == ("message_too_big", "proxy", "info")
    assert scene.old.messages == []
    assert not scene.old.visitors[-1].torn.endswith(b"\r\n.\r\n")
    goes_on(client)
    assert scene.closed()["messages"] == 1


def test_the_largest_message_fits(make_scene: SceneMaker) -> None:
    scene = make_scene(**SMALL)
    client = scene.call().greet()
    assert client.deliver(b"Subject: " + (BIG * 64)[9:-2]).startswith(b"250 ")
    assert scene.log.wait(Event.MESSAGE_RELAYED)[0]["size"] == 65_536


def test_bare_newlines_are_made_line_ends(scene: Scene) -> None:
    client = scene.call().greet().open()
    assert client.say(b"Subject: x\n.\nMAIL FROM:<a@b>\r.\r\ny\r\n.").startswith(b"250 ")
    assert own(scene) == b"Subject: x\r\n..\r\nMAIL FROM:<a@b>\r\n..\r\ny\r\n"
    assert scene.log.wait(Event.MESSAGE_RELAYED)[0]["bare_newlines"] == 3
    goes_on(client)


def test_bare_newlines_are_refused_if_so_wished(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"bare_newline": "reject"})
    client = scene.call().greet().open()
    client.send(b"Subject: x\n.\n")
    scene.old.wait_gone(2)
    assert client.say(b"MAIL FROM:<a@b>\r\n.") == b"550 5.5.2 bare CR or LF in message\r\n"
    assert scene.log.wait(Event.MESSAGE_REFUSED)[0]["reason"] == "bare_newline"
    goes_on(client)
    assert len(scene.old.messages) == 1


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n. \r\n"]
)
def test_only_one_end_is_an_end(scene: Scene, end: bytes) -> None:
    """What every server of the world has once taken for an end of a message reaches the old one as content."""
    client = scene.call().greet().open()
    assert client.say(b"Subject: x" + end + b"MAIL FROM:<smuggler@b.example>\r\n.").startswith(b"250 ")
    goes_on(client)
    assert len(scene.old.messages) == 2
    assert b"smuggler" in scene.old.messages[0].content
    assert not any(b"smuggler" in line for line in scene.old.said())


def test_dots_and_splits(scene: Scene) -> None:
    client = scene.call().greet().open()
    for byte in b"Subject: .\r\n..\r\n...x\r\n.\r\n":
        client.send(bytes([byte]))
    assert client.answer().startswith(b"250 ")
    assert own(scene) == b"Subject: .\r\n..\r\n...x\r\n"


def test_empty_content(scene: Scene) -> None:
    client = scene.call().greet().open()
    assert client.say(b".").startswith(b"250 ")
    assert scene.log.wait(Event.MESSAGE_RELAYED)[0]["size"] == 0


def test_forged_fields_are_taken_out(scene: Scene) -> None:
    client = scene.call().greet()
    forged = b"Authentication-Results: (x) MX.test.example;\r\n spf=pass\r\nX-Tlsproxy: would=accept\r\n"
    other = b"Authentication-Results: elsewhere.example; spf=pass\r\n"
    assert client.deliver(forged + other + b"Subject: x\r\n\r\nX-Tlsproxy: in the body").startswith(b"250 ")
    content = scene.old.messages[0].content
    assert other in content
    assert b"spf=pass\r\nX-Tlsproxy" not in content
    assert content.count(b"X-Tlsproxy") == 1
    assert b"MX.test.example" not in content


def test_commands_behind_the_end_wait_for_their_turn(scene: Scene) -> None:
    client = scene.call().greet().open()
    client.send(b"Subject: 1\r\n.\r\nNOOP\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n")
    assert [client.answer()[:3] for _ in range(5)] == [b"250", b"250", b"250", b"250", b"354"]
    assert client.say(b"Subject: 2\r\n.").startswith(b"250 ")
    assert [own(scene, number) for number in (0, 1)] == [b"Subject: 1\r\n", b"Subject: 2\r\n"]
