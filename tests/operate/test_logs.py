"""The log as the other floors see it."""

import json
import os
import re
import timeit
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tlsproxy.core.errors import ConfigError
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LogFormat, LogLevel
from tlsproxy.operate.logs import Logs

SECRET = "Tr0ub4dor"


@dataclass(frozen=True, slots=True)
class Settings:
    file: str
    format: LogFormat = LogFormat.JSON
    level: LogLevel = LogLevel.INFO


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(str(tmp_path / "log"))


Start = Callable[[Settings], Logs]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Logs] = []

    def start(settings: Settings) -> Logs:
        started.append(Logs.start(settings))
        return started[-1]

    yield start
    for logs in started:
        logs.stop()


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def test_line_begins_with_time_level_and_event(start: Start, settings: Settings) -> None:
    logs = start(settings)
    logs.logger.info(Event.LOGIN_FAILED, user=b"anna\xff", attempt=1)
    assert logs.stop()
    (line,) = lines(settings.file)
    assert list(line) == ["ts", "level", "event", "user", "attempt"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {"level": "info", "event": "login.failed", "user": "anna\\xff", "attempt": 1}


def test_each_level_has_its_method(start: Start, settings: Settings) -> None:
    logs = start(replace(settings, level=LogLevel.DEBUG))
    log = logs.logger
    for method in (log.debug, log.info, log.warning, log.error):
        method(Event.SERVER_STOPPED)
    log.log(LogLevel.WARNING, Event.SERVER_STOPPED)
    logs.stop()
    assert [line["level"] for line in lines(settings.file)] == ["debug", "info", "warning", "error", "warning"]


@pytest.mark.parametrize(("level", "count"), [(LogLevel.DEBUG, 4), (LogLevel.INFO, 3), (LogLevel.ERROR, 1)])
def test_less_grave_levels_are_left_out(start: Start, settings: Settings, level: LogLevel, count: int) -> None:
    logs = start(replace(settings, level=level))
    for one in LogLevel:
        logs.logger.log(one, Event.SERVER_STOPPED)
    logs.stop()
    assert len(lines(settings.file)) == count


def test_bound_fields_come_first_and_stay_apart(start: Start, settings: Settings) -> None:
    logs = start(settings)
    log = logs.logger.bind(session="k3", listener="imaps")
    log.info(Event.SESSION_OPENED, extra=1)
    logs.logger.info(Event.SERVER_STOPPED)
    logs.stop()
    first, second = lines(settings.file)
    assert list(first) == ["ts", "level", "event", "session", "listener", "extra"]
    assert "session" not in second


def test_change_reaches_loggers_that_were_handed_out(start: Start, settings: Settings, tmp_path: Path) -> None:
    logs = start(settings)
    log = logs.logger.bind(session="k3")
    log.debug(Event.SESSION_OPENED)
    other = Settings(str(tmp_path / "other"), LogFormat.CONSOLE, LogLevel.DEBUG)
    logs.change(other)
    log.debug(Event.SESSION_OPENED)
    logs.stop()
    assert Path(settings.file).read_bytes() == b""
    assert Path(other.file).read_text("utf-8").endswith(" debug   session.opened       k3\n")


def test_change_to_what_cannot_be_written_changes_nothing(start: Start, settings: Settings, tmp_path: Path) -> None:
    logs = start(settings)
    with pytest.raises(ConfigError, match=r"log\.file"):
        logs.change(Settings(str(tmp_path), LogFormat.CONSOLE, LogLevel.ERROR))
    logs.logger.info(Event.SERVER_STOPPED)
    logs.stop()
    assert len(lines(settings.file)) == 1


def test_descriptor_of_another_process_is_written_to(settings: Settings, tmp_path: Path) -> None:
    supervisor = Logs.start(settings)
    worker = Logs.start(replace(settings, file="/nowhere/at/all"), os.dup(supervisor.fd))
    supervisor.logger.info(Event.SERVER_STARTED)
    worker.logger.info(Event.SESSION_OPENED)
    other = Settings(str(tmp_path / "other"), level=LogLevel.DEBUG)
    supervisor.change(other)
    worker.change(replace(other, file="/nowhere/at/all"), os.dup(supervisor.fd))
    supervisor.logger.debug(Event.SERVER_STARTED)
    worker.logger.debug(Event.SESSION_OPENED)
    assert worker.stop()
    assert supervisor.stop()
    told = sorted((line["event"], line["level"]) for line in [*lines(settings.file), *lines(other.file)])
    assert told == [(event, level) for event in ("server.started", "session.opened") for level in ("debug", "info")]


def test_start_on_what_cannot_be_written_is_refused(start: Start, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.file"):
        start(Settings(str(tmp_path)))


def test_rotation_loses_nothing(start: Start, settings: Settings) -> None:
    logs = start(settings)
    path = Path(settings.file)
    for number in range(300):
        logs.logger.info(Event.SESSION_OPENED, number=number)
        if number % 100 == 50:
            path.rename(f"{path}.{number}")
            logs.change(settings)
    assert logs.stop()
    seen = [line["number"] for one in path.parent.iterdir() for line in lines(str(one))]
    assert sorted(seen) == list(range(300))
    assert path.exists()


def test_standard_output_is_the_default(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    logs = start(Settings(""))
    logs.logger.info(Event.SERVER_STOPPED, sessions=0)
    assert logs.stop()
    assert '"event":"server.stopped","sessions":0}' in capfd.readouterr().out


def test_exceptions_become_a_field(start: Start, settings: Settings) -> None:
    logs = start(settings)
    try:
        int("odd")
    except ValueError as error:
        logs.logger.error(Event.SESSION_BROKEN, exc_info=True)  # noqa: G201  there is one way to say it
        caught = error
    logs.logger.error(Event.SESSION_BROKEN, exc_info=caught)
    logs.logger.error(Event.SESSION_BROKEN, exc_info=True)  # noqa: LOG014  nothing is being handled: must do no harm
    logs.logger.error(Event.SESSION_BROKEN, exc_info=False)
    logs.stop()
    first, second, third, fourth = lines(settings.file)
    assert first["exception"] == second["exception"]
    assert first["exception"].startswith("ValueError: invalid literal for int() with base 10: 'odd' (at test_logs.py:")
    assert "exception" not in third
    assert not {"exception", "exc_info"} & set(fourth)


class Login:
    """Something that knows a password, as a local variable and in its repr."""

    def __init__(self) -> None:
        self.password = SECRET

    def __repr__(self) -> str:
        return f"Login({self.password})"

    def fail(self) -> None:
        password = self.password
        raise ValueError(f"cannot use {len(password)} bytes")


@pytest.mark.parametrize("look", LogFormat)
def test_no_secret_gets_in_through_a_repr_or_a_traceback(start: Start, settings: Settings, look: LogFormat) -> None:
    logs = start(replace(settings, format=look))
    login = Login()
    try:
        login.fail()
    except ValueError as error:
        logs.logger.error(Event.SESSION_BROKEN, login=login, many=[login], by_name={"x": login}, exc_info=error)  # noqa: TRY400
    logs.stop()
    text = Path(settings.file).read_text("utf-8")
    assert "ValueError: cannot use 9 bytes" in text
    assert SECRET not in text


def test_stuck_reader_blocks_nobody_and_the_missing_are_told(start: Start, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    logs = start(Settings(str(fifo)))
    for number in range(11_000):
        logs.logger.info(Event.SESSION_OPENED, number=number)
    os.set_blocking(reader, True)
    seen = b""
    while b"log.dropped" not in seen or not seen.endswith(b"\n"):
        seen += os.read(reader, 1 << 20)
    os.close(reader)
    told = [json.loads(line) for line in seen.splitlines()]
    dropped = [line for line in told if line["event"] == Event.LOG_DROPPED]
    assert dropped[0]["level"] == "warning"
    assert list(dropped[0]) == ["ts", "level", "event", "count"]
    assert len(told) - len(dropped) + sum(line["count"] for line in dropped) == 11_000


def test_stop_does_not_wait_for_ever(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsproxy.operate.logs._STOP_WITHIN_S", 0.05)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    logs = start(Settings(str(fifo)))
    for _ in range(2000):
        logs.logger.info(Event.SESSION_OPENED, filler="x" * 80)
    assert not logs.stop()
    os.set_blocking(reader, True)
    with suppress(BlockingIOError):
        while os.read(reader, 1 << 20):  # until the thread has written all and closed its end
            pass
    os.close(reader)


def test_a_filtered_line_costs_next_to_nothing(start: Start, settings: Settings) -> None:
    log = start(settings).logger
    cost_s = min(timeit.repeat(lambda: log.debug(Event.SESSION_OPENED, session="k3", number=1), number=2000)) / 2000
    assert cost_s < 20e-6  # 1 us where nobody else is busy; a line that is written costs more than this on any machine
