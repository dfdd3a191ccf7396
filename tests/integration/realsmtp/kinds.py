"""What the tests know of an old SMTP server, whichever it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from integration.realsmtp.letters import MailRoom
from integration.realsmtp.site import SmtpSite

SiteMaker = Callable[..., SmtpSite]
"""Opens the proxy, as ``open_stand("folder", [Route(...)], limits={"total": 20})``."""


class Addresses(NamedTuple):
    """Those of a client from outside."""

    v4: str
    v6: str


class OldServer(MailRoom, Protocol):
    """A running old SMTP server, which takes mail for anybody from this machine."""

    name: str
    port: int

    def start(self) -> None:
        """Serve, again on the same ports."""
        ...

    def stop(self) -> None:
        """Stop serving, keep the data."""
        ...

    def discard(self) -> None:
        """Stop, and leave nothing behind."""
        ...


Server_co = TypeVar("Server_co", bound=OldServer, covariant=True)


@dataclass(frozen=True, slots=True)
class Stand(Generic[Server_co]):
    """An old server and the proxy before it; the listener ``mx`` is there in any case."""

    server: Server_co
    site: SmtpSite
