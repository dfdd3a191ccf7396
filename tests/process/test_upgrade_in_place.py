"""SIGUSR2 on the real program with two workers: the same process, sessions that go on, nobody refused."""

import os
import signal
from pathlib import Path

import pytest
from rig.crewed import BOTH, Crewed, Opener, Starter, script, works
from rig.peers import dial
from rig.program import wait_until
from rig.visitors import Visitors


def upgraded(program: Crewed, count: int = 1) -> list[int]:
    """Upgrade, and wait until the new version serves; its workers."""
    old = program.workers()
    program.signal(signal.SIGUSR2)
    program.wait("server.started", count + 1)
    return [pid for pid in program.workers() if pid not in old]


@BOTH
def test_upgrade_under_load(crew: Starter, log_in: Opener, come_in: Opener) -> None:
    program = crew()
    old = program.workers()
    inside = [log_in(program), log_in(program), come_in(program)]
    with Visitors(program.ports["imap"]) as visitors:
        before = visitors.count
        upgraded(program)
        wait_until(lambda: visitors.count > before + 50)
        first = upgraded(program, 2)
        wait_until(lambda: visitors.count > before + 100)
    started = program.lines("server.started")
    assert {line["pid"] for line in started} == {program.pid}
    assert [line["upgraded_from"] is None for line in started] == [True, False, False]
    for client in inside:
        works(client)
        assert program.worker_of(client) in old, "sessions stay where they are"
    newcomer = come_in(program)
    assert program.worker_of(newcomer) in first
    for client in inside:
        client.close()
    ended = [line for line in program.wait("worker.ended", 4) if line["pid"] in old]
    assert [line["cause"] for line in ended] == ["exit code 0"] * 2
    works(newcomer)
    ids = [line["session"] for line in program.lines("session.closed")]
    assert len(ids) == len(set(ids))


def test_caps_count_sessions_of_the_version_before(crew: Starter, log_in: Opener, come_in: Opener) -> None:
    program = crew("[limits]\nper_address = 3\nunauthenticated = 2\n")
    logged_in = log_in(program)
    waiting = [come_in(program), come_in(program)]
    upgraded(program)
    with dial(program.ports["imap"]) as refused:
        assert b"Too many connections from your address (3)" in refused.line()
    third = come_in(program, "127.0.0.2")
    assert b"waiting for a login (2)" in waiting[0].line(), "the oldest has to go, though another version serves it"
    logged_in.close()
    wait_until(lambda: len(program.lines("session.closed")) == 3)
    fourth = come_in(program)
    assert b"waiting for a login (2)" in waiting[1].line()
    works(third)
    works(fourth)


def test_upgrade_takes_a_new_configuration(crew: Starter, come_in: Opener) -> None:
    program = crew()
    old = program.workers()
    inside = come_in(program)
    text = program.config_file.read_text().replace("workers = 2", "workers = 3")
    text = text.replace('protocol = "pop3"\ntls = "starttls"', 'name = "more"\nprotocol = "imap"\ntls = "starttls"')
    program.config_file.write_text(text)
    new = upgraded(program)
    assert len(new) == 3
    with pytest.raises(ConnectionRefusedError):
        dial(program.ports["pop3"])
    (line,) = [line for line in program.lines("listener.started") if line["listener"] == "more"]
    with dial(int(line["address"].rpartition(":")[2])) as client:
        assert client.line().startswith(b"* OK")
    works(inside)
    works(come_in(program))
    (ended,) = program.wait("worker.ended")
    assert program.workers() == sorted([program.worker_of(inside), *new])
    assert (ended["cause"], ended["level"], ended["pid"] in old) == ("exit code 0", "info", True), "the idle one"


