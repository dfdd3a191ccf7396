"""The screen, on a terminal and elsewhere."""

import io

import pytest

from tlsproxy.demo.screen import Screen


def shown(encoding: str = "utf-8") -> tuple[Screen, io.BytesIO]:
    raw = io.BytesIO()
    return Screen(io.TextIOWrapper(raw, encoding=encoding, write_through=True)), raw


def everything(screen: Screen) -> None:
    screen.title("Title")
    screen.say("Sentence.")
    screen.block("one\ntwo")
    screen.client("a1 LOGIN demo " + screen.dots)
    screen.server("x" * 500)
    screen.server_block([f"line {n}" for n in range(20)])
    screen.event("TLS")
    screen.log("\x1b[32minfo\x1b[0m event ↓1B")
    screen.verdict("good", is_good=True)
    screen.verdict("bad [/red]", is_good=False)


def test_elsewhere_it_is_plain_and_lines_stay_whole() -> None:
    screen, raw = shown()
    everything(screen)
    lines = raw.getvalue().decode().splitlines()
    assert "\x1b" not in raw.getvalue().decode()
    assert "    S: " + "x" * 500 in lines
    assert "    C: a1 LOGIN demo •••" in lines
    assert "    S: line 3\n       … 12 more lines\n    S: line 16\n" in raw.getvalue().decode()
    assert "    log info event ↓1B" in lines
    assert "  ✓ good" in lines
    assert "  ✗ bad [/red]" in lines
    assert not screen.is_coloured


def test_nine_lines_are_shown_whole_and_a_quiet_screen_shows_nothing() -> None:
    screen, raw = shown()
    screen.server_block([str(n) for n in range(9)])
    assert raw.getvalue().decode() == "".join(f"    S: {n}\n" for n in range(9))
    raw = io.BytesIO()
    quiet = Screen(io.TextIOWrapper(raw, encoding="utf-8", write_through=True), is_quiet=True)
    everything(quiet)
    assert raw.getvalue() == b""


def test_an_old_terminal_gets_what_it_can_show() -> None:
    screen, raw = shown("ascii")
    everything(screen)
    lines = raw.getvalue().decode("ascii").splitlines()
    assert "    C: a1 LOGIN demo ***" in lines
    assert "    log info event ?1B" in lines
    assert "  FAILED bad [/red]" in lines


def test_on_a_terminal_it_is_coloured_and_long_lines_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen, raw = shown()
    screen.server("x" * 500)
    assert screen.is_coloured
    assert "\x1b[" in raw.getvalue().decode()
    assert raw.getvalue().decode().count("x") == 32
