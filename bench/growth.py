"""How it grows: with the number of sessions, and with a second worker; and what many sessions would need."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from statistics import median
from typing import Any, Final

from bench.machine import Cores
from bench.peers import Peer, Running, Variant, running
from bench.processes import BenchError, settle
from bench.rig import Rig
from bench.runs import CAP, FEW, SOURCES, Say, load, measured, warm_up

SESSIONS: Final = (100, 1000, 4000, 8000)
_DESCRIPTORS: Final = 2  # of each session: the client's and the backend's
_OUTSTANDING: Final = 64
_ROUND_TRIPS: Final = 20000
_HANDSHAKES: Final = 2000
_REFUSALS: Final = 20000
_MICRO: Final = 1e6
_KIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the paragraph on a large installation is computed for."""

    sessions: int = 100_000
    cores: int = 32
    # One address towards one backend address: net.ipv4.ip_local_port_range by default.
    ports: int = 28_000
    # After a cut in the network all come back; that may take so long.
    return_s: int = 60


def curve(rig: Rig, peer: Peer, say: Say) -> list[dict[str, float]]:
    """CPU of a round trip and memory of a session, by the number of sessions that are open.

    The same number of requests is on its way each time, so that only the number of sessions differs.

    Raises:
        BenchError: The peer does not work.
    """
    points = []
    for count in SESSIONS:
        if count * _DESCRIPTORS + 100 > getrlimit(RLIMIT_NOFILE)[1]:
            say(f"{count} sessions do not fit into the limit of open files (ulimit -Hn)")
            break
        say(f"growth: {peer.name}, {count} sessions")
        with running(rig, peer, Variant()) as proxy:
            warm_up(rig, proxy, FEW)
            points.append(_point(rig, proxy, count))
    return points


def _point(rig: Rig, proxy: Running, count: int) -> dict[str, float]:
    empty, kernel_empty = proxy.tree.pss_bytes(), _kernel_bytes()
    asked = ("--sessions", count, "--outstanding", min(count, _OUTSTANDING), "--count", _ROUND_TRIPS)
    with load(rig, proxy, "roundtrip", *asked, *SOURCES) as generator:
        settle()
        memory, kernel = proxy.tree.pss_bytes() - empty, _kernel_bytes() - kernel_empty
        before = proxy.tree.cpu_s()
        result = generator.go()
        used = proxy.tree.cpu_s() - before
    return {
        "sessions": count,
        "round_trip_us": used / _ROUND_TRIPS * _MICRO,
        "p99_us": result["p99_us"],
        "session_kib": memory / count / _KIB,
        # Client, proxy and backend are on this machine: half of the four sockets are the proxy's.
        "kernel_kib": kernel / 2 / count / _KIB,
    }


def door(rig: Rig, peer: Peer) -> dict[str, float]:
    """What accepting alone costs: refused connections at full speed, and the door's part of an accepted one.

    Raises:
        BenchError: The peer does not work.
    """
    with running(rig, peer, Variant(cap=CAP)) as proxy:
        warm_up(rig, proxy)
        used, result = measured(rig, proxy, "flood", "--count", _REFUSALS, "--holders", CAP, "--concurrency", 64)
    found = {"refusals_per_s": _REFUSALS / result["seconds"], "refused_us": used / _REFUSALS * _MICRO}
    with running(rig, peer, Variant()) as proxy:
        warm_up(rig, proxy)
        with load(rig, proxy, "login", "--count", _HANDSHAKES, *SOURCES) as generator:
            before = proxy.tree.cpu_by_process_s()
            generator.go()
            settle()
            after = proxy.tree.cpu_by_process_s()
    if len(after) > 1:
        spent = {pid: (used - before.get(pid, 0)) / _HANDSHAKES * _MICRO for pid, used in after.items()}
        found["door_us"] = spent.pop(proxy.tree.pid)
        found["worker_us"] = sum(spent.values())
    return found


