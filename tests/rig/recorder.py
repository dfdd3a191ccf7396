"""A log that keeps its events for the tests to wait on."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LogLevel

WITHIN_S: Final = 20.0

Line = dict[str, Any]


class Recorder:
    """Takes the place of ``operate.logs.Log``; safe to read from another thread."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._changed = threading.Condition()

    has_debug = True

    def debug(self, event: Event, **fields: object) -> None:
        self.log(LogLevel.DEBUG, event, **fields)

    def info(self, event: Event, **fields: object) -> None:
        self.log(LogLevel.INFO, event, **fields)

    def warning(self, event: Event, **fields: object) -> None:
        self.log(LogLevel.WARNING, event, **fields)

    def error(self, event: Event, **fields: object) -> None:
        self.log(LogLevel.ERROR, event, **fields)

    def log(self, level: LogLevel, event: Event, **fields: object) -> None:
        with self._changed:
            self._lines.append({"level": level, "event": event, **fields})
            self._changed.notify_all()

    def lines(self, event: Event) -> list[Line]:
        with self._changed:
            return [line for line in self._lines if line["event"] == event]

    def wait(self, event: Event, count: int = 1) -> list[Line]:
        """The event's lines, as soon as there are ``count`` of them."""
        return self.wait_until(lambda: self.lines(event), lambda lines: len(lines) >= count)

    def wait_until(self, look: Callable[[], list[Line]], is_enough: Callable[[list[Line]], bool]) -> list[Line]:
        until = time.monotonic() + WITHIN_S
        with self._changed:
            while not is_enough(found := look()):
                left = until - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not logged in time; there is {self._lines}")
                self._changed.wait(left)
            return found

    def closed(self) -> Line:
        """The one ``session.closed`` there is."""
        (line,) = self.wait(Event.SESSION_CLOSED)
        return line
