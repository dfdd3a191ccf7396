"""Passwords judged by a file of hashes; must not hold up the loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tlsproxy.senders.passwords.book import FILE_LIMIT_BYTES, PasswordBook, parse_book
from tlsproxy.server.judges.base import Verdict

# Each takes a core for a tenth of a second and some 32 MiB.
_AT_ONCE: Final = 2


class FileJudge:
    """Hashes in threads of its own, which end when the judge is forgotten."""

    __slots__ = ("_book", "_deadline_s", "_threads")

    def __init__(self, book: PasswordBook, *, deadline_s: float) -> None:
        """Take the users.

        Args:
            book: The users and their hashes.
            deadline_s: Seconds for one verdict; guessers who queue up make it UNAVAILABLE for the others.
        """
        self._book = book
        self._deadline_s = deadline_s
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")

    async def judge(self, user: bytes, password: bytes, client_key: bytes) -> Verdict:  # noqa: ARG002 - see PasswordJudge
        """See PasswordJudge."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline_s):
                # One that is given up before its turn is taken out of the queue.
                is_right = await loop.run_in_executor(self._threads, self._book.is_right, user, password)
        except TimeoutError:
            return Verdict.UNAVAILABLE
        return Verdict.OK if is_right else Verdict.WRONG


def read_book(path: Path) -> PasswordBook:
    """Read the password file.

    Raises:
        OSError: It cannot be read.
        ConfigError: There are mistakes in it; every one is told, by line.
    """
    with path.open("rb") as file:
        return parse_book(file.read(FILE_LIMIT_BYTES + 1))
