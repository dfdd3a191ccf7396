"""SIGHUP on the real program with two workers while clients come and go: nobody is dropped, all workers change."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rig.crewed import BOTH, Crewed, Opener, Starter, descriptors_of, status_of, works
from rig.peers import dial
from rig.pki import Pki
from rig.program import wait_until
from rig.visitors import Visitors


def renew(pki: Pki, folder: Path, chain: Path, key: Path) -> None:
    """Put another pair in the place of one."""
    (folder / "again").mkdir()
    new_chain, new_key = pki.pair(folder / "again", "localhost")
    new_chain.replace(chain)
    new_key.replace(key)


def serial(program: Crewed, pki: Pki) -> str:
    raw = socket.create_connection(("127.0.0.1", program.ports["imaps"]))
    with pki.client_context().wrap_socket(raw, server_hostname="localhost") as tls:
        found: str = tls.getpeercert()["serialNumber"]
        return found


@BOTH
def test_all_workers_show_a_new_certificate_at_once(
    crew: Starter, log_in: Opener, rig_pki: Pki, tmp_path: Path
) -> None:
    chain, key = rig_pki.pair(tmp_path, "localhost")
    program = crew(chain=chain, key=key)
    inside = [log_in(program) for _ in range(4)]
    workers = program.workers()
    old = serial(program, rig_pki)
    with Visitors(program.ports["imaps"], context=rig_pki.client_context()) as visitors:
        wait_until(lambda: visitors.served[old] > 5)
        renew(rig_pki, tmp_path, chain, key)
        program.signal(signal.SIGHUP)
        program.wait("config.loaded", 2)
        # Each is on its own from here: clients that stay are spread over both workers.
        seen = {serial(program, rig_pki) for _ in range(10)}
        assert len(seen) == 1
        assert old not in seen
        (new,) = seen
        wait_until(lambda: visitors.served[new] > 5)
    assert set(visitors.served) == {old, new}
    assert program.workers() == workers
    for client in inside:
        works(client)


def test_many_reloads_drop_nobody_and_leave_nothing_behind(crew: Starter, log_in: Opener, come_in: Opener) -> None:
    program = crew()
    inside = [log_in(program), log_in(program), come_in(program), come_in(program)]
    everybody = [program.pid, *program.workers()]
    before = [descriptors_of(pid) for pid in everybody]
    with Visitors(program.ports["imap"]):
        for count in range(2, 22):
            program.signal(signal.SIGHUP)
            program.wait("config.loaded", count)
    for client in inside:
        works(client)
    assert [program.pid, *program.workers()] == everybody
    # Fewer, if the supervisor still had the last client's as it was counted.
    wait_until(lambda: all(descriptors_of(pid) <= count for pid, count in zip(everybody, before, strict=True)))
    assert not program.lines("config.rejected")


def test_a_worker_dies_during_a_reload(crew: Starter, come_in: Opener) -> None:
    program = crew()
    clients = [come_in(program) for _ in range(4)]
    owners = program.workers_of(clients)
    victim = owners[0]
    kept = [client for client, owner in zip(clients, owners, strict=True) if owner != victim]
    text = program.config_file.read_text()
    program.config_file.write_text(text.replace("[limits]\n", "[limits]\ntotal = 4\n"))
    os.kill(victim, signal.SIGKILL)
    program.signal(signal.SIGHUP)
    program.wait("config.loaded", 2)
    program.wait("worker.started", 3)
    assert victim not in program.settled()
    for client in kept:
        works(client)
    for _ in range(4 - len(kept)):
        works(come_in(program))
    with dial(program.ports["imap"]) as refused:
        assert b"All 4 connections are in use" in refused.line()


def test_descriptors_come_back(crew: Starter, come_in: Opener) -> None:
    program = crew()
    steady = come_in(program)
    before = descriptors_of(program.pid)
    for _ in range(2000):
        dial(program.ports["imap"]).close()
    for count in range(1, 3):
        os.kill(next(pid for pid in program.settled() if pid != program.worker_of(steady)), signal.SIGKILL)
        program.wait("worker.started", 2 + count)
    program.settled()
    wait_until(lambda: descriptors_of(program.pid) <= before)  # fewer, if one was on its way
    program.signal(signal.SIGUSR2)
    program.wait("server.started", 2)
    steady.close()
    program.settled()
    wait_until(lambda: descriptors_of(program.pid) <= before)
    works(come_in(program))


def can_nobody_run() -> bool:
    """Whether somebody else may run this interpreter and the program; not if they are in root's own folder."""
    command = [sys.executable, "-c", "import tlsproxy.process.supervisor"]
    try:
        return subprocess.run(command, user="nobody", stderr=subprocess.DEVNULL, check=False).returncode == 0
    except PermissionError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_workers_run_as_somebody_else(crew: Starter, log_in: Opener, rig_pki: Pki, tmp_path: Path) -> None:
    if not can_nobody_run():
        pytest.skip("only root can run this interpreter")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    chain, key = rig_pki.pair(private, "localhost")
    log = private / "mail.log"
    log.touch(0o600)
    program = crew(server='workers = 2\nrun_as = "nobody"', chain=chain, key=key)
    assert status_of(program.pid, "Uid") == ["0"] * 4
    for pid in program.workers():
        assert status_of(pid, "Uid") == ["65534"] * 4
        assert status_of(pid, "Gid") == ["65534"] * 4
        assert "0" not in status_of(pid, "Groups")
        assert status_of(pid, "CapEff") == ["0000000000000000"]
    inside = log_in(program)
    first = serial(program, rig_pki)
    renew(rig_pki, tmp_path, chain, key)
    program.config_file.write_text(program.config_file.read_text() + f'[log]\nfile = "{log}"\n')
    program.signal(signal.SIGHUP)
    wait_until(lambda: b"config.loaded" in log.read_bytes())
    assert serial(program, rig_pki) != first
    moved = log.rename(private / "mail.log.1")
    program.signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and b"config.loaded" in log.read_bytes())
    serials = re.compile(rb'"session.closed"')
    wait_until(lambda: len(serials.findall(moved.read_bytes())) == 1)
    serial(program, rig_pki)
    inside.close()
    wait_until(lambda: len(serials.findall(log.read_bytes())) == 2)
    os.kill(program.workers()[0], signal.SIGKILL)
    wait_until(lambda: log.read_bytes().count(b"worker.started") == 1)
    assert {status_of(pid, "Uid")[0] for pid in program.settled()} == {"65534"}
    log_in(program)
