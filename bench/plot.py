"""The results as a picture: ratios to the best peer, and what grows with the number of sessions."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from bench.report import best_peer
from bench.runs import FIGURES, Say

_INCHES: Final = (11, 13)
_BAR: Final = 0.8  # of the place of one line, for all its bars
_CUT: Final = 4.0  # bars that are longer say nothing more


def draw(result: Mapping[str, Any], path: Path, say: Say) -> None:
    """Write the picture, or say why not.

    Args:
        result: The whole report.
        path: Where to; its ending is the format.
        say: Tells a person.
    """
    try:
        matplotlib: Any = import_module("matplotlib")  # Any: it is optional, and has no types
        matplotlib.use("svg" if path.suffix == ".svg" else "agg")
        # The same results give the same file.
        matplotlib.rcParams["svg.hashsalt"] = "bench"
        matplotlib.rcParams["svg.fonttype"] = "none"  # text instead of drawn letters: a tenth of the size
        pyplot: Any = import_module("matplotlib.pyplot")  # Any: same
    except ImportError:
        say("matplotlib is not installed, so there is no plot: pip install matplotlib")
        return
    picture, axes = pyplot.subplot_mosaic(
        [["ratios", "ratios"], ["cpu", "memory"]], figsize=_INCHES, height_ratios=[3, 1]
    )
    _draw_ratios(axes["ratios"], result)
    curves = result.get("growth", {}).get("curves", {})
    _draw_curve(axes["cpu"], curves, "round_trip_us", "CPU of a round trip, µs")
    _draw_curve(axes["memory"], curves, "session_kib", "memory of an idle session, KiB")
    picture.tight_layout()
    picture.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(picture)


def _draw_ratios(axes: Any, result: Mapping[str, Any]) -> None:  # noqa: ANN401 - matplotlib has no types
    names, values = result["peers"], result["medians"]
    figures = [figure for figure in FIGURES if best_peer(figure, values.get(figure.key, {}), result["ours"])]
    width = _BAR / len(names)
    for place, name in enumerate(names):
        heights = []
        for figure in figures:
            of_peers = values[figure.key]
            best = of_peers[best_peer(figure, of_peers, result["ours"])]
            heights.append(min(_CUT, of_peers.get(name, 0) / best))
        rows = [row - _BAR / 2 + (place + 0.5) * width for row in range(len(figures))]
        is_ours = name in result["ours"]
        axes.barh(
            rows, heights, width, label=name, alpha=1.0 if is_ours else 0.45, edgecolor="black" if is_ours else "none"
        )
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(range(len(figures)), [figure.title for figure in figures])
    axes.invert_yaxis()
    axes.set_xlabel("times the best peer of the same run; less is better")
    axes.legend(fontsize="small")


def _draw_curve(axes: Any, curves: Mapping[str, Any], key: str, title: str) -> None:  # noqa: ANN401 - same
    for name, points in sorted(curves.items()):
        axes.plot([point["sessions"] for point in points], [point[key] for point in points], marker="o", label=name)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("sessions")
    axes.set_title(title, fontsize="medium")
    if curves:
        axes.legend(fontsize="small")
