"""Passwords judged by a file: in threads, bounded, while the loop goes on."""

import asyncio
import threading
from pathlib import Path

import pytest

from tlsproxy.core.errors import ConfigError
from tlsproxy.senders.passwords.book import FILE_LIMIT_BYTES, PasswordBook, parse_book
from tlsproxy.senders.passwords.hashes import Scrypt, hash_password
from tlsproxy.server.judges.base import Verdict
from tlsproxy.server.judges.file import FileJudge, read_book

LINE = "anna:" + hash_password(b"secret", b"salt of anna", Scrypt(ln=4)).encode()


class SlowBook(PasswordBook):
    """Judges when it is let; counts who is at it."""

    def __init__(self) -> None:
        super().__init__({})
        self.gate = threading.Event()
        self.begun: list[bytes] = []

    def is_right(self, user: bytes, password: bytes) -> bool:
        self.begun.append(user)
        assert self.gate.wait(20)
        return password == b"secret"


async def test_verdicts() -> None:
    judge = FileJudge(parse_book(LINE.encode()), deadline_s=10)
    assert await judge.judge(b"anna", b"secret", b"\1") is Verdict.OK
    assert await judge.judge(b"anna", b"geheim", b"\1") is Verdict.WRONG
    assert await judge.judge(b"bert", b"secret", b"\1") is Verdict.WRONG


async def test_two_at_once_and_the_loop_goes_on() -> None:
    book = SlowBook()
    judge = FileJudge(book, deadline_s=10)
    asked = [asyncio.create_task(judge.judge(b"%d" % number, b"secret", b"\1")) for number in range(5)]
    async with asyncio.timeout(10):
        while len(book.begun) < 2:  # noqa: ASYNC110 - a thread tells no loop
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert book.begun == [b"0", b"1"]
    book.gate.set()
    assert await asyncio.gather(*asked) == [Verdict.OK] * 5
    assert sorted(book.begun) == [b"0", b"1", b"2", b"3", b"4"]


async def test_who_waits_too_long_is_told_so_and_not_judged_any_more() -> None:
    book = SlowBook()
    judge = FileJudge(book, deadline_s=0.05)
    verdicts = await asyncio.gather(*(judge.judge(b"%d" % number, b"secret", b"\1") for number in range(4)))
    assert verdicts == [Verdict.UNAVAILABLE] * 4
    book.gate.set()
    assert await judge.judge(b"4", b"secret", b"\1") is Verdict.OK
    assert book.begun == [b"0", b"1", b"4"]


async def test_threads_end_with_the_judge() -> None:
    judge = FileJudge(parse_book(LINE.encode()), deadline_s=10)
    await judge.judge(b"anna", b"secret", b"\1")
    [thread] = [found for found in threading.enumerate() if found.name.startswith("passwords")]
    del judge
    thread.join(10)
    assert not thread.is_alive()


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(LINE + "\n")
    assert read_book(path).is_right(b"anna", b"secret")
    path.write_bytes(b"#" * (FILE_LIMIT_BYTES * 2))
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        read_book(path)
    with pytest.raises(FileNotFoundError):
        read_book(tmp_path / "none")
