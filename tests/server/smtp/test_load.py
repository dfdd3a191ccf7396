"""Many at once, and much at once: memory stays bounded, and everybody is served."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import pytest
from rig.scriptedsmtp import Visitor, hang_up
from rig.smtpscene import Client, Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event

MANY: Final = 200
CHUNK: Final = (b"0123456789abcde" * 66)[:998] + b"\r\n"
HUGE_CHUNKS: Final = 100_000
SLACK_BYTES: Final = 4 * 1024 * 1024
ROOMY: Final = {"limits": {"per_address": "none", "connection_rate": "none", "unauthenticated_per_address": "none"}}


def deliver(scene: Scene, number: int) -> bytes:
    client = scene.user() if number % 4 == 0 else scene.call().greet()
    recipient = b"u%d@example.org" % number
    answers = [client.deliver(b"Subject: %d of %d\r\n\r\nx" % (turn, number), recipient) for turn in range(2)]
    assert [answer[:3] for answer in answers] == [b"250", b"250"]
    return client.leave()


def test_two_hundred_sessions(make_scene: SceneMaker) -> None:
    scene = make_scene(**ROOMY)
    with ThreadPoolExecutor(MANY) as pool:
        goodbyes = list(pool.map(lambda number: deliver(scene, number), range(MANY)))
    assert set(goodbyes) == {b"221 2.0.0 goodbye\r\n"}
    scene.log.wait(Event.SESSION_CLOSED, MANY)
    scene.proxy.idle()
    closed = scene.log.lines(Event.SESSION_CLOSED)
    assert {(line["reason"], line["messages"], line["recipients"]) for line in closed} == {("logged_out", 2, 2)}
    assert len({line["session"] for line in closed}) == MANY
    assert len(scene.old.messages) == 2 * MANY
    for message in scene.old.messages:
        (recipient,) = message.recipients
        assert b" of %s\r\n" % recipient.removeprefix(b"RCPT TO:<u").partition(b"@")[0] in message.content, "no mix-up"


class Slow:
    """Takes nothing until it is told to, then counts what it takes."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.taken = 0

    def take(self, visitor: Visitor) -> None:
        assert self.may_go_on.wait(60)
        heard = visitor._heard
        while not heard.endswith(b"\r\n.\r\n"):
            data = visitor.sock.recv(1 << 20)
            self.taken += len(data)
            heard = (heard + data)[-5:]
        visitor.send(b"250 2.0.0 queued\r\n")
        visitor.line()
        hang_up(visitor)


def send_much(client: Client, sent: list[int]) -> None:
    block = CHUNK * 100
    for _ in range(HUGE_CHUNKS // 100):
        client.sock.sendall(block)
        sent[0] += len(block)
    client.sock.sendall(b".\r\n")


@pytest.mark.parametrize("listener", ["mx", "submissions"])
def test_a_hundred_megabytes_for_an_old_server_that_takes_them_late(make_scene: SceneMaker, listener: str) -> None:
    """What the old server does not take the client is not asked for; nothing is kept but one read of it."""
    scene = make_scene(smtp={"max_message_size": "200M"})
    slow = Slow()
    scene.old.script["CONTENT"] = slow.take
    client = scene.call().greet() if listener == "mx" else scene.user()
    client.sock.settimeout(60)
    client.open()
    sent = [0]
    tracemalloc.start()
    try:
        sender = threading.Thread(target=send_much, args=(client, sent))
        sender.start()
        before = -1
        pause = threading.Event()
        while before != sent[0]:
            before = sent[0]
            pause.wait(0.3)
        assert 0 < sent[0] < HUGE_CHUNKS * len(CHUNK) // 4, "the client is made to wait"
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        slow.may_go_on.set()
        sender.join()
        assert client.answer() == b"250 2.0.0 queued\r\n"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < SLACK_BYTES
    assert peak < held + SLACK_BYTES
    assert slow.taken > HUGE_CHUNKS * len(CHUNK) - (1 << 20)
    assert scene.log.wait(Event.MESSAGE_RELAYED)[0]["size"] == HUGE_CHUNKS * len(CHUNK)
    client.close()
    scene.closed()


def test_commands_that_nobody_waits_for_are_bounded(make_scene: SceneMaker) -> None:
    """A client that talks on while the old server thinks is stopped, and goes on where it was stopped."""
    scene = make_scene()
    goes_on = threading.Event()

    def think(visitor: Visitor) -> None:
        assert goes_on.wait(20)
        visitor.send(b"250 2.1.5 fine\r\n")

    scene.old.script["RCPT"] = [think, b"250 2.1.5 fine\r\n"]
    client = scene.call().greet()
    client.send(b"MAIL FROM:<joe@b.example>\r\nRCPT TO:<anna@example.org>\r\n")
    client.sock.settimeout(1.0)
    count, line = 0, b"NOOP\r\n" * 10_000
    with suppress(TimeoutError):
        while count < 64 << 20:
            count += client.sock.send(line)
    assert count < 32 << 20, "the kernel's buffers, and what one read brings"
    session = next(iter(scene.proxy.worker.roster._sessions))
    assert len(session._visit._conversation) < (1 << 19)
    client.reset()
    goes_on.set()
    scene.closed()
