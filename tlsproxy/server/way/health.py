"""Whether a backend is known to be down; pure, the clock is a parameter."""

from typing import Final, Protocol

from tlsproxy.core.errors import BackendError

_FAILURES: Final = 5
_CLIENTS: Final = 2  # one client's odd luck must not close the door for all
_DOWN_S: Final = 30.0
PROBE_PERIOD_S: Final = 2.0
"""While it is down, somebody must knock this often; nobody's login is risked for it."""


class BackendHealth(Protocol):
    """A backend's health as those see it who reach for it."""

    def is_down(self) -> bool:
        """Whether new sessions should be told at once, instead of being held."""
        ...

    def failed(self, client: bytes, error: BackendError) -> None:
        """It could not be reached for a client, of whom ``Peer.key`` is given."""
        ...

    def worked(self, address: str) -> None:
        """It was reached, at this address."""
        ...


class Health:
    """Counts failures to connect in a row, and by how many clients they were seen."""

    __slots__ = ("_clients", "_down_until", "_failures", "_since")

    def __init__(self) -> None:
        self._failures = 0
        self._clients: set[bytes] = set()
        self._down_until: float | None = None
        self._since: float | None = None

    def is_down(self, now: float) -> bool:
        """Whether new sessions should be told at once, instead of being held."""
        return self._down_until is not None and now < self._down_until

    @property
    def is_suspect(self) -> bool:
        """Whether it failed since it last worked."""
        return self._failures > 0

    def failed(self, client: bytes, now: float) -> bool:
        """A connect failed for a client.

        Args:
            client: ``Peer.key``; only the first few different ones are kept.
            now: Monotonic seconds.

        Returns:
            True if the backend counts as down from now on, and did not before.
        """
        self._failures += 1
        self._since = now if self._since is None else self._since
        if len(self._clients) < _CLIENTS:
            self._clients.add(client)
        if self._failures < _FAILURES or len(self._clients) < _CLIENTS:
            return False
        was_up = self._down_until is None
        self._down_until = now + _DOWN_S
        return was_up

    def still_down(self, now: float) -> None:
        """A probe failed: the backend counts as down for another while."""
        self._down_until = now + _DOWN_S

    def worked(self, now: float) -> float | None:
        """A connect succeeded.

        Returns:
            For how many seconds it was failing, if it counted as down; else None.
        """
        lasted = now - self._since if self._down_until is not None and self._since is not None else None
        self._failures = 0
        self._clients.clear()
        self._down_until = self._since = None
        return lasted
