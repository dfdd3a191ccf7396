"""What the floors see of the log; it is handed to them as a parameter and set up by ``operate.logs``."""

from typing import Protocol

from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LogLevel


class Log(Protocol):
    """Takes events with their facts as fields; ``exc_info`` takes an exception."""

    @property
    def has_debug(self) -> bool:
        """Whether ``debug`` writes anything: who would have to gather facts for it asks first."""
        ...

    def debug(self, event: Event, **fields: object) -> None:
        """Tell a detail for someone who searches for a fault."""
        ...

    def info(self, event: Event, **fields: object) -> None:
        """Tell what happens every day."""
        ...

    def warning(self, event: Event, **fields: object) -> None:
        """Tell what an operator should look at."""
        ...

    def error(self, event: Event, **fields: object) -> None:
        """Tell a bug or a lost ability."""
        ...

    def log(self, level: LogLevel, event: Event, /, **fields: object) -> None:
        """Tell an event at a level that is known at run time only."""
        ...