def test_upgrades_that_cannot_be(crew: Starter, come_in: Opener, tmp_path: Path) -> None:
    program = crew(command=[script(tmp_path)])
    inside, workers = come_in(program), program.workers()
    text, file = program.config_file.read_text(), tmp_path / "tlsproxy"

    def is_rejected(count: int) -> str:
        program.signal(signal.SIGUSR2)
        rejected = program.wait("upgrade.rejected", count)[-1]
        assert rejected["level"] == "error"
        assert program.workers() == workers
        works(inside)
        with dial(program.ports["imap"]) as client:
            assert client.line().startswith(b"* OK")
        return "\n".join(rejected["mistakes"])

    program.config_file.write_text(text + "\n[log]\nlevle = 3\n")
    assert "log.levle" in is_rejected(1)
    taken = f'bind = ["127.0.0.1:{program.ports["imaps"]}"]'
    program.config_file.write_text(text.replace('bind = ["127.0.0.1:0"]', taken, 1))
    assert "something listens there already" in is_rejected(2)
    program.config_file.write_text(text)
    script(tmp_path, "raise SystemExit('this version is broken')")
    assert is_rejected(3) == "this version is broken"
    script(tmp_path, "import os, signal", "os.kill(os.getpid(), signal.SIGSEGV)")
    assert is_rejected(4) == "the new version ended with exit code -11"
    file.unlink()
    assert "No such file" in is_rejected(5)
    script(tmp_path)
    assert len(upgraded(program)) == 2
    works(inside)


def test_old_workers_leave_when_their_time_is_up(crew: Starter, log_in: Opener, come_in: Opener) -> None:
    program = crew(timeouts='drain = "200ms"\nupgrade_grace = "500ms"')
    idle, waiting = log_in(program), come_in(program)
    new = upgraded(program)
    for client in (idle, waiting):
        assert client.line().startswith(b"* BYE [UNAVAILABLE] Server restarting")
        assert client.rest() == b""
        client.close()
    assert [line["cause"] for line in program.wait("worker.ended", 2)] == ["exit code 0"] * 2
    assert [line["reason"] for line in program.lines("session.closed")] == ["shutdown"] * 2
    assert program.workers() == new


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_during_an_upgrade(crew: Starter, come_in: Opener, number: signal.Signals) -> None:
    program = crew()
    come_in(program)
    program.signal(signal.SIGUSR2)
    program.wait("upgrade.started")
    program.signal(number)
    assert program.ends() == 0
    program.is_gone()
    assert program.lines("server.stopped")


def test_reloads_during_an_upgrade(crew: Starter, come_in: Opener) -> None:
    program = crew()
    inside = come_in(program)
    with Visitors(program.ports["imap"]):
        program.signal(signal.SIGUSR2)
        wait_until(lambda: is_reloaded_until_upgraded(program))
        loaded = len(program.lines("config.loaded"))
        program.signal(signal.SIGHUP)
        program.wait("config.loaded", loaded + 1)
    works(inside)
    assert not program.lines("config.rejected")
    assert not program.lines("upgrade.rejected")


def is_reloaded_until_upgraded(program: Crewed) -> bool:
    for _ in range(20):
        program.signal(signal.SIGHUP)
    return len(program.lines("server.started")) == 2


def test_a_new_worker_dies_before_it_can_serve(crew: Starter, come_in: Opener) -> None:
    program = crew()
    inside, old = come_in(program), program.workers()
    program.signal(signal.SIGUSR2)
    new: set[int] = set()

    def has_begun() -> bool:
        new.update(set(program.workers()) - set(old))
        return bool(new)

    wait_until(has_begun)
    os.kill(new.pop(), signal.SIGKILL)
    program.wait("server.started", 2)
    works(inside)
    works(come_in(program))


def test_workers_killed_around_an_upgrade(crew: Starter, come_in: Opener) -> None:
    program = crew()
    clients = [come_in(program) for _ in range(4)]
    victim = program.worker_of(clients[0])
    kept = [client for client in clients if program.worker_of(client) != victim]
    program.signal(signal.SIGUSR2)
    program.wait("upgrade.started")
    os.kill(victim, signal.SIGKILL)
    program.wait("server.started", 2)
    for client in kept:
        works(client)
    assert [line["reason"] for line in program.wait("session.closed", 2)] == ["worker_lost"] * 2
    os.kill(program.worker_of(kept[0]), signal.SIGKILL)  # a child that the version before has started
    assert [line["reason"] for line in program.wait("session.closed", 4)] == ["worker_lost"] * 4
    works(come_in(program))
    assert len(program.settled()) == 2
