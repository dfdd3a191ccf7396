"""A miniature of the benchmark: the programs that make load, and tlsproxy between them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import rig as rigs
from bench.machine import Cores
from bench.peers import Running, Variant, running, tlsproxy
from bench.processes import BenchError, Load, Tree, is_alive
from bench.rig import Rig, rig
from bench.runs import CAP, SOURCES, TINY, Table, load, measured

ROOT = Path(__file__).parents[2]
SPOILT_BYTE = "100000"

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def place() -> Iterator[Rig]:
    with rig(Cores.divide()) as found:
        yield found


@pytest.fixture
def proxy(place: Rig) -> Iterator[Running]:
    with running(place, tlsproxy(sys.executable), Variant()) as found:
        yield found


def test_every_figure_is_measured(place: Rig) -> None:
    said: list[str] = []
    peer = tlsproxy(sys.executable)
    table = Table(rig=place, peers=[peer], size=TINY, say=said.append)
    table.work()
    table.memory()
    assert table.notes == []
    values = {key: of_peers[peer.name] for key, of_peers in table.samples.items()}
    assert set(values) == {
        *("full_ecdsa", "full_rsa", "resumed", "login", "round_trip", "p50", "p99", "down", "up", "refused"),
        *("idle_20", "used_20"),
    }
    assert all(len(samples) == 1 for samples in values.values())
    assert all(values[key][0] > 0 for key in values if not key.endswith("_20"))


def test_a_changed_byte_on_the_way_up_is_seen(place: Rig, proxy: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRUPT_AT", SPOILT_BYTE)
    with pytest.raises(BenchError, match="another answer"):
        measured(place, proxy, "up", "--sessions", 2, "--bytes", 200_000)


def test_a_changed_byte_on_the_way_down_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRUPT_AT", SPOILT_BYTE)
    with rig(Cores.divide()) as place, running(place, tlsproxy(sys.executable), Variant()) as proxy:
        monkeypatch.delenv("CORRUPT_AT")
        with pytest.raises(BenchError, match="a byte of the download is wrong"):
            measured(place, proxy, "down", "--sessions", 2, "--bytes", 200_000)


def test_bytes_are_counted(place: Rig, proxy: Running) -> None:
    _, result = measured(place, proxy, "down", "--sessions", 3, "--bytes", 200_000)
    assert (result["done"], result["bytes"]) == (3, 600_000)


def test_connections_below_the_cap_do_not_pass_for_refused(place: Rig, proxy: Running) -> None:
    """They are kept open, and so the load generator gives up."""
    with (
        load(place, proxy, "flood", "--count", 20, "--timeout", 1) as generator,
        pytest.raises(BenchError, match="timeout"),
    ):
        generator.go()


def test_connections_over_the_cap_are_refused(place: Rig) -> None:
    with running(place, tlsproxy(sys.executable), Variant(cap=CAP)) as proxy:
        with load(place, proxy, "login", "--count", 16, *SOURCES) as generator:
            generator.go()
        with load(place, proxy, "flood", "--count", 50, "--holders", CAP, "--source", "127.0.4.1") as generator:
            assert generator.go()["done"] == 50


def test_nobody_listening_is_no_refusal(native: Path) -> None:
    arguments = ["flood", "--target", f"127.0.0.1:{rigs.free_port()}", "--count", "5"]
    with (
        Load(native / "loadgen", arguments, Cores.divide().load) as generator,
        pytest.raises(BenchError, match="nobody listens"),
    ):
        generator.go()


def test_a_tree_has_the_cpu_and_the_memory_of_its_descendants(tmp_path: Path) -> None:
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ntime.sleep(60)"
    command = ["sh", "-c", f"{sys.executable} -c '{burn}' & wait"]
    with Tree(command, Cores.divide().proxy, tmp_path) as tree:
        _until(lambda: tree.cpu_s() >= 0.3)
        members = tree.members()
        assert len(members) == 2
        assert tree.pss_bytes() > 1 << 20
        assert tree.cpu_by_process_s()[tree.pid] < 0.3
    assert not any(map(is_alive, members))


def test_an_ended_program_tells_its_last_words(tmp_path: Path) -> None:
    with Tree(["sh", "-c", "echo no such thing; exit 3"], Cores.divide().proxy, tmp_path) as tree:
        os.waitid(os.P_PID, tree.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(BenchError, match="ended with 3: no such thing"):
            tree.check()


def test_load_that_does_not_get_ready_is_told(native: Path, place: Rig, proxy: Running) -> None:
    arguments = ["roundtrip", "--target", place.backend, "--sessions", "1"]  # plaintext where TLS is expected
    with pytest.raises(BenchError, match="instead of ready"), Load(native / "loadgen", arguments, place.cores.load):
        pass


def _until(is_true: Any) -> None:
    while not is_true():  # pytest-timeout ends it
        pass
