"""Medians, ratios and the table, from made-up samples."""

import json
from pathlib import Path

import pytest

from bench.report import (
    best_peer,
    data_table,
    grid,
    medians,
    number,
    ratios,
    read_json,
    table,
    whole,
    write_json,
    write_readme,
)
from bench.runs import FIGURES, Figure

OURS = ["tlsproxy"]
VALUES = {
    "login": {"HAProxy": 600.0, "hitch": 500.0, "tlsproxy": 550.0},
    "refused": {"HAProxy": 20.0, "nginx": 10.0, "tlsproxy": 30.0},
}


def test_one_bad_round_does_not_move_a_median() -> None:
    assert medians({"login": {"hitch": [500.0, 9000.0, 501.0]}}) == {"login": {"hitch": 501.0}}


def test_a_ratio_is_taken_to_the_best_of_the_others() -> None:
    assert ratios(VALUES, OURS)["login"] == {"tlsproxy": 1.1}


def test_we_are_never_our_own_measure() -> None:
    assert best_peer(FIGURES[0], {"tlsproxy": 1.0, "hitch": 2.0}, OURS) == "hitch"


def test_a_named_peer_is_the_measure_although_another_is_better() -> None:
    assert ratios(VALUES, OURS)["refused"] == {"tlsproxy": 1.5}


def test_without_the_named_peer_there_is_no_ratio() -> None:
    figure = Figure(key="refused", title="", unit="", against="HAProxy")
    assert not best_peer(figure, {"nginx": 10.0, "tlsproxy": 1.0}, OURS)


def test_the_table_marks_the_best_and_leaves_out_what_was_not_measured() -> None:
    lines = table(VALUES, ["HAProxy", "hitch", "tlsproxy"], OURS).splitlines()
    assert len(lines) == 4
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "handshake and login, µs CPU",
        "600",
        "**500**",
        "550",
        "1.10",
        "1.35",
        "1.10",
    ]
    assert "| - |" in " ".join(lines[3].split())


def test_a_missed_must_is_marked() -> None:
    assert "1.50 !" in table(VALUES, ["HAProxy", "tlsproxy"], OURS)


def test_content_has_a_line_for_each_kind_of_mail() -> None:
    lines = data_table({"3.11": {"text": 500.0, "dots": 80.5}, "3.12": {"text": 600.0}}).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])] == [
        ["MB a second of CPU", "3.11", "3.12"],
        ["text", "500", "600"],
        ["dots", "80.5", "-"],
    ]


def test_a_grid_is_even() -> None:
    assert len({len(line) for line in grid(["a", "b"], [["long", "1"], ["x", "20000"]]).splitlines()}) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.5, "0.50"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_numbers_have_about_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_only_what_is_between_the_marks_is_written_anew(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    begin, end = "<!-- results: written by `python -m bench --write-readme` -->", "<!-- end of results -->"
    readme.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    write_readme(readme, "new")
    assert readme.read_text() == f"before\n{begin}\n\nnew\n\n{end}\nafter\n"


def test_a_readme_without_marks_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("mine")
    with pytest.raises(ValueError, match="lacks the marks"):
        write_readme(readme, "new")
    assert readme.read_text() == "mine"


def test_the_repository_has_the_marks(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text((Path(__file__).parents[2] / "bench" / "README.md").read_text())
    write_readme(copy, "new")


def test_results_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "results" / "latest.json"
    assert read_json(path) == {}
    write_json(path, VALUES)
    assert read_json(path) == VALUES == json.loads(path.read_text())


def test_the_whole_has_the_peers_in_the_order_of_the_run() -> None:
    point = {"sessions": 100, "round_trip_us": 20.0, "session_kib": 16.0}
    of_flood = dict.fromkeys(("quiet_p99_us", "flood_p99_us", "refused_us", "refusals_per_s", "more_kib"), 1.0)
    facts = dict.fromkeys(("processor", "cores", "memory", "system", "kernel", "openssl"), "x")
    result = {
        "machine": facts,
        "versions": {"HAProxy": "2.6", "hitch": "1.7"},
        "peers": ["hitch", "HAProxy", "tlsproxy"],
        "ours": OURS,
        "medians": VALUES,
        "notes": ["nginx: does not listen"],
        "growth": {"curves": {"tlsproxy": [point], "HAProxy": [point]}, "door": {"refusals_per_s": 1, "refused_us": 2}},
        "flood": {"tlsproxy": of_flood, "HAProxy": of_flood},
    }
    text = whole(result, "The outlook.")
    assert "hitch 1.7, HAProxy 2.6." in text
    assert "| sessions | HAProxy, µs | HAProxy, KiB | tlsproxy, µs |" in text
    assert text.index("### Growth") < text.index("The outlook.") < text.index("### Flood")
    assert "* nginx: does not listen" in text
