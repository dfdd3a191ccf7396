"""Upgrading in place: the new version shows that it can start, then this process becomes it, sockets and workers kept.

What is handed over goes through a memory file; who inherits it finds its descriptor's number in the environment.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, Self

import orjson

from tlsproxy import __version__
from tlsproxy.admission.base import Ticket
from tlsproxy.admission.table import AdmissionState
from tlsproxy.config.units import parse_bind
from tlsproxy.core.addresses import Peer
from tlsproxy.core.references import References
from tlsproxy.net.tls.memory import write_memory
from tlsproxy.process.crew.member import Member
from tlsproxy.process.door.sockets import Place
from tlsproxy.process.line import words

FORMAT: Final = f"1.{words.VERSION}"
"""What two versions must have in common for the one to take over from the other."""
_VARIABLE: Final = "TLSPROXY_HANDOVER"
_PLACES_VARIABLE: Final = "TLSPROXY_PLACES"
_REHEARSAL_S: Final = 15.0
_TOLD_CHARS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class OldWorker:
    """A worker of the version before."""

    number: int
    pid: int
    fd: int
    """Our end of its line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What one version leaves to the next."""

    version: str
    """The one that leaves it."""
    listeners: Sequence[tuple[Place, int]]
    """Where is listened, and the sockets' descriptors."""
    workers: Sequence[OldWorker]
    admission: AdmissionState
    references: References

    @classmethod
    def of(
        cls,
        sockets: Sequence[tuple[Place, socket.socket]],
        members: Sequence[Member],
        admission: AdmissionState,
        references: References,
    ) -> Self:
        """Gather it."""
        return cls(
            version=__version__,
            listeners=[(place, sock.fileno()) for place, sock in sockets],
            workers=[OldWorker(number=one.number, pid=one.pid, fd=one.channel.fileno()) for one in members],
            admission=admission,
            references=references,
        )

    def sockets(self) -> dict[Place, socket.socket]:
        """The listening sockets; whoever asks owns them."""
        return {place: socket.socket(fileno=fd) for place, fd in self.listeners}

    def become(self, command: Sequence[str]) -> None:
        """Become another program, which finds all this; does not return.

        To be called while signals are held, until the new program hears them: their defaults would end it.

        Raises:
            OSError: It cannot be started; nothing has changed.
        """
        fd = write_memory("handover", orjson.dumps(self._as_json()))
        passed = [fd, *(each for _, each in self.listeners), *(worker.fd for worker in self.workers)]
        for each in passed:
            os.set_inheritable(each, True)  # noqa: FBT003 - its only parameter
        try:
            os.execve(command[0], list(command), {**os.environ, _VARIABLE: str(fd)})  # noqa: S606 - ourselves
        except OSError:
            for each in passed:
                os.set_inheritable(each, False)  # noqa: FBT003 - its only parameter
            os.close(fd)
            raise

    def _as_json(self) -> dict[str, Any]:  # Any: JSON
        return {
            "version": self.version,
            "listeners": [[str(address), owner, fd] for (address, owner), fd in self.listeners],
            "workers": [[worker.number, worker.pid, worker.fd] for worker in self.workers],
            "next_id": self.admission.next_id,
            "tickets": [
                [
                    ticket.id,
                    str(ticket.peer.ip),
                    ticket.peer.port,
                    ticket.listener,
                    ticket.owner,
                    ticket.is_exempt,
                    ticket.is_stressed,
                    ticket.id in self.admission.unauthenticated,
                ]
                for ticket in self.admission.tickets
            ],
            "references": [self.references.start, self.references.factor],
        }


def inherited(environ: MutableMapping[str, str]) -> Handover | None:
    """What the version before has left us, if we are an upgrade."""
    number = environ.pop(_VARIABLE, None)
    if number is None:
        return None
    with os.fdopen(int(number), "rb") as file:
        file.seek(0)
        given = orjson.loads(file.read())
    handover = _from_json(given)
    for fd in (*(fd for _, fd in handover.listeners), *(worker.fd for worker in handover.workers)):
        os.set_inheritable(fd, False)  # noqa: FBT003 - its only parameter
    return handover


def rehearse(command: Sequence[str], places: Iterable[Place]) -> str:
    """Have the program that is on disk now show that it could take over; blocks for as long as that takes.

    Args:
        command: How this program was started.
        places: Where it listens, which need not be bound.

    Returns:
        Why it could not; empty if it could.
    """
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            [*command, "--rehearse", FORMAT],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                _PLACES_VARIABLE: orjson.dumps([[str(place[0]), place[1]] for place in places]).decode(),
            },
            timeout=_REHEARSAL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the new version did not start within {_REHEARSAL_S:.0f} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode == 0:
        return ""
    said = done.stdout.decode("utf-8", "backslashreplace").strip()[-_TOLD_CHARS:]
    return said or f"the new version ended with exit code {done.returncode}"


def bound_places(environ: MutableMapping[str, str]) -> Collection[Place]:
    """Where the version that runs listens, if this is a rehearsal."""
    return {(parse_bind(address), owner) for address, owner in orjson.loads(environ.pop(_PLACES_VARIABLE, "[]"))}


def started_command() -> list[str]:
    """How this program was started, so that links in it find a new version.

    A script is started as such, for it names its interpreter itself; ``python -m`` is started as it was.
    """
    script = sys.argv[0]
    if os.path.isabs(script) and os.access(script, os.X_OK) and not script.endswith(".py"):  # noqa: PTH117 - a str
        return list(sys.argv)
    return [sys.executable, *sys.orig_argv[1:]]


def _from_json(given: dict[str, Any]) -> Handover:  # Any: JSON of our own making
    tickets, unauthenticated = [], set()
    for number, ip, port, listener, owner, is_exempt, is_stressed, is_unauthenticated in given["tickets"]:
        tickets.append(
            Ticket(
                id=number,
                peer=Peer(ip_address(ip), port),
                listener=listener,
                owner=owner,
                is_exempt=is_exempt,
                is_stressed=is_stressed,
            )
        )
        if is_unauthenticated:
            unauthenticated.add(number)
    start, factor = given["references"]
    return Handover(
        version=given["version"],
        listeners=[((parse_bind(address), owner), fd) for address, owner, fd in given["listeners"]],
        workers=[OldWorker(number=number, pid=pid, fd=fd) for number, pid, fd in given["workers"]],
        admission=AdmissionState(next_id=given["next_id"], tickets=tickets, unauthenticated=unauthenticated),
        references=References(start=start, factor=factor),
    )
