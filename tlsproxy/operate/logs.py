"""The log: structlog set up with nothing global; its logger is handed to the floors below as a parameter.

Events come as ``log.info(Event.SESSION_CLOSED, **fields)``. A line is rendered where it arises and written by a thread
of its own, so that whatever is stuck behind the log never holds up the event loop.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol, Self

import structlog
from structlog.typing import EventDict

from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LogFormat, LogLevel
from tlsproxy.core.log import Log
from tlsproxy.operate.log_render import Fields, console_line, exception_text, json_line
from tlsproxy.operate.log_writer import LineWriter, open_log

_GRAVITY: Final = {LogLevel.DEBUG: 0, LogLevel.INFO: 1, LogLevel.WARNING: 2, LogLevel.ERROR: 3}
_STOP_WITHIN_S: Final = 2.0  # a stop that waits longer for a stuck log is taken for a hang


class Logs:
    """The log of one process, from its start to its stop."""

    def __init__(self, settings: "LogSettings", fd: int) -> None:
        """Use ``start`` instead: it opens the file."""
        self._sink = _Sink()
        self._sink.look(settings, fd)
        self._writer = LineWriter(fd, self._sink.dropped_line)
        self._sink.put = self._writer.put
        self.logger: EventLog = structlog.wrap_logger(
            self._sink,
            processors=[self._sink.line],
            wrapper_class=EventLog,
            context_class=dict,
        ).bind()

    @classmethod
    def start(cls, settings: "LogSettings", fd: int | None = None) -> Self:
        """Open the log and start its thread.

        Args:
            settings: Format, file and level.
            fd: Where to write instead of opening the file: the log of another process, which both write to. Owned by
                the log from now on.

        Raises:
            ConfigError: The file cannot be written.
        """
        return cls(settings, open_log(settings.file) if fd is None else fd)

    def change(self, settings: "LogSettings", fd: int | None = None) -> None:
        """Take new settings, for loggers that were handed out already as well, and open the file anew.

        Args:
            settings: Format, file and level.
            fd: As for ``start``.

        Raises:
            ConfigError: The file cannot be written; nothing has changed.
        """
        fd = open_log(settings.file) if fd is None else fd
        self._sink.look(settings, fd)
        self._writer.use(fd)

    @property
    def fd(self) -> int:
        """The descriptor that lines go to, for another process to write to as well; closed by the next ``change``."""
        return self._writer.fd

    def flush(self) -> bool:
        """Write what waits, for at most 2 s; returns whether everything was written."""
        return self._writer.flush(_STOP_WITHIN_S)

    def stop(self) -> bool:
        """Write what waits, for at most 2 s, and end the thread; returns whether everything was written."""
        return self._writer.stop(_STOP_WITHIN_S)


class LogSettings(Protocol):
    """What the log needs to know of the configuration."""

    @property
    def format(self) -> LogFormat:
        """What a line looks like."""
        ...

    @property
    def file(self) -> str:
        """Where lines go; empty for standard output."""
        ...

    @property
    def level(self) -> LogLevel:
        """The least grave level that is written."""
        ...


class EventLog(structlog.BoundLoggerBase, Log):
    """The logger that is handed out; ``bind`` gives one that adds fields to each of its lines."""

    _logger: "_Sink"

    @property
    def has_debug(self) -> bool:
        """See Log."""
        return self._logger.threshold == _GRAVITY[LogLevel.DEBUG]

    def debug(self, event: Event, **fields: object) -> None:
        """Tell a detail for someone who searches for a fault."""
        self.log(LogLevel.DEBUG, event, **fields)

    def info(self, event: Event, **fields: object) -> None:
        """Tell what happens every day."""
        self.log(LogLevel.INFO, event, **fields)

    def warning(self, event: Event, **fields: object) -> None:
        """Tell what an operator should look at."""
        self.log(LogLevel.WARNING, event, **fields)

    def error(self, event: Event, **fields: object) -> None:
        """Tell a bug or a lost ability."""
        self.log(LogLevel.ERROR, event, **fields)

    def log(self, level: LogLevel, event: Event, /, **fields: object) -> None:
        """Tell an event at a level that is known at run time only.

        Args:
            level: How grave it is.
            event: Which one.
            fields: Its facts: JSON values and wire bytes; ``exc_info`` (True or an exception) becomes ``exception``.
        """
        sink = self._logger
        if _GRAVITY[level] < sink.threshold:
            return
        if event is Event.SESSION_CLOSED and not self._context:
            # Every connection has this one: on its way through structlog its thirty fields are copied three times more.
            sink.put(sink.render({"ts": sink.now(), "level": level, "event": event, **fields}))
        else:
            self._proxy_to_logger("put", event, level=level, **fields)


class _Sink:
    """Where every logger's lines run together; holds what ``change`` changes."""

    def __init__(self) -> None:
        self.threshold = 0
        self._last_second = (0, "1970-01-01T00:00:00")
        self.render: Callable[[Fields], bytes] = json_line
        self.put: Callable[[bytes], None]

    def look(self, settings: LogSettings, fd: int) -> None:
        self.threshold = _GRAVITY[settings.level]
        is_console = settings.format is LogFormat.CONSOLE
        self.render = partial(console_line, is_coloured=os.isatty(fd)) if is_console else json_line

    def line(self, _logger: object, _method: str, fields: EventDict) -> bytes:
        """The last step of structlog's chain, and the only one."""
        given = fields.pop("exc_info", None)
        error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
        if error:
            fields["exception"] = exception_text(error)
        return self.render({"ts": self.now(), "level": fields.pop("level"), "event": fields.pop("event"), **fields})

    def dropped_line(self, count: int) -> bytes:
        head = {"ts": self.now(), "level": LogLevel.WARNING, "event": Event.LOG_DROPPED}
        return self.render({**head, "count": count})

    def now(self) -> str:
        """UTC, RFC 3339 with milliseconds: ``2026-05-01T12:00:00.000Z``; the second is mostly that of the last line."""
        second, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
        last, text = self._last_second
        if second != last:
            text = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
            self._last_second = second, text  # one value: the log's own thread asks as well
        return f"{text}.{milliseconds:03}Z"
