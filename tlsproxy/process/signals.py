"""The signals that the supervisor lives by: how they are heard, and how they are made to wait; must not act on them."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
CHANGES: Final = frozenset({signal.SIGHUP, signal.SIGUSR2})
"""Those that do not end the program."""


class Inbox:
    """Signals in the order in which they came; of those that ask for a change, one of each kind waits at most."""

    def __init__(self) -> None:
        self._came: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._waiting: set[signal.Signals] = set()

    @property
    def is_end_waiting(self) -> bool:
        """Whether a signal has come that is to end the program."""
        return not self._waiting <= CHANGES

    def listen(self) -> None:
        """Hear signals from now on, and those that were held."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._received, number)
        let_through()

    async def get(self) -> signal.Signals:
        """Wait for the next."""
        number = await self._came.get()
        if number in CHANGES:
            self._waiting.discard(number)  # what comes from now on asks for another change
        return number

    @staticmethod
    def be_deaf() -> None:
        """All is done but for the interpreter's own end, which no signal may turn into a failure."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _received(self, number: signal.Signals) -> None:
        if number in CHANGES & self._waiting:
            return  # one change takes in whatever many asked for
        self._waiting.add(number)
        self._came.put_nowait(number)


def hold() -> None:
    """Let signals wait in the kernel: for this thread, threads and processes that it starts, and programs it becomes.

    Every thread must do so, or the kernel gives them to one that does not.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def let_through() -> None:
    """Take what waits, and what comes."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def held() -> Iterator[None]:
    """Let signals wait meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
