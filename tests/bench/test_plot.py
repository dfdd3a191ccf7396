"""The picture."""

import sys
from pathlib import Path

import pytest

from bench.plot import draw

RESULT = {
    "peers": ["hitch", "tlsproxy"],
    "ours": ["tlsproxy"],
    "medians": {"login": {"hitch": 500.0, "tlsproxy": 550.0}},
    "growth": {"curves": {"tlsproxy": [{"sessions": 100, "round_trip_us": 20.0, "session_kib": 16.0}]}},
}


def test_without_matplotlib_there_is_a_word_and_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said: list[str] = []
    draw(RESULT, tmp_path / "plot.svg", said.append)
    assert said == ["matplotlib is not installed, so there is no plot: pip install matplotlib"]
    assert list(tmp_path.iterdir()) == []


def test_the_same_results_give_the_same_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("one.svg", "two.svg"):
        draw(RESULT, tmp_path / name, pytest.fail)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
