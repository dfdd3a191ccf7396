"""Name look-ups that hold nobody up: one at a time for all who ask, in a thread that an exit does not wait for.

The loop's own ``getaddrinfo`` runs in an executor, and the end of the program would wait for a resolver that hangs.
"""

import asyncio
import contextlib
import socket
import threading
from dataclasses import dataclass

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One address of the backend, ready for ``connect``."""

    family: socket.AddressFamily
    address: SocketAddress

    def __str__(self) -> str:
        """``192.0.2.1:143``, ``[2001:db8::1]:143`` or the path."""
        if isinstance(self.address, str):
            return self.address
        host, port = self.address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Lookup:
    """Looks one name up."""

    def __init__(self) -> None:
        self._pending: asyncio.Future[list[Candidate]] | None = None

    async def candidates(self, host: str, port: int) -> list[Candidate]:
        """All stream addresses of a name, in the system's order (RFC 6724).

        Raises:
            socket.gaierror: There are none, or they cannot be found out.
        """
        if self._pending is None:
            self._pending = asyncio.get_running_loop().create_future()
            self._pending.add_done_callback(self._settled)
            threading.Thread(target=_look_up, args=(self._pending, host, port), daemon=True).start()
        return await asyncio.shield(self._pending)

    def _settled(self, pending: asyncio.Future[list[Candidate]]) -> None:
        self._pending = None
        if not pending.cancelled():
            pending.exception()  # whoever asked may be gone: then nobody else would look at it


def _look_up(pending: asyncio.Future[list[Candidate]], host: str, port: int) -> None:
    loop = pending.get_loop()
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA does not take
            failure = error if isinstance(error, socket.gaierror) else socket.gaierror(socket.EAI_NONAME, str(error))
            loop.call_soon_threadsafe(pending.set_exception, failure)
        else:
            candidates = [Candidate(family=entry[0], address=_checked(entry[4])) for entry in found]
            loop.call_soon_threadsafe(pending.set_result, candidates)


def _checked(address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> SocketAddress:
    # typeshed's third form is that of a Python built without IPv6, for an IPv6 address; there is no such candidate.
    host, port = address[:2]
    return (str(host), int(port), *address[2:])
