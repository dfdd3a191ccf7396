"""A coroutine without a task: it goes on within the very call that it waited for, so that asyncio has no part in it.

A task takes a future, a handle, a context and a turn of the loop for each step. A session's opening has a dozen steps,
and nearly all of them are the plane's calls. What is rare may wait for asyncio's futures all the same; what has to be
in a task (``asyncio.timeout``) gets one from ``apart``.
"""

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class Strand:
    """Runs one coroutine to its end; implements ``Rest`` for it."""

    __slots__ = ("_coroutine", "_future", "_is_resting", "_is_stopped")

    def __init__(self) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._future: asyncio.Future[Any] | None = None
        self._is_resting = False
        self._is_stopped = False

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run until it waits for the first time; whatever wakes it lets it go on.

        Args:
            work: What to do. It should raise nothing: only the loop's exception handler is told.
        """
        self._coroutine = work
        self._go_on(None)

    @coroutine
    def rest(self) -> Generator[None, None, None]:
        """See Rest."""
        self._is_resting = True
        yield

    def wake(self) -> None:
        """See Rest."""
        if self._is_resting:
            self._go_on(None)

    def stop(self) -> None:
        """Raise CancelledError where it waits, or will wait next; nothing once it is over."""
        if self._is_resting:
            self._go_on(asyncio.CancelledError())
        elif self._future is None or not self._future.cancel():
            # It runs, or is about to: the future is done, and what it brought is not to be lost.
            self._is_stopped = True

    def _go_on(self, error: BaseException | None) -> None:
        work = self._coroutine
        if work is None:
            return
        self._is_resting = False
        try:
            future = work.send(None) if error is None else work.throw(error)
        except StopIteration:
            self._coroutine = None
            return
        except Exception as bug:  # noqa: BLE001 - a strand ends here, as a task that nobody waits for
            self._coroutine = None
            context = {"message": "Exception in a strand", "exception": bug}
            asyncio.get_running_loop().call_exception_handler(context)
            return
        if future is None:
            if not self._is_resting:  # asyncio.sleep(0), or something like it
                asyncio.get_running_loop().call_soon(self._go_on, None)
        else:
            future._asyncio_future_blocking = False  # noqa: SLF001 - a future asks it of whoever runs its coroutine
            self._future = future
            future.add_done_callback(self._settled)
        if self._is_stopped:
            self._is_stopped = False
            self.stop()

    def _settled(self, _future: "asyncio.Future[Any]") -> None:
        self._future = None
        self._go_on(None)


async def apart(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a task of its own, and wait for it; whoever stops the one that waits stops both."""
    return await asyncio.get_running_loop().create_task(work)
