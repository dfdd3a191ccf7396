"""An SMTP session that is over is gone: nothing of it waits for the garbage collector, whatever it ended by."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from rig.scriptedsmtp import hang_up, say_nothing
from rig.smtpscene import STRANGER, Scene

from tlsproxy.core.outcome import Reason
from tlsproxy.core.summary import Summary
from tlsproxy.net.endpoint import Endpoint
from tlsproxy.protocols.smtp.conversation import Conversation
from tlsproxy.server.smtp.caller import Caller
from tlsproxy.server.smtp.delivering.delivery import Delivery
from tlsproxy.server.smtp.delivering.message import Message
from tlsproxy.server.smtp.delivering.old_server import OldServer
from tlsproxy.server.smtp.desks.examination import Examination
from tlsproxy.server.smtp.notes import Notes
from tlsproxy.server.smtp.session import SmtpSession
from tlsproxy.server.smtp.visit import Visit

OURS: Final = (
    *(SmtpSession, Visit, Caller, Conversation, Delivery, Message, OldServer, Examination, Notes),
    *(Endpoint, Summary),
)


@pytest.fixture(autouse=True)
def before() -> Iterator[set[int]]:
    """What other tests of this process hold; no collector from here on."""
    gc.collect()
    gc.disable()
    yield {id(each) for each in ours()}
    gc.enable()


def ours() -> list[Any]:
    return [each for each in gc.get_objects() if isinstance(each, OURS)]


def closes_at_once(scene: Scene) -> None:
    scene.call().close()


def leaves(scene: Scene) -> None:
    client = scene.call().greet()
    client.deliver(b"x")
    client.leave()


def leaves_under_tls(scene: Scene) -> None:
    client = scene.user()
    client.deliver(b"x")
    client.leave()


def turns_to_tls(scene: Scene) -> None:
    scene.call().greet().start_tls(scene.pki.client_context()).leave()


def is_a_stranger(scene: Scene) -> None:
    client = scene.call(source=STRANGER).greet()
    client.say(b"MAIL FROM:<joe@b.example>")
    client.say(b"RCPT TO:<anna@example.org>")
    client.leave()


def resets_in_the_content(scene: Scene) -> None:
    client = scene.call().greet().open()
    client.send(b"half\r\n")
    client.reset()


def leaves_with_a_question_open(scene: Scene) -> None:
    client = scene.call().greet()
    scene.old.script["RCPT"] = say_nothing
    client.send(b"MAIL FROM:<joe@b.example>\r\nRCPT TO:<anna@example.org>\r\n")
    scene.old.wait(lambda: len(scene.old.visitors) > 1 and bool(scene.old.visitors[-1].recipients))
    client.close()


def loses_the_old_server(scene: Scene) -> None:
    scene.old.script["DOT"] = hang_up
    client = scene.call().greet()
    client.deliver(b"x")
    client.leave()


def is_stopped(scene: Scene) -> None:
    client = scene.call().greet().open()
    scene.proxy.call(lambda: next(iter(scene.proxy.worker.roster._sessions)).stop(Reason.SHUTDOWN))
    client.rest()
    client.close()


LIFE: Final = (
    *(closes_at_once, leaves, leaves_under_tls, turns_to_tls, is_a_stranger),
    *(resets_in_the_content, leaves_with_a_question_open, loses_the_old_server, is_stopped),
)


@pytest.mark.parametrize("life", LIFE)
def test_nothing_is_left(scene: Scene, life: Callable[[Scene], None], before: set[int]) -> None:
    life(scene)
    scene.closed()
    scene.proxy.wait_for(turns())
    assert [type(each) for each in ours() if id(each) not in before] == []


async def turns() -> None:
    """Until the last task has ended too."""
    for _ in range(5):
        await asyncio.sleep(0)
