"""``python -m bench``: measure, and tell."""

import argparse
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench import data, flood, growth, machine, mail, plot, report
from bench.peers import PEERS, Peer, tlsproxy, version
from bench.processes import BenchError, adopt_orphans
from bench.rig import Rig, rig
from bench.runs import FULL, QUICK, Table

_HERE: Final = Path(__file__).parent
_PARTS: Final = ("work", "memory", "growth", "workers", "flood", "mail", "data")
_LATEST: Final = _HERE / "results" / "latest.json"


def main() -> int:
    """Measure, print the table, write the files; 1 if tlsproxy could not be measured."""
    options = _options()
    # Whoever ends us ends what we have started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    adopt_orphans()
    ours = _ours(options)
    peers = [peer for peer in PEERS if _is_wanted(peer, options) and _is_there(peer)]
    result = report.read_json(options.json) if options.add else {}
    own_names = _united(result.get("ours", []), ours)
    result |= {
        "schema": 1,
        "machine": machine.describe(),
        "versions": result.get("versions", {}) | {peer.name: version(peer) for peer in peers},
        "peers": [name for name in _united(result.get("peers", []), [*peers, *ours]) if name not in own_names]
        + own_names,
        "ours": own_names,
    }
    with rig(machine.Cores.divide()) as place:
        _measure(place, peers, ours, options, result)
        if "mail" in options.parts:
            _mail(place, ours, options, result)
        if "data" in options.parts:
            result.setdefault("data", {}).update(data.data(ours, place.cores.proxy, report.say))
    outlook = ""
    login_us = result["medians"].get("login", {}).get(ours[0].name)
    if result["growth"] and login_us:
        outlook = growth.outlook(result["growth"], ours[0].name, login_us)
    text = report.whole(result, outlook)
    report.show(text)
    report.write_json(options.json, result)
    if options.plot:
        plot.draw(result, options.json.with_suffix(".svg"), report.say)
    if options.write_readme:
        report.write_readme(_HERE / "README.md", text)
    return int("work" in options.parts and login_us is None)


def _measure(
    place: Rig, peers: list[Peer], ours: list[Peer], options: argparse.Namespace, result: dict[str, Any]
) -> None:
    size = QUICK if options.quick else FULL
    if options.repeats:
        size = replace(size, repeats=options.repeats, memory_repeats=options.repeats)
    table = Table(rig=place, peers=[*peers, *ours], size=size, say=report.say, notes=result.get("notes", []))
    for key, values in result.get("samples", {}).items():
        table.samples[key].update(values)
    if "work" in options.parts:
        table.work()
    if "memory" in options.parts:
        table.memory()
    result["samples"], result["notes"] = table.samples, table.notes
    result["medians"] = report.medians(table.samples)
    result["ratios"] = report.ratios(result["medians"], result["ours"])
    known = [*(peer for peer in peers if peer.can_refuse), ours[0]]
    grown, flooded = result.setdefault("growth", {}), result.setdefault("flood", {})
    if "growth" in options.parts and not options.quick:
        grown.setdefault("curves", {}).update(growth.curves(place, known, report.say))
    if "workers" in options.parts and not options.quick:
        grown.update(growth.processes(place, ours[0], report.say))
    if "flood" in options.parts and not options.quick:
        flooded.update(flood.flood(place, known, report.say))


def _mail(place: Rig, ours: list[Peer], options: argparse.Namespace, result: dict[str, Any]) -> None:
    peers = [peer for peer in mail.PEERS_OF_MAIL if _is_wanted(peer, options) and _is_there(peer)]
    result["versions"] |= {peer.name: version(peer) for peer in peers}
    found = mail.Result(say=report.say, **result.get("mail", {}))
    size = mail.QUICK if options.quick else mail.FULL
    if options.repeats:
        size = replace(size, repeats=options.repeats)
    # The event loop makes no difference to what is asked one command at a time, and has no column.
    mail.mail(place, [*peers, *(peer for peer in ours if peer.loop == "auto")], size, found)
    result["mail"] = {"peers": found.peers, "samples": found.samples, "notes": found.notes}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="in two minutes: fewer peers, fewer repeats")
    parser.add_argument("--python", action="append", help="interpreter to run tlsproxy with; may be repeated")
    parser.add_argument("--peers", default="", help="only those whose names hold one of these words, by commas")
    parser.add_argument("--parts", default=",".join(_PARTS), help="of the run, by commas: all without this")
    parser.add_argument("--repeats", type=int, help="rounds of each part")
    parser.add_argument("--add", action="store_true", help="to what is in the JSON file, as if it were one run")
    parser.add_argument("--plot", action="store_true", help="draw the results beside the JSON file; needs matplotlib")
    parser.add_argument("--write-readme", action="store_true", help="put the tables into bench/README.md")
    parser.add_argument("--json", type=Path, default=_LATEST, help="where the results go")
    options = parser.parse_args()
    options.parts = [part for part in options.parts.split(",") if part]
    if not set(options.parts) <= set(_PARTS):
        parser.error(f"--parts are {', '.join(_PARTS)}")
    options.python = options.python or [sys.executable]
    return options


def _united(names: list[str], peers: list[Peer]) -> list[str]:
    """The columns of an earlier run, and those that are new."""
    return list(dict.fromkeys([*names, *(peer.name for peer in peers)]))


def _ours(options: argparse.Namespace) -> list[Peer]:
    columns = [tlsproxy(python) for python in options.python]
    if not options.quick:
        columns.append(tlsproxy(options.python[0], "uvloop"))
    return columns


def _is_wanted(peer: Peer, options: argparse.Namespace) -> bool:
    words = [word.lower() for word in options.peers.split(",")]
    return (peer.is_quick or not options.quick) and any(word in peer.name.lower() for word in words)


def _is_there(peer: Peer) -> bool:
    if version(peer):
        return True
    report.say(f"{peer.name} is not installed and left out; bench/packages names its package")
    return False


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        report.say(str(error))
        sys.exit(1)
