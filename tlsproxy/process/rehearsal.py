"""A new version shows that it could take over from the one that runs; ``upgrade.rehearse`` asks it to."""

import os
from collections.abc import Callable, Collection, Container

from tlsproxy import __version__
from tlsproxy.config.model import BackendConfig, Config, InheritedSocket
from tlsproxy.core.errors import ConfigError, Mistake
from tlsproxy.process import upgrade
from tlsproxy.process.door.sockets import Place
from tlsproxy.process.logs import StartLogs
from tlsproxy.process.stage import set_stage
from tlsproxy.process.watches.backend import BackendWatch


def rehearse(source: Callable[[], Config], start_logs: StartLogs, form: str) -> int:
    """Build all that this version needs, bind what is new, and end.

    Args:
        source: Loads the configuration.
        start_logs: Opens the log.
        form: ``upgrade.FORMAT`` of the version that runs.

    Raises:
        ConfigError: What stands in the way.
        UnavailableError: The same, where it is an address.
    """
    places = upgrade.bound_places(os.environ)
    if form != upgrade.FORMAT:
        hint = f"version {__version__} cannot take over from the one that runs; restart instead"
        raise ConfigError([Mistake(key="", value="", hint=hint)])
    config = source()
    logs = start_logs(config.log.model_copy(update={"file": os.devnull}))

    def make_watch(name: str, backend: BackendConfig) -> BackendWatch:
        return BackendWatch(name, backend, 0, logs.logger, tell=lambda _: None, knock=lambda _: None)

    try:
        stage = set_stage(config, old=None, open_places=_Inherited(places), make_watch=make_watch, inherited={})
        for sock in stage.fresh_sockets.values():
            sock.close()
    finally:
        logs.stop()
    return 0


class _Inherited(Container[Place]):
    """What an upgraded version finds open: systemd's sockets as well, which are passed to no other process."""

    def __init__(self, places: Collection[Place]) -> None:
        self._places = places

    def __contains__(self, place: object) -> bool:
        return place in self._places or (isinstance(place, tuple) and isinstance(place[0], InheritedSocket))
