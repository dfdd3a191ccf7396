"""A flood from one address over its cap, while others work: what they notice of it, and what it costs."""

from collections.abc import Sequence
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

from bench.peers import Peer, Running, Variant, running
from bench.processes import BenchError, Tree, settle
from bench.rig import Rig
from bench.runs import CAP, SOURCES, Say, load, measured, warm_up

_CONNECTS: Final = 20000
# As fast as one core can connect and look at the answer, with room left for the work of the others.
_CONNECTS_PER_S: Final = 4000
_SESSIONS: Final = 50
_PAUSE_MS: Final = 10
_ROUND_TRIPS: Final = 20000
_SAMPLE_S: Final = 0.25
_MICRO: Final = 1e6
_KIB: Final = 1024


def flood(rig: Rig, peers: Sequence[Peer], say: Say) -> dict[str, dict[str, float]]:
    """For each peer that can refuse: p99 of the others' round trips before and during, CPU, memory."""
    found = {}
    for peer in peers:
        if not peer.can_refuse:
            continue
        say(f"flood: {peer.name}")
        try:
            with running(rig, peer, Variant(cap=CAP)) as proxy:
                warm_up(rig, proxy)
                found[peer.name] = _under_flood(rig, proxy)
        except BenchError as error:
            say(f"flood: {peer.name}: {error}")
    return found


def _under_flood(rig: Rig, proxy: Running) -> dict[str, float]:
    work = ("roundtrip", "--sessions", _SESSIONS, "--interval", _PAUSE_MS, "--count", _ROUND_TRIPS, *SOURCES)
    quiet_s, quiet = measured(rig, proxy, *work)
    attack = ("--count", _CONNECTS, "--rate", _CONNECTS_PER_S, "--concurrency", 64, "--holders", CAP)
    with load(rig, proxy, *work) as workers, load(rig, proxy, "flood", *attack, "--source", "127.0.4.1") as flooder:
        settle()
        with _Peak(proxy.tree) as peak:
            before = proxy.tree.cpu_s()
            workers.begin()
            flooder.begin()
            busy, attacked = workers.result(), flooder.result()
            settle()
            busy_s = proxy.tree.cpu_s() - before
    return {
        "quiet_p99_us": quiet["p99_us"],
        "flood_p99_us": busy["p99_us"],
        "refusals_per_s": attacked["done"] / attacked["seconds"],
        # What both cost together, without what the work alone costs.
        "refused_us": (busy_s - quiet_s) / attacked["done"] * _MICRO,
        "more_kib": peak.growth_bytes / _KIB,
    }


class _Peak:
    """How far the memory of a tree rises above what it was at first."""

    def __init__(self, tree: Tree) -> None:
        self.growth_bytes = 0
        self._tree = tree
        self._ended = Event()
        self._thread = Thread(target=self._watch, args=(tree.pss_bytes(),))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self, first: int) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self.growth_bytes = max(self.growth_bytes, self._tree.pss_bytes() - first)
