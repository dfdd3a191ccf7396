"""One worker process as the supervisor sees it: a real child, its line played by the test."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any, Final

import pytest
from rig.planes import until

from tlsproxy.admission.base import Ticket
from tlsproxy.core.addresses import Peer
from tlsproxy.process.crew import member as room
from tlsproxy.process.crew.member import Member, Stage
from tlsproxy.process.line import channel, words
from tlsproxy.process.line.channel import make_pair, receive

WITHIN_S: Final = 10.0
READY: Final = words.encode(words.Ready())


class Child:
    """A member whose process only lives, and the worker's end of its line."""

    def __init__(self, command: tuple[str, ...] = ("sleep", "60")) -> None:
        ours, self.line = make_pair()
        self.line.settimeout(0)
        self.process = subprocess.Popen(command)
        self.words: list[words.FromWorker] = []
        self.rooms = 0
        self.ended: list[int] = []
        self.taken: list[tuple[int, bytes, int]] = []
        self.member = Member(7, self.process, ours, on_word=self._heard, on_room=self._room, on_ended=self._ended)

    def _heard(self, _: Member, word: words.FromWorker) -> None:
        self.words.append(word)

    def _room(self) -> None:
        self.rooms += 1

    def _ended(self, member: Member, status: int) -> None:
        self.taken = member.take_back()
        self.ended.append(status)

    def hear(self) -> list[tuple[Any, list[int]]]:
        heard = []
        while True:
            try:
                message, fds = receive(self.line)
            except BlockingIOError:
                return heard
            heard.append((words.decode(message), fds))

    async def end(self) -> int:
        async with asyncio.timeout(WITHIN_S):
            await until(lambda: bool(self.ended))
        (status,) = self.ended
        return status


@contextmanager
def child(*command: str) -> Iterator[Child]:
    found = Child(command or ("sleep", "60"))
    yield found
    found.process.kill()
    found.process.wait()
    found.line.close()
    if not found.ended:
        found.member._ended()


def session(number: int) -> bytes:
    return number.to_bytes(6)


def connection(number: int) -> tuple[bytes, int]:
    ours, theirs = socket.socketpair()
    theirs.close()
    peer = Peer(IPv4Address("192.0.2.1"), 1000 + number)
    ticket = Ticket(id=number, peer=peer, listener="pop3", owner=7, is_exempt=False, is_stressed=False)
    return words.entry(ticket, peer.ip.packed, 1, session(number)), ours.detach()


def is_open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")  # noqa: PTH110 - a look


async def soon(is_so: Any) -> None:
    async with asyncio.timeout(WITHIN_S):
        await until(is_so)


async def test_connections_go_in_one_message(closing: Any) -> None:
    one = closing(child())
    one.member.flush()
    given = [connection(number) for number in range(3)]
    for each, fd in given:
        one.member.serve(each, fd)
    one.member.say(words.Ping())
    (serve, fds), (ping, none) = one.hear()
    assert serve.entries == b"".join(entry for entry, _ in given)
    assert (len(fds), ping, none) == (3, words.Ping(), [])
    assert not any(is_open(fd) for fd in {fd for _, fd in given} - set(fds))
    for fd in fds:
        os.close(fd)


