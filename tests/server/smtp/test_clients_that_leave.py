"""Clients that are gone, at every moment: nothing is delivered, nothing goes on, one line is written."""

import socket
import threading
from collections.abc import Callable
from typing import Final

import pytest
from rig.scriptedsmtp import after
from rig.smtpscene import Client, Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event

Leave = Callable[[Client], None]


def closes(client: Client) -> None:
    client.close()


def resets(client: Client) -> None:
    client.reset()


# Who closes with an answer unread resets, too; and OpenSSL may tell a reset as an end of file.
REASONS: Final = frozenset({"client_closed", "client_reset"})

both_ways = pytest.mark.parametrize("leave", [closes, resets])


def assert_gone(scene: Scene, visitors: int) -> None:
    closed = scene.closed()
    assert closed["reason"] in REASONS
    assert closed["messages"] == 0
    assert scene.old.messages == []
    assert not scene.log.lines(Event.MESSAGE_RELAYED)
    assert not scene.log.lines(Event.SESSION_BROKEN)
    scene.old.wait_gone(visitors)
    assert len(scene.old.visitors) == visitors


@both_ways
def test_at_once(scene: Scene, leave: Leave) -> None:
    leave(scene.call())
    assert_gone(scene, 0)


@both_ways
def test_in_the_middle_of_a_command(scene: Scene, leave: Leave) -> None:
    client = scene.call().greet()
    client.send(b"MAIL FROM:<jo")
    leave(client)
    assert_gone(scene, 1)


@both_ways
@pytest.mark.parametrize("listener", ["submissions", "submission"])
def test_under_tls(scene: Scene, leave: Leave, listener: str) -> None:
    client = scene.call(listener).greet()
    if listener == "submission":
        client.start_tls(scene.pki.client_context())
    leave(client)
    assert scene.closed()["reason"] in REASONS


@both_ways
def test_in_the_middle_of_the_handshake(scene: Scene, leave: Leave) -> None:
    client = scene.call()
    client.answer()
    client.say(b"EHLO a.example")
    assert client.say(b"STARTTLS").startswith(b"220 ")
    client.send(b"\x16\x03\x01\x02\x00\x01")
    leave(client)
    closed = scene.closed()
    assert (closed["phase"], closed["side"]) == ("handshake", "client")


@both_ways
def test_while_a_password_is_judged(scene: Scene, leave: Leave) -> None:
    scene.judge.silent.add(b"hm")
    client = scene.call("submission").greet().start_tls(scene.pki.client_context())
    client.send(b"AUTH LOGIN\r\n")
    client.answer()
    client.send(b"YW5uYQ==\r\n")
    client.answer()
    client.send(b"aG0=\r\n")
    scene.judge.asked.acquire()
    leave(client)
    closed = scene.closed()
    assert closed["reason"] in REASONS
    assert scene.judge.given_up == 1
    assert closed["login"] == "none"


@both_ways
@pytest.mark.parametrize("key", ["EHLO", "MAIL", "RCPT", "DATA"])
def test_while_the_old_server_thinks(scene: Scene, leave: Leave, key: str) -> None:
    client = scene.call().greet()
    is_asked, goes_on = threading.Event(), threading.Event()
    answer = after(goes_on, b"250 late\r\n")

    def think(visitor: object) -> None:
        is_asked.set()
        answer(visitor)  # type: ignore[arg-type] # a visitor

    scene.old.script[key] = think
    client.send(b"MAIL FROM:<joe@b.example>\r\nRCPT TO:<anna@example.org>\r\n")
    if key == "DATA":
        client.answer()
        client.answer()
        client.send(b"DATA\r\n")
    assert is_asked.wait(20)
    leave(client)
    scene.log.closed()
    goes_on.set()
    assert_gone(scene, 2)


@both_ways
@pytest.mark.parametrize("sent", [b"", b"Subject: half\r\n", b"x\r\n.", b"x\r\n.\r"])
def test_in_the_middle_of_the_content(scene: Scene, leave: Leave, sent: bytes) -> None:
    """The old server must not see the end of a message whose end did not come."""
    client = scene.call().greet().open()
    client.send(sent)
    leave(client)
    assert_gone(scene, 2)
    torn = scene.old.visitors[-1].torn
    assert not torn.endswith((b"\r\n.\r\n", b"\r\n."))
    assert scene.old.said()[-1] == b"DATA", "and no QUIT either, which might be taken for content"


@both_ways
def test_while_it_is_delivered(scene: Scene, leave: Leave) -> None:
    """What was sent whole is delivered whole; who is gone will send it again, as after any lost answer."""
    client = scene.call().greet().open()
    goes_on = threading.Event()
    scene.old.script["DOT"] = after(goes_on, b"250 2.0.0 queued\r\n")
    client.send(b"Subject: whole\r\n.\r\n")
    scene.old.wait(lambda: bool(scene.old.visitors[-1].contents))
    leave(client)
    goes_on.set()
    assert scene.log.wait(Event.MESSAGE_RELAYED)[0]["reply"] == "250 2.0.0 queued"
    closed = scene.closed()
    assert closed["messages"] == 1
    assert closed["reason"] in REASONS


def test_half_closed_in_the_middle_of_the_content(scene: Scene) -> None:
    client = scene.call().greet().open()
    client.send(b"Subject: half\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest() == b""
    client.close()
    assert_gone(scene, 2)


@both_ways
def test_while_others_are_served(make_scene: SceneMaker, leave: Leave) -> None:
    """One that leaves while it is found out what the old server can do does not spoil it for the others."""
    scene = make_scene()
    goes_on = threading.Event()
    answer = after(goes_on, b"220 old.example\r\n")
    is_asked = threading.Event()

    def think(visitor: object) -> None:
        is_asked.set()
        answer(visitor)  # type: ignore[arg-type] # a visitor

    scene.old.script["GREETING"] = [think, b"220 old.example\r\n"]
    first = scene.call()
    first.answer()
    first.send(b"EHLO a.example\r\n")
    assert is_asked.wait(20)
    second = scene.call()
    second.answer()
    leave(first)
    scene.log.wait(Event.SESSION_CLOSED)
    goes_on.set()
    assert b"8BITMIME" in second.say(b"EHLO b.example")
    second.close()
    scene.log.wait(Event.SESSION_CLOSED, 2)
    scene.proxy.idle()
