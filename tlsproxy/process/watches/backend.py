"""A backend's health, for all workers together: who is told, when it is knocked at, and what the log says of it."""

import asyncio
from collections.abc import Callable

from tlsproxy.config.model import BackendConfig
from tlsproxy.core.errors import BackendError
from tlsproxy.core.events import Event
from tlsproxy.core.log import Log
from tlsproxy.server.way.health import PROBE_PERIOD_S, Health


class BackendWatch:
    """Implements ``BackendHealth``; workers report to it over their lines."""

    def __init__(
        self,
        name: str,
        config: BackendConfig,
        number: int,
        log: Log,
        *,
        tell: Callable[["BackendWatch"], None],
        knock: Callable[["BackendWatch"], None],
    ) -> None:
        """Begin with a backend that is thought to be well.

        Args:
            name: The backend's name in the configuration.
            config: Its address, for the log.
            number: What it is called between supervisor and workers.
            log: The log.
            tell: Called when ``is_suspect`` or ``is_down`` has changed.
            knock: Has somebody try to connect, and report what came of it.
        """
        self._name = name
        self._config = config
        self.number = number
        self._log = log
        self._tell = tell
        self._knock = knock
        self._health = Health()
        self._told = False, False
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_suspect(self) -> bool:
        """Whether it failed since it last worked."""
        return self._health.is_suspect

    def is_down(self) -> bool:
        """See BackendHealth."""
        return self._health.is_down(_now())

    def failed(self, client: bytes, error: BackendError) -> None:
        """See BackendHealth."""
        if self._is_closed:
            return  # sessions that still use it go on, but it is nobody's to watch
        if self._health.failed(client, _now()):
            self._log.error(
                Event.BACKEND_LOST,
                backend=self._name,
                address=str(self._config.address),
                reason=error.reason,
                error=error.detail,
            )
            self._wait()
        self._tell_if_changed()

    def worked(self, address: str) -> None:
        """See BackendHealth."""
        seconds = self._health.worked(_now())
        if seconds is not None:
            self._log.warning(Event.BACKEND_RECOVERED, backend=self._name, address=address, seconds=round(seconds, 1))
        self._stop_knocking()
        self._tell_if_changed()

    def close(self) -> None:
        """Watch no more."""
        self._is_closed = True
        self._stop_knocking()

    def _wait(self) -> None:
        self._stop_knocking()
        self._timer = asyncio.get_running_loop().call_later(PROBE_PERIOD_S, self._try_again)

    def _try_again(self) -> None:
        self._wait()
        self._health.still_down(_now())  # until somebody reaches it
        self._knock(self)

    def _stop_knocking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell_if_changed(self) -> None:
        now = self._health.is_suspect, self.is_down()
        if now != self._told:
            self._told = now
            self._tell(self)


def _now() -> float:
    return asyncio.get_running_loop().time()
