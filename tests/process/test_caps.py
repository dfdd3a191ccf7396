"""Caps of the real program with two workers: exact over both, in bursts and floods, and told to whoever meets them."""

import signal
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Final

from rig.crewed import BOTH, Crewed, Opener, Starter, works
from rig.kinds import Closing
from rig.oldserver import OldServer
from rig.peers import Peer, dial
from rig.pki import Pki
from rig.program import wait_until
from rig.visitors import Visitors

SOURCES: Final = [f"127.0.0.{number}" for number in range(2, 8)]


@BOTH
def test_caps_are_exact_in_a_burst(crew: Starter, closing: Closing) -> None:
    program = crew(
        '[limits]\nconnection_rate = "none"\nunauthenticated_per_address = "none"\nper_address = 20\ntotal = 90\n'
    )
    said = burst(program, closing, SOURCES, 40)
    greeted = [(source, client) for source, client, line in said if line.startswith(b"* OK")]
    assert len(greeted) == 90
    # All may be in before any address is at its own cap; who is alone meets it below.
    assert max(Counter(source for source, _ in greeted).values()) <= 20
    for _, client in greeted:
        works(client)
    held = Counter(program.workers_of([client for _, client in greeted]))
    assert list(held.values()) == [45, 45], "the two share the work"
    refusals = program.wait("session.closed", 150)
    assert Counter(line["phase"] for line in refusals) == {"admit": 150}
    assert {line["reason"] for line in refusals} <= {"address_full", "total_full"}
    told = {line.split(b"ref=")[1].strip().decode() for _, _, line in said if b"ref=" in line}
    assert told == {line["session"] for line in refusals}, "what clients were told finds the line in the log"
    for _, client in greeted:
        client.close()
    program.wait("session.closed", 240)
    again = burst(program, closing, SOURCES[:1], 25)
    assert Counter(line[:4] for _, _, line in again) == {b"* OK": 20, b"* BY": 5}, "every slot came back, and no other"


def burst(program: Crewed, closing: Closing, sources: Sequence[str], count: int) -> Sequence[tuple[str, Peer, bytes]]:
    """Connect from all sources at once; who came from where, and what it heard first."""
    found: list[tuple[str, Peer, bytes]] = []

    def come(source: str) -> None:
        clients = [dial(program.ports["imap"], source=source) for _ in range(count)]
        found.extend((source, client, client.line()) for client in clients)

    threads = [threading.Thread(target=come, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _, client, _ in found:
        closing(client)
    return found


def test_the_oldest_goes_even_from_the_other_worker(crew: Starter, come_in: Opener, log_in: Opener) -> None:
    program = crew("[limits]\nunauthenticated = 3\n")
    logged_in = log_in(program)
    waiting = [come_in(program) for _ in range(3)]
    newcomer = come_in(program)
    said = waiting[0].line()
    assert b"waiting for a login (3)" in said
    assert waiting[0].rest() == b""
    (closed,) = program.wait("session.closed")
    assert (closed["reason"], closed["phase"]) == ("unauthenticated_full", "dialogue")
    assert said.split(b"ref=")[1].strip().decode() == closed["session"]
    owners = set(program.workers_of([*waiting[1:], newcomer]))
    second = come_in(program)
    assert b"waiting for a login (3)" in waiting[1].line()
    assert len(owners) == 2, "sooner or later the oldest was with the other one"
    for client in (logged_in, waiting[2], newcomer, second):
        works(client)


def test_refused_politely_on_a_tls_port(crew: Starter, log_in: Opener, closing: Closing, rig_pki: Pki) -> None:
    program = crew("[limits]\nper_address = 1\n")
    for count, source in enumerate(SOURCES, 1):
        log_in(program, source)
        refused = closing(dial(program.ports["imaps"], source=source))
        refused.secure(rig_pki.client_context())
        said = refused.line()
        assert said.startswith(b"* BYE [UNAVAILABLE] Too many connections from your address (1)")
        closed = program.wait("session.closed", count)[-1]
        assert said.split(b"ref=")[1].strip().decode() == closed["session"]
        assert (closed["phase"], closed["reason"]) == ("admit", "address_full")


def test_flood(crew: Starter, closing: Closing) -> None:
    program = crew('[limits]\nconnection_rate = "none"\nper_address = 5\n')
    source = "127.0.0.9"
    inside = [closing(dial(program.ports["imap"], source=source)) for _ in range(5)]
    for client in inside:
        assert client.line().startswith(b"* OK")
    with Visitors(program.ports["imap"], 1) as others:
        for _ in range(4000):
            sock = socket.create_connection(("127.0.0.1", program.ports["imap"]), 20, (source, 0))
            sock.close()
        assert others.count, "others are served meanwhile"
        seen = others.count
        wait_until(lambda: others.count > seen + 10)
    for client in inside:
        works(client)
    program.signal(signal.SIGTERM)
    for client in inside:
        client.close()
    assert program.ends() == 0
    own = [line for line in program.lines("session.closed") if line["reason"] == "address_full"]
    assert 2000 <= len(own) <= 2100, "the first of them have a line of their own"
    shed = program.lines("connections.shed")
    assert {line["client_ip"] for line in shed} == {source}
    assert all(sum(line["reasons"].values()) == line["count"] for line in shed)
    assert len(own) + sum(line["count"] for line in shed) == 4000, "nobody is missing"
    assert len(shed) <= 5


def test_backend_is_lost_once_and_recovers_once(
    crew: Starter, closing: Closing, rig_pki: Pki, old_server: OldServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    program = crew(timeouts='drain = "1s"\nbackend_hold = "0s"', address=f"127.0.0.1:{port}")

    def come(source: str) -> bytes:
        with dial(program.ports["imaps"], source=source) as client:
            client.secure(rig_pki.client_context())
            return client.line()

    for source in SOURCES * 3:
        assert come(source).startswith(b"* BYE [UNAVAILABLE] The mail server cannot be reached")
    (lost,) = program.wait("backend.lost")
    assert (lost["address"], lost["level"]) == (f"127.0.0.1:{port}", "error")
    closing(OldServer(port))
    (recovered,) = program.wait("backend.recovered")
    assert recovered["backend"] == "imap"
    for source in SOURCES:
        assert come(source) == b"* OK old\r\n"
    assert len(program.lines("backend.lost")) == len(program.lines("backend.recovered")) == 1
