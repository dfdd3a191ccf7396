"""How a version shows that it could take over: all is built, nothing is bound, nothing is left."""

from collections.abc import Callable
from typing import Any

import pytest
from rig.pki import Pki
from rig.proxy import make_config
from rig.recorder import Recorder

from tlsproxy.config.model import Config, LogConfig
from tlsproxy.core.errors import ConfigError, UnavailableError
from tlsproxy.process import upgrade
from tlsproxy.process.rehearsal import rehearse


@pytest.fixture(autouse=True)
def nothing_is_left_open(closing: Any) -> Any:
    """A descriptor that a test leaves behind fails it."""
    return closing


class KnownLogs:
    """A log that is only started and stopped."""

    def __init__(self) -> None:
        self.logger = Recorder()
        self.fd = -1
        self.files: list[str] = []
        self.is_stopped = False

    def start(self, settings: LogConfig, fd: int | None = None) -> "KnownLogs":
        assert fd is None
        self.files.append(settings.file)
        return self

    def change(self, settings: LogConfig, fd: int | None = None) -> None: ...

    def flush(self) -> bool:
        return True

    def stop(self) -> bool:
        self.is_stopped = True
        return True


@pytest.fixture
def source(rig_pki: Pki) -> Callable[[], Config]:
    """An address that this machine does not have: whoever binds it fails."""

    def load() -> Config:
        config = make_config(rig_pki, "127.0.0.1:1", log={"file": "/nowhere/log"})
        raw = {**config.model_dump(mode="json"), "listener": [{"protocol": "imap", "bind": ["192.0.2.77:993"]}]}
        return Config.model_validate(raw)

    return load


def test_rehearsal(source: Callable[[], Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(upgrade._PLACES_VARIABLE, '[["192.0.2.77:993", ""]]')
    logs = KnownLogs()
    assert rehearse(source, logs.start, upgrade.FORMAT) == 0
    assert logs.files == ["/dev/null"], "the log is the running version's"
    assert logs.is_stopped
    assert logs.logger._lines == []


def test_new_address_that_cannot_be_had(source: Callable[[], Config]) -> None:
    logs = KnownLogs()
    with pytest.raises(UnavailableError, match=r"192\.0\.2\.77:993"):
        rehearse(source, logs.start, upgrade.FORMAT)
    assert logs.is_stopped


def test_rehearsal_for_a_version_that_hands_over_in_another_way(source: Callable[[], Config]) -> None:
    logs = KnownLogs()
    with pytest.raises(ConfigError, match="cannot take over from the one that runs; restart instead"):
        rehearse(source, logs.start, "0.1")
    assert logs.files == []


def test_rehearsal_of_what_does_not_stand(source: Callable[[], Config], rig_pki: Pki) -> None:
    logs = KnownLogs()

    def broken() -> Config:
        raw = source().model_dump(mode="json")
        raw["tls"]["certificates"] = [{"chain": "/nowhere/chain", "key": str(rig_pki.key)}]
        return Config.model_validate(raw)

    with pytest.raises(ConfigError, match="/nowhere/chain"):
        rehearse(broken, logs.start, upgrade.FORMAT)
    assert logs.is_stopped
