"""The proxy as the demo starts it."""

from pathlib import Path

import pytest

from tlsproxy.core.events import Event
from tlsproxy.demo.proxy import LogLine, ProxyProcess, ProxyStartError


def test_what_the_proxy_says_when_it_does_not_start_is_told(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[nonsense]\n")
    with pytest.raises(ProxyStartError, match="nonsense"), ProxyProcess(file):
        pass


def test_lines_for_people() -> None:
    line = LogLine("{...}", {"ts": "2026-05-01T12:00:00.000Z", "level": "info", "event": Event.SERVER_STARTED, "n": 1})
    assert line.for_people(is_coloured=False) == "12:00:00.000 info    server.started       n=1"
    assert LogLine("Traceback", {}).for_people(is_coloured=True) == "Traceback"