def workers(rig: Rig, peer: Peer, repeats: int) -> dict[str, dict[str, float]]:
    """One worker against two, all of them and the load on two cores.

    Raises:
        BenchError: The peer does not work.
    """
    both = Cores.divide(2).proxy
    place = replace(rig, cores=Cores(proxy=both, load=both))
    samples: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with ExitStack() as stack:
        started = {count: stack.enter_context(running(place, peer, Variant(workers=count))) for count in samples}
        for proxy in started.values():
            warm_up(place, proxy)
        for _ in range(repeats):
            for count, proxy in started.items():
                used, result = measured(place, proxy, "login", "--count", _HANDSHAKES, "--concurrency", 64, *SOURCES)
                samples[count].append((_HANDSHAKES / result["seconds"], used / _HANDSHAKES * _MICRO))
    return {
        str(count): {
            "logins_per_s": median(rate for rate, _ in of_count),
            "login_us": median(cpu for _, cpu in of_count),
        }
        for count, of_count in samples.items()
    }


def curves(rig: Rig, peers: Sequence[Peer], say: Say) -> dict[str, list[dict[str, float]]]:
    """The curve of each peer; one that fails is left out, and said."""
    found = {}
    for peer in peers:
        try:
            found[peer.name] = curve(rig, peer, say)
        except BenchError as error:
            say(f"growth: {peer.name}: {error}")
    return found


def processes(rig: Rig, ours: Peer, say: Say) -> dict[str, dict[str, Any]]:
    """What the door and a second worker do; what fails is left out, and said."""
    found: dict[str, dict[str, Any]] = {}
    for name, measure in (("door", lambda: door(rig, ours)), ("workers", lambda: workers(rig, ours, 3))):
        say(f"growth: {name}")
        try:
            found[name] = measure()
        except BenchError as error:
            say(f"growth: {name}: {error}")
    return found


def outlook(found: Mapping[str, Any], name: str, login_us: float, target: Target | None = None) -> str:
    """What many sessions on many cores need, computed from the measured figures.

    Args:
        found: Curves, and what processes() found.
        name: Our column.
        login_us: CPU of a handshake with login.
        target: How many.
    """
    goal = target or Target()
    points = found.get("curves", {}).get(name)
    if not points:
        return ""
    last = points[-1]
    gib = goal.sessions / 1024**2
    addresses = -(-goal.sessions // goal.ports)
    rate = goal.sessions / goal.return_s
    text = (
        f"**{goal.sessions:,} sessions on {goal.cores} cores**, computed from the figures above: "
        f"{goal.sessions * _DESCRIPTORS:,} descriptors, so {goal.sessions * _DESCRIPTORS // goal.cores:,} in each of "
        f"{goal.cores} workers (LimitNOFILE); {last['session_kib'] * gib:.1f} GiB of memory in the processes and "
        f"{last['kernel_kib'] * gib:.1f} GiB in the kernel for idle sockets, to which net.ipv4.tcp_mem "
        f"must leave room beyond; {addresses} addresses for the way to the backend, since one gives about "
        f"{goal.ports:,} ports (a backend that listens on several addresses does as well). If all come back within "
        f"{goal.return_s} s after a cut in the network, that is {rate:,.0f} logins a second: "
        f"{rate * login_us / _MICRO:.1f} cores in all"
    )
    door_us = found.get("door", {}).get("door_us")
    if door_us:
        text += (
            f", of which the door, a single process, takes {rate * door_us / _MICRO:.2f} of its one core; "
            f"it ends at about {round(_MICRO / door_us, -2):,.0f} connections a second"
        )
    trips = (goal.cores - 1) * _MICRO / last["round_trip_us"]
    return f"{text}. After that, {round(trips, -4):,.0f} small round trips a second fill the cores."


def _kernel_bytes() -> int:
    """What the kernel holds in its own objects; sockets and their buffers among them."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * _KIB
    return 0
