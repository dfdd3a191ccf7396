"""The real program with two workers: what becomes of sessions, slots and clients when one of them dies."""

import os
import signal
from datetime import datetime
from pathlib import Path
from typing import Final

from rig.crewed import BOTH, Crewed, Opener, Starter, script, works
from rig.kinds import Closing
from rig.peers import dial
from rig.program import wait_until

IMPATIENT: Final = (
    "import tlsproxy.process.crew.crew as crew, tlsproxy.process.crew.member as member",
    "crew._STUCK_S, crew._LOOK_PERIOD_S, member._SUSPECT_S = 5.0, 0.1, 0.3",
)


@BOTH
def test_a_worker_dies_with_sessions_open(crew: Starter, log_in: Opener) -> None:
    program = crew("[limits]\nper_address = 4\n")
    clients = [log_in(program) for _ in range(4)]
    owners = program.workers_of(clients)
    victim = owners[0]
    lost = [client for client, owner in zip(clients, owners, strict=True) if owner == victim]
    kept = [client for client in clients if client not in lost]
    assert len(lost) == len(kept) == 2, "each worker has its half"
    os.kill(victim, signal.SIGKILL)
    (ended,) = program.wait("worker.ended")
    assert (ended["pid"], ended["sessions"], ended["level"]) == (victim, 2, "error")
    assert ended["cause"] == "signal 9 (Killed)"
    lines = program.wait("session.closed", 2)
    assert {(line["reason"], line["phase"], line["client_ip"]) for line in lines} == {
        ("worker_lost", "relay", "127.0.0.1")
    }
    assert {line["client_port"] for line in lines} == {client.sock.getsockname()[1] for client in lost}
    for client in kept:
        works(client)
    again = [log_in(program) for _ in range(2)]
    refused = dial(program.ports["imap"])
    assert refused.line().startswith(b"* BYE [UNAVAILABLE] Too many connections from your address (4)")
    refused.close()
    program.wait("worker.started", 3)
    assert victim not in program.settled()
    for client in kept + again:
        works(client)


def test_a_worker_dies_after_a_refusal(crew: Starter, come_in: Opener) -> None:
    program = crew("[limits]\nper_address = 1\n")
    first = come_in(program)
    with dial(program.ports["imap"]) as refused:  # for whom a worker was picked already
        assert refused.line().startswith(b"* BYE")
    idle = next(pid for pid in program.workers() if pid != program.worker_of(first))
    os.kill(idle, signal.SIGKILL)
    program.wait("worker.ended")
    for number in range(2, 8):
        works(come_in(program, f"127.0.0.{number}"))
    works(first)


def test_all_workers_die_at_once(crew: Starter, come_in: Opener) -> None:
    program = crew()
    come_in(program)
    for pid in program.workers():
        os.kill(pid, signal.SIGKILL)
    program.wait("worker.ended", 2)
    works(come_in(program))  # who comes waits for a new worker


def test_a_worker_that_dies_again_and_again(crew: Starter, come_in: Opener) -> None:
    program = crew()
    steady = come_in(program)
    for count in range(1, 4):
        (quick,) = set(program.settled()) - {program.worker_of(steady)}
        os.kill(quick, signal.SIGKILL)
        program.wait("worker.ended", count)
        program.wait("worker.started", 2 + count)
    ended, started = program.lines("worker.ended"), program.lines("worker.started")[2:]
    pauses = [instant(later) - instant(sooner) for sooner, later in zip(ended, started, strict=True)]
    for pause, least in zip(pauses, (0.2, 0.4, 0.8), strict=True):
        assert pause >= least, pauses
    works(steady)


def test_a_worker_ignores_signals_that_are_not_for_it(crew: Starter, come_in: Opener) -> None:
    program = crew()
    client = come_in(program)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        os.kill(program.worker_of(client), number)
    works(client)
    works(come_in(program))
    assert not program.lines("worker.ended")


def test_a_stuck_worker_gets_nobody_and_is_replaced(
    crew: Starter, come_in: Opener, closing: Closing, tmp_path: Path
) -> None:
    program = crew(command=[script(tmp_path, *IMPATIENT)])
    inside = come_in(program)
    stuck = program.worker_of(inside)
    os.kill(stuck, signal.SIGSTOP)
    wait_until(lambda: are_served(program, closing))
    assert stuck not in program.workers_of([come_in(program) for _ in range(20)])
    assert not program.lines("worker.stuck"), "it has not even been noticed yet"
    (line,) = program.wait("worker.stuck")
    assert (line["pid"], line["level"]) == (stuck, "error")
    assert program.wait("worker.ended")[0]["cause"] == "signal 9 (Killed)"
    assert inside.rest() == b""
    program.wait("worker.started", 3)
    assert stuck not in program.settled()


def are_served(program: Crewed, closing: Closing) -> bool:
    """Whether those who come and stay are served at once, more often in a row than could be by turns."""
    for _ in range(10):
        client = closing(dial(program.ports["imap"]))
        client.sock.settimeout(0.2)
        try:
            client.line()
        except TimeoutError:
            return False
    return True


def instant(line: dict[str, str]) -> float:
    """When a line was written, in seconds."""
    return datetime.fromisoformat(line["ts"]).timestamp()
