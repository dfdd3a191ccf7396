"""A backend's health for all workers: what is told, when somebody is sent to knock, what the log says."""

import asyncio
from typing import Final

import pytest
from rig.planes import until
from rig.recorder import Recorder

from tlsproxy.config.model import BackendConfig
from tlsproxy.core.errors import BackendError
from tlsproxy.core.events import Event
from tlsproxy.core.outcome import Reason
from tlsproxy.process.watches import backend as room
from tlsproxy.process.watches.backend import BackendWatch

ERROR: Final = BackendError(Reason.BACKEND_DOWN, "127.0.0.1:1143: Connection refused")
FIVE: Final = (b"\1", b"\2", b"\1", b"\2", b"\1")
WITHIN_S: Final = 5.0


class Watched:
    """A watch, what it told, and how often it had somebody knock."""

    def __init__(self) -> None:
        self.log = Recorder()
        self.told: list[tuple[bool, bool]] = []
        self.knocks = 0
        config = BackendConfig.model_validate({"address": "127.0.0.1:1143"})
        self.watch = BackendWatch("imap", config, 7, self.log, tell=self._tell, knock=self._knock)

    def go_down(self) -> None:
        for client in FIVE:
            self.watch.failed(client, ERROR)

    def _tell(self, watch: BackendWatch) -> None:
        self.told.append((watch.is_suspect, watch.is_down()))

    def _knock(self, watch: BackendWatch) -> None:
        assert watch.number == 7
        self.knocks += 1


async def test_down_and_up_again_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PROBE_PERIOD_S", 0.01)
    watched = Watched()
    assert not watched.watch.is_suspect
    watched.watch.failed(b"\1", ERROR)
    watched.watch.failed(b"\1", ERROR)
    assert watched.told == [(True, False)], "the next success is worth a report"
    for client in FIVE:
        watched.watch.failed(client, ERROR)
    assert watched.told == [(True, False), (True, True)]
    (lost,) = watched.log.lines(Event.BACKEND_LOST)
    assert (lost["level"], lost["backend"], lost["address"]) == ("error", "imap", "127.0.0.1:1143")
    assert (lost["reason"], lost["error"]) == (Reason.BACKEND_DOWN, ERROR.detail)
    async with asyncio.timeout(WITHIN_S):
        await until(lambda: watched.knocks >= 3)
    assert watched.watch.is_down(), "until somebody reaches it"
    watched.watch.worked("127.0.0.1:1143")
    (recovered,) = watched.log.lines(Event.BACKEND_RECOVERED)
    assert (recovered["level"], recovered["backend"], recovered["address"]) == ("warning", "imap", "127.0.0.1:1143")
    assert recovered["seconds"] >= 0
    assert watched.told == [(True, False), (True, True), (False, False)]
    knocks = watched.knocks
    await asyncio.sleep(0.03)
    assert watched.knocks == knocks, "nobody knocks at a door that is open"


async def test_it_stays_down_for_as_long_as_nobody_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PROBE_PERIOD_S", 0.01)
    now = 1000.0
    monkeypatch.setattr(room, "_now", lambda: now)
    watched = Watched()
    watched.go_down()
    now += 29.0
    async with asyncio.timeout(WITHIN_S):
        await until(lambda: watched.knocks >= 1)
    now += 29.0
    assert watched.watch.is_down()
    watched.watch.close()


async def test_success_of_one_that_was_well_is_not_told() -> None:
    watched = Watched()
    watched.watch.worked("127.0.0.1:1143")
    watched.watch.failed(b"\1", ERROR)
    watched.watch.worked("127.0.0.1:1143")
    assert watched.told == [(True, False), (False, False)]
    assert watched.log.lines(Event.BACKEND_RECOVERED) == []


async def test_closed_watch_has_nobody_knock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PROBE_PERIOD_S", 0.01)
    watched = Watched()
    watched.go_down()
    watched.watch.close()
    watched.watch.close()
    await asyncio.sleep(0.03)
    assert watched.knocks == 0


async def test_closed_watch_is_not_told_anything() -> None:
    watched = Watched()
    watched.watch.close()
    watched.go_down()
    assert (watched.told, watched.log.lines(Event.BACKEND_LOST)) == ([], [])
