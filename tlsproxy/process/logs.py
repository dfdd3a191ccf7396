"""What the processes need of the log; ``operate.logs`` has it, and is handed down since it stands on a higher floor."""

from typing import Protocol

from tlsproxy.config.model import LogConfig
from tlsproxy.core.log import Log


class Logs(Protocol):
    """The log of one process."""

    @property
    def logger(self) -> Log:
        """What the floors below write to."""
        ...

    @property
    def fd(self) -> int:
        """The descriptor that lines go to, for another process to write to as well."""
        ...

    def change(self, settings: LogConfig, fd: int | None = None) -> None:
        """Take new settings, and a descriptor or the file that they name, opened anew.

        Raises:
            ConfigError: The file cannot be written; nothing has changed.
        """
        ...

    def flush(self) -> bool:
        """Write what waits; returns whether all of it was written."""
        ...

    def stop(self) -> bool:
        """Write what waits and end; returns whether all of it was written."""
        ...


class StartLogs(Protocol):
    """Starts the log of this process."""

    def __call__(self, settings: LogConfig, fd: int | None = None) -> Logs:
        """Start it on a descriptor, or on the file that the settings name.

        Raises:
            ConfigError: The file cannot be written.
        """
        ...
