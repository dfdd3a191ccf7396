"""What came of it: medians, ratios, the table, the files."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.mail import KINDS
from bench.runs import FIGURES, Figure, Samples

_BEGIN: Final = "<!-- results: written by `python -m bench --write-readme` -->"
_END: Final = "<!-- end of results -->"
_SMALL: Final = 100


def say(text: str) -> None:
    """Tell a person, at once."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the only way out of this program


def show(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201 - same


def medians(samples: Samples) -> dict[str, dict[str, float]]:
    """The median of each figure for each peer."""
    return {key: {peer: median(values) for peer, values in peers.items()} for key, peers in samples.items()}


def best_peer(figure: Figure, values: Mapping[str, float], ours: Sequence[str]) -> str:
    """The name of the peer that a ratio is taken to: the lowest that is not ours; empty if there is none."""
    others = {name: value for name, value in values.items() if name not in ours}
    if figure.against:
        return figure.against if figure.against in others else ""
    return min(others, key=lambda name: others[name], default="")


def ratios(values: Mapping[str, Mapping[str, float]], ours: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each figure, each of our columns divided by the best peer."""
    found = {}
    for figure in FIGURES:
        of_peers = values.get(figure.key, {})
        best = best_peer(figure, of_peers, ours)
        if best:
            found[figure.key] = {name: of_peers[name] / of_peers[best] for name in ours if name in of_peers}
    return found


def table(values: Mapping[str, Mapping[str, float]], peers: Sequence[str], ours: Sequence[str]) -> str:
    """The main table in Markdown: a line for each figure, the best peer in bold, ``!`` where we miss a must."""
    others = [name for name in peers if name not in ours]
    head = ["", *others, *(part for name in ours for part in (name, "ratio")), "must", "aim"]
    lines = []
    found = ratios(values, ours)
    for figure in FIGURES:
        of_peers = values.get(figure.key, {})
        if not of_peers:
            continue
        best = best_peer(figure, of_peers, ours)
        line = [f"{figure.title}, {figure.unit}"]
        line += [f"**{number(of_peers[name])}**" if name == best else number(of_peers.get(name)) for name in others]
        for name in ours:
            ratio = found.get(figure.key, {}).get(name)
            is_over = ratio is not None and figure.must is not None and ratio > figure.must
            line += [number(of_peers.get(name)), f"{number(ratio)} !" if is_over else number(ratio)]
        lines.append([*line, number(figure.must), number(figure.aim)])
    return grid(head, lines)


def growth_table(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """CPU of a round trip and memory of a session, a line for each number of sessions."""
    counts = sorted({point["sessions"] for points in curves.values() for point in points})
    head = ["sessions", *(f"{name}, {unit}" for name in curves for unit in ("µs", "KiB"))]
    lines = []
    for count in counts:
        line = [f"{count:,.0f}"]
        for points in curves.values():
            point = next((point for point in points if point["sessions"] == count), {})
            line += [number(point.get("round_trip_us")), number(point.get("session_kib"))]
        lines.append(line)
    return grid(head, lines)


def flood_table(found: Mapping[str, Mapping[str, float]]) -> str:
    """What others notice of a flood, a line for each peer."""
    head = [
        "",
        "p99 before, µs",
        "p99 during, µs",
        "ratio",
        "CPU of a refusal, µs",
        "refusals a second",
        "more memory, KiB",
    ]
    lines = [
        [
            name,
            number(of["quiet_p99_us"]),
            number(of["flood_p99_us"]),
            number(of["flood_p99_us"] / of["quiet_p99_us"]),
            number(of["refused_us"]),
            number(of["refusals_per_s"]),
            number(of["more_kib"]),
        ]
        for name, of in found.items()
    ]
    return grid(head, lines)


def data_table(found: Mapping[str, Mapping[str, float]]) -> str:
    """How fast the content of SMTP mail is handled, a line for each kind of mail."""
    kinds = dict.fromkeys(kind for speeds in found.values() for kind in speeds)
    lines = [[kind, *(number(speeds.get(kind)) for speeds in found.values())] for kind in kinds]
    return grid(["MB a second of CPU", *found], lines)


def mail_table(found: Mapping[str, Any], ours: Sequence[str]) -> str:
    """What a second of CPU carries of SMTP, a line for each kind of mail; each of ours over the best of the others."""
    columns = [name for name in found["peers"] if name not in ours]
    own = [name for name in ours if name in found["peers"]]
    lines = []
    for kind in KINDS:
        values = {name: median(each) for name, each in found["samples"].get(kind.key, {}).items()}
        if not values:
            continue
        best = max((name for name in columns if name in values), key=lambda name: values[name], default="")
        line = [f"{kind.title}, {kind.unit}"]
        line += [f"**{number(values[name])}**" if name == best else number(values.get(name)) for name in columns]
        for name in own:
            ratio = values[name] / values[best] if best and name in values else None
            line += [number(values.get(name)), number(ratio)]
        lines.append(line)
    return grid(["a second of CPU carries", *columns, *(part for name in own for part in (name, "ratio"))], lines)


def growth_text(found: Mapping[str, Any]) -> str:
    """What the door and a second worker do, in sentences."""
    text = []
    door = found.get("door")
    if door:
        parts = ""
        if "door_us" in door:
            parts = (
                f" Of a handshake with login the door takes {number(door['door_us'])} µs"
                f" and the worker {number(door['worker_us'])} µs."
            )
        text.append(
            f"The door alone refuses {number(door['refusals_per_s'])} connections a second, as fast as the load"
            f" generator can ask; each costs {number(door['refused_us'])} µs of CPU.{parts}"
        )
    workers = found.get("workers")
    if workers:
        one, two = workers["1"], workers["2"]
        text.append(
            f"Two cores that proxy, load and backend share: {number(one['logins_per_s'])} logins a second with one"
            f" worker, {number(two['logins_per_s'])} with two; a login costs {number(one['login_us'])} and"
            f" {number(two['login_us'])} µs of CPU."
        )
    return " ".join(text)


def whole(result: Mapping[str, Any], outlook: str) -> str:
    """All that the README shows of a run."""
    ours = result["ours"]
    facts = result["machine"]
    mail = result.get("mail")
    known = dict.fromkeys([*result["peers"], *(mail["peers"] if mail else ())])
    versions = ", ".join(f"{name} {version}" for name, version in _in_order(result["versions"], list(known)).items())
    place = (
        f"{facts['processor']}, {facts['cores']} cores, {facts['memory']}; {facts['system']}, "
        f"Linux {facts['kernel']}, OpenSSL {facts['openssl']}. {versions}."
    )
    parts = [
        place,
        table(result["medians"], result["peers"], ours) if result["medians"] else "",
    ]
    parts += [f"* {note}" for note in result["notes"]]
    growth = result.get("growth")
    if growth:
        parts += [
            "### Growth",
            growth_table(_in_order(growth.get("curves", {}), result["peers"])),
            growth_text(growth),
            outlook,
        ]
    if result.get("flood"):
        parts += ["### Flood", flood_table(_in_order(result["flood"], result["peers"]))]
    if mail:
        parts += ["### SMTP", mail_table(mail, ours), *(f"* {note}" for note in mail["notes"])]
    if result.get("data"):
        parts += ["### SMTP content", data_table(_in_order(result["data"], result["peers"]))]
    return "\n\n".join(part for part in parts if part)


def _in_order(found: Mapping[str, Any], peers: Sequence[str]) -> dict[str, Any]:
    return {name: found[name] for name in peers if name in found}


def grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are even for the eye as well."""
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join((first, *rest))} |"

    rule = "|".join("-" * (width + 2) if not i else "-" * (width + 1) + ":" for i, width in enumerate(widths))
    return "\n".join((row(head), f"|{rule}|", *map(row, lines)))


def number(value: float | None) -> str:
    """Three digits, or a hyphen for what was not measured."""
    if value is None:
        return "-"
    if value >= _SMALL:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= _SMALL / 10 else f"{value:.2f}"


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """The report for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """An earlier report, or an empty one."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write_readme(path: Path, text: str) -> None:
    """Put the text between the two marks of the README.

    Raises:
        ValueError: The marks are not there.
    """
    before, begin, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path} lacks the marks {_BEGIN} and {_END}")
    path.write_text(f"{before}{_BEGIN}\n\n{text.strip()}\n\n{_END}{after}")
