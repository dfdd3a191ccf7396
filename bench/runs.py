"""The measurements of the main table: what is counted, how often, and against whom."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from bench.peers import Peer, Running, Variant, running
from bench.processes import BenchError, Load, settle
from bench.rig import NATIVE, Rig
from bench.spending import check_tls, spent

CAP: Final = 10
_KEYS: Final = {"ecdsa": "EC-256", "rsa": "RSA-2048"}
_SESSIONS: Final = 64
_BULK_SESSIONS: Final = 4
_USED_BYTES: Final = 256 * 1024
_GIB: Final = 1024**3
_KIB: Final = 1024
FEW: Final = 4
_MICRO: Final = 1e6
_DIGITS: Final = 3  # what is beyond is noise
# Ports of one address are used up after 28,000 connections a minute.
SOURCES: Final = ("--source", "127.0.3.1", "--sources", "16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table; less is better in all.

    Attributes:
        key: Its name in the results.
        title: What a person reads.
        unit: Of each value.
        must: The ratio that we promise to stay below.
        aim: The ratio that we would like to reach.
        against: The peer to be compared with, where it is not the best one.
    """

    key: str
    title: str
    unit: str
    must: float | None = None
    aim: float | None = None
    against: str = ""


FIGURES: Final = (
    Figure(key="full_ecdsa", title="full handshake, ECDSA P-256", unit="µs CPU", must=1.25, aim=1.0),
    Figure(key="full_rsa", title="full handshake, RSA-2048", unit="µs CPU", must=1.1, aim=1.0),
    Figure(key="resumed", title="resumed handshake", unit="µs CPU", must=1.3, aim=1.0),
    Figure(key="login", title="handshake and login", unit="µs CPU", must=1.35, aim=1.1),
    Figure(key="round_trip", title=f"round trip, {_SESSIONS} sessions", unit="µs CPU", must=1.3, aim=1.0),
    Figure(key="p50", title="its time, median", unit="µs"),
    Figure(key="p99", title="its time, 99 of 100 below", unit="µs"),
    Figure(key="down", title="GiB down", unit="s CPU", must=1.0, aim=0.85),
    Figure(key="up", title="GiB up", unit="s CPU", must=1.1, aim=0.95),
    Figure(key="refused", title="refused connection", unit="µs CPU", must=1.0, aim=0.5, against="HAProxy"),
    Figure(key="idle_1000", title="idle session, of 1,000", unit="KiB", must=1.15, aim=0.95),
    Figure(key="used_1000", title="the same after 256 KiB each way", unit="KiB", must=1.15, aim=0.95),
    Figure(key="idle_4000", title="idle session, of 4,000", unit="KiB", must=1.15, aim=0.95),
    Figure(key="used_4000", title="the same after 256 KiB each way", unit="KiB", must=1.15, aim=0.95),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured.

    Attributes:
        repeats: Rounds through all measurements but memory.
        handshakes: Connections of each kind in one round.
        round_trips: In all sessions together.
        bulk_bytes: Each way, in each of four sessions.
        refusals: Connections over the cap.
        sessions: For memory: how many are open.
        memory_repeats: Rounds of memory, each with new processes.
    """

    repeats: int
    handshakes: int
    round_trips: int
    bulk_bytes: int
    refusals: int
    sessions: tuple[int, ...]
    memory_repeats: int


QUICK: Final = Size(
    repeats=3,
    handshakes=400,
    round_trips=10000,
    bulk_bytes=32 << 20,
    refusals=3000,
    sessions=(1000,),
    memory_repeats=1,
)
FULL: Final = Size(
    repeats=7,
    handshakes=600,
    round_trips=20000,
    bulk_bytes=64 << 20,
    refusals=5000,
    sessions=(1000, 4000),
    memory_repeats=2,
)
TINY: Final = Size(
    repeats=1,
    handshakes=40,
    round_trips=640,
    bulk_bytes=1 << 20,
    refusals=100,
    sessions=(20,),
    memory_repeats=1,
)

Samples = dict[str, dict[str, list[float]]]
Say = Callable[[str], None]


def no_samples() -> Samples:
    """Figures by peer, with a place for what is to come."""
    return defaultdict(lambda: defaultdict(list))


@dataclass(slots=True, kw_only=True)
class Table:
    """What is being measured.

    Attributes:
        rig: Where.
        peers: Who, ours among them.
        size: How much.
        say: Tells a person how far it is.
        samples: Values by figure and peer.
        notes: Why a peer has no values.
    """

    rig: Rig
    peers: Sequence[Peer]
    size: Size
    say: Say
    samples: Samples = field(default_factory=no_samples)
    notes: list[str] = field(default_factory=list)

    def work(self) -> None:
        """Measure all but memory, the peers taking turns in every measurement."""
        with ExitStack() as stack:
            started = {
                variant: list(self._start(stack, variant))
                for variant in (Variant(), Variant(key="rsa"), Variant(cap=CAP))
            }
            for number in range(self.size.repeats):
                self.say(f"round {number + 1} of {self.size.repeats}")
                for variant, measure in _MEASURES:
                    turn = started[variant]
                    first = number % max(1, len(turn))
                    for proxy in turn[first:] + turn[:first]:
                        self._take(proxy.peer, partial(measure, self.rig, proxy, self.size))

    def memory(self) -> None:
        """Measure memory, each time with new processes."""
        for number in range(self.size.memory_repeats):
            for count in self.size.sessions:
                self.say(f"memory with {count} sessions, {number + 1} of {self.size.memory_repeats}")
                for peer in self.peers:
                    self._take(peer, partial(memory, self.rig, peer, count))

    def _start(self, stack: ExitStack, variant: Variant) -> Iterator[Running]:
        for peer in self.peers:
            if variant.cap is not None and not peer.can_refuse:
                continue
            try:
                proxy = stack.enter_context(running(self.rig, peer, variant))
                warm_up(self.rig, proxy)
            except BenchError as error:
                self._note(peer, error)
            else:
                yield proxy

    def _take(self, peer: Peer, measure: Callable[[], dict[str, float]]) -> None:
        try:
            for key, value in measure().items():
                self.samples[key][peer.name].append(round(value, _DIGITS))
        except BenchError as error:
            self._note(peer, error)

    def _note(self, peer: Peer, error: BenchError) -> None:
        note = f"{peer.name}: {error}"
        self.say(note)
        if note not in self.notes:
            self.notes.append(note)


def load(rig: Rig, proxy: Running, mode: str, *arguments: object) -> Load:
    """The load generator in a mode, towards a proxy; its options are in bench/native/loadgen.c."""
    return Load(NATIVE / "loadgen", [mode, "--target", proxy.target, *map(str, arguments)], rig.cores.load)


def measured(rig: Rig, proxy: Running, mode: str, *arguments: object) -> tuple[float, dict[str, Any]]:
    """CPU seconds of the whole tree between ready and result, and the result.

    Raises:
        BenchError: Something failed, or TLS was not what all others spoke.
    """
    used, result = spent(proxy, load(rig, proxy, mode, *arguments))
    check_tls(result)
    return used, result


def warm_up(rig: Rig, proxy: Running, sessions: int = _SESSIONS) -> None:
    """Let caches fill and code be specialised; with few sessions, where the memory they leave behind would count."""
    with load(rig, proxy, "login", "--count", 200, "--concurrency", min(sessions, 16), *SOURCES) as generator:
        generator.go()
    with load(rig, proxy, "roundtrip", "--count", 2000, "--sessions", sessions, *SOURCES) as generator:
        generator.go()
    settle()


def memory(rig: Rig, peer: Peer, count: int) -> dict[str, float]:
    """KiB for each of so many sessions, before and after bytes have passed through them."""
    with running(rig, peer, Variant()) as proxy:
        warm_up(rig, proxy, FEW)
        empty = proxy.tree.pss_bytes()
        with load(rig, proxy, "idle", "--sessions", count, "--bytes", _USED_BYTES, *SOURCES) as generator:
            settle()
            idle = proxy.tree.pss_bytes() - empty
            generator.go()
            settle()
            used = proxy.tree.pss_bytes() - empty
    return {f"idle_{count}": idle / count / _KIB, f"used_{count}": used / count / _KIB}


def _full(rig: Rig, proxy: Running, size: Size, key: str) -> dict[str, float]:
    used, result = measured(rig, proxy, "handshake", "--count", size.handshakes, *SOURCES)
    if result["key"] != _KEYS[key]:
        raise BenchError(f"a certificate of {result['key']} instead of {_KEYS[key]}")
    return {f"full_{key}": used / size.handshakes * _MICRO}


def _full_ecdsa(rig: Rig, proxy: Running, size: Size) -> dict[str, float]:
    return _full(rig, proxy, size, "ecdsa")


def _full_rsa(rig: Rig, proxy: Running, size: Size) -> dict[str, float]:
    return _full(rig, proxy, size, "rsa")


def _resumed(rig: Rig, proxy: Running, size: Size) -> dict[str, float]:
    used, result = measured(rig, proxy, "resumed", "--count", size.handshakes, *SOURCES)
    if result["resumed"] != size.handshakes:
        raise BenchError(f"only {result['resumed']} of {size.handshakes} handshakes were resumed")
    return {"resumed": used / size.handshakes * _MICRO}


def _login(rig: Rig, proxy: Running, size: Size) -> dict[str, float]:
    used, _ = measured(rig, proxy, "login", "--count", size.handshakes, *SOURCES)
    return {"login": used / size.handshakes * _MICRO}


def _round_trip(rig: Rig, proxy: Running, size: Size) -> dict[str, float]:
    used, result = measured(rig, proxy, "roundtrip", "--count", size.round_trips, "--sessions", _SESSIONS, *SOURCES)
    return {"round_trip": used / size.round_trips * _MICRO, "p50": result["p50_us"], "p99": result["p99_us"]}


def _down(rig: Rig, proxy: Running, size: Size) -> dict[str, float]:
    used, result = measured(rig, proxy, "down", "--sessions", _BULK_SESSIONS, "--bytes", size.bulk_bytes)
    return {"down": used / result["bytes"] * _GIB}


def _up(rig: Rig, proxy: Running, size: Size) -> dict[str, float]:
    used, result = measured(rig, proxy, "up", "--sessions", _BULK_SESSIONS, "--bytes", size.bulk_bytes)
    return {"up": used / result["bytes"] * _GIB}


def _refused(rig: Rig, proxy: Running, size: Size) -> dict[str, float]:
    used, _ = measured(rig, proxy, "flood", "--count", size.refusals, "--holders", CAP, "--source", "127.0.4.1")
    return {"refused": used / size.refusals * _MICRO}


_MEASURES: Final[tuple[tuple[Variant, Callable[[Rig, Running, Size], dict[str, float]]], ...]] = (
    (Variant(), _full_ecdsa),
    (Variant(key="rsa"), _full_rsa),
    (Variant(), _resumed),
    (Variant(), _login),
    (Variant(), _round_trip),
    (Variant(), _down),
    (Variant(), _up),
    (Variant(cap=CAP), _refused),
)
