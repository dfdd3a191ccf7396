"""Has it tried now and then whether an old SMTP server would be an open relay; must not speak to one itself."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from tlsproxy.config.model import Config
from tlsproxy.core.kinds import BackendLogin, SmtpRole
from tlsproxy.process.watches.backend import BackendWatch

_PERIOD_S: Final = 3600.0


class RelayWatch:
    """Asks for a try of each backend at once, when it is new or has changed, and then once an hour."""

    def __init__(self, probe: Callable[[int], None]) -> None:
        """Watch nothing yet.

        Args:
            probe: Has somebody try a backend, by its number, and tell if it is open.
        """
        self._probe = probe
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def change(self, config: Config, backends: Mapping[str, BackendWatch]) -> None:
        """Watch those to which strangers' mail goes, and no others.

        Args:
            config: What is served from now on.
            backends: Each backend's watch by its name; one that has changed has another number.
        """
        numbers = {backends[name].number for name in _strangers_backends(config)}
        for number in self._timers.keys() - numbers:
            self._timers.pop(number).cancel()
        for number in numbers - self._timers.keys():
            self._wait(number, 0)

    def close(self) -> None:
        """Watch no more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _wait(self, number: int, seconds: float) -> None:
        self._timers[number] = asyncio.get_running_loop().call_later(seconds, self._try, number)

    def _try(self, number: int) -> None:
        self._wait(number, _PERIOD_S)
        self._probe(number)


def _strangers_backends(config: Config) -> set[str]:
    """Backends of MX listeners, without those that have to relay for tlsproxy: users send by them without a login.

    Of such a one nothing is learnt by asking; ``tlsproxy check`` tells what it means.
    """
    names: dict[SmtpRole | None, set[str]] = {}
    for listener in config.listener:
        names.setdefault(listener.role, set()).add(listener.backend)
    trusting = {name for name in names.get(SmtpRole.SUBMISSION, ()) if config.backend[name].login is BackendLogin.NONE}
    return names.get(SmtpRole.MX, set()) - trusting