async def test_one_that_asks_and_does_not_listen(closing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_MOST_WAITING", 10)
    one = closing(child())
    for number in range(10_000):
        one.member.answer(words.Spent(question=number, limit=""))
    assert len(one.member.channel._waiting) == 10
    one.member.say(words.Ping())
    answers = len(one.hear())
    await soon(lambda: len(one.member.channel._waiting) == 0)
    assert [type(word) for word, _ in one.hear()] == [words.Spent] * 10 + [words.Ping]
    assert answers < 10_000 - 10
    one.member.answer(words.Spent(question=1, limit=""))
    assert one.hear() == [(words.Spent(question=1, limit=""), [])]


async def test_room(closing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = closing(child())
    member = one.member
    assert not member.has_room, "it has not said that it is ready"
    member.stage = Stage.SERVING
    assert member.has_room
    for number in range(room._BATCH):
        assert member.has_room
        member.serve(*connection(number))
    assert not member.has_room, "a batch is full"
    member.flush()
    assert member.has_room
    for _, fds in one.hear():
        for fd in fds:
            os.close(fd)
    while member.channel.is_clear:
        member.say(words.Evict(ticket=1, limit="x" * 4000))
    assert not member.has_room, "it does not read"
    one.hear()
    await soon(lambda: one.rooms == 1)
    assert member.has_room
    one.hear()
    member.ping()
    assert member.has_room
    monkeypatch.setattr(room, "_SUSPECT_S", 0.0)
    assert not member.has_room, "it does not answer"
    monkeypatch.undo()
    member.leave(words.Stop(), 1.0)
    assert not member.has_room


async def test_signs_of_life(closing: Any) -> None:
    one = closing(child())
    assert one.member.silence_s == 0.0
    one.member.ping()
    one.member.ping()
    assert [word for word, _ in one.hear()] == [words.Ping()], "asked once until it answers"
    await soon(lambda: one.member.silence_s > 0.0)
    one.line.send(words.encode(words.Pong()))
    await soon(lambda: one.words == [words.Pong()])
    assert (one.member.silence_s, one.rooms) == (0.0, 1)
    one.member.ping()
    assert len(one.hear()) == 1


async def test_overdue(closing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = closing(child())
    assert not one.member.is_overdue
    one.member._gone_by = 0.0
    assert one.member.is_overdue, "it never said that it is ready"
    one.member.stage = Stage.SERVING
    assert not one.member.is_overdue
    one.member.leave(words.Drain(window_s=5.0), 100.0)
    assert not one.member.is_overdue
    one.member.leave(words.Stop(), -1.0)
    assert one.member.is_overdue
    assert [word for word, _ in one.hear()] == [words.Drain(window_s=5.0), words.Stop()]


@pytest.mark.parametrize(
    "message",
    [
        b"\x05",
        b"\xff",
        words.encode(words.Stop()),
        words.encode(words.Serve(entries=b"")),
        b"\x01\x00",
    ],
)
async def test_nonsense_ends_it(closing: Any, message: bytes) -> None:
    one = closing(child())
    one.line.send(message)
    assert await one.end() == -signal.SIGKILL
    assert one.words == []
    one.member.kill()


async def test_word_that_makes_no_sense_to_the_crew_ends_it(closing: Any) -> None:
    one = closing(child())

    def refuse(*_: object) -> None:
        raise ValueError("no such reason")

    one.member._on_word = refuse
    one.line.send(READY)
    assert await one.end() == -signal.SIGKILL


async def test_descriptors_are_not_taken_from_it(closing: Any) -> None:
    one = closing(child())
    socket.send_fds(one.line, [READY], [0, 1])
    await soon(lambda: bool(one.words))


async def test_closed_line_ends_it(closing: Any) -> None:
    one = closing(child())
    one.line.close()
    assert await one.end() == -signal.SIGKILL


async def test_one_that_ends_by_itself_is_not_killed(closing: Any) -> None:
    """Its exit code tells what went wrong."""
    one = closing(child("sh", "-c", "sleep 0.1; exit 4"))
    one.member.stage = Stage.SERVING
    one.line.close()
    await asyncio.sleep(0.02)
    assert not one.member.has_room
    assert await one.end() == 4


async def test_one_that_leaves_may_close_its_line_and_take_its_time(closing: Any) -> None:
    one = closing(child())
    one.member.leave(words.Stop(), 5.0)
    one.line.close()
    await asyncio.sleep(0.05)
    assert one.ended == []
    one.member.kill()
    assert await one.end() == -signal.SIGKILL


async def test_last_words_are_heard_before_the_end(closing: Any) -> None:
    one = closing(child("sh", "-c", "exit 5"))
    for ticket in range(100):
        one.line.send(words.encode(words.Released(tickets=[ticket])))
    one.process.wait()
    status = await one.end()
    assert len(one.words) == 100
    assert status == 5


async def test_what_it_was_not_sent_is_taken_back(closing: Any) -> None:
    one = closing(child())
    one.member.stage = Stage.SERVING
    while one.member.channel.is_clear:
        one.member.say(words.Ping())
    sent, waiting = connection(1), connection(2)
    one.member.serve(*sent)
    one.member.flush()
    spare = os.open("/dev/null", os.O_RDONLY)
    one.member.say(words.Supplied(), (spare,))
    one.member.serve(*waiting)
    one.process.kill()
    await one.end()
    assert one.taken == [(1, session(1), sent[1]), (2, session(2), waiting[1])]
    assert not is_open(spare)
    for *_, fd in one.taken:
        os.close(fd)


async def test_what_it_was_given_as_it_died_is_taken_back(closing: Any) -> None:
    """The line is closed before the end of the process is seen."""
    one = closing(child())
    one.member.stage = Stage.SERVING
    one.line.close()
    given = connection(1)
    one.member.serve(*given)
    one.member.flush()
    assert not one.member.has_room
    await one.end()
    assert one.taken == [(1, session(1), given[1])]
    os.close(given[1])


async def test_one_that_has_ended_has_no_room(closing: Any) -> None:
    one = closing(child())
    one.member.stage = Stage.SERVING
    one.process.kill()
    await one.end()
    assert not one.member.has_room
