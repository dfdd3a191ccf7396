"""The proxy as the demo starts it."""

import socket
import tomllib
from pathlib import Path

import pytest

from tlsproxy.config.model import Config
from tlsproxy.core.events import Event
from tlsproxy.demo.certificates import make_certificates
from tlsproxy.demo.proxy import LogLine, ProxyProcess, ProxyStartError, choose_ports, configuration


def test_ports_that_are_taken_are_passed_over() -> None:
    first = choose_ports()
    with socket.create_server(("127.0.0.1", first.imap)):
        second = choose_ports()
    assert second.imap != first.imap
    assert len({second.imaps, second.imap, second.pop3s, second.pop3}) == 4
    free = choose_ports(is_preferring=False)
    assert free.imaps != 1993
    assert len({free.imaps, free.imap, free.pop3s, free.pop3}) == 4


def test_the_configuration_is_what_the_model_wants(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    text = configuration(choose_ports(), files, backend_imap=4001, backend_pop3=4002, cap=4)
    config = Config.model_validate(tomllib.loads(text))
    assert [listener.name for listener in config.listener] == ["imaps", "imap", "pop3s", "pop3"]
    assert config.limits.per_address == 4


def test_what_the_proxy_says_when_it_does_not_start_is_told(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[nonsense]\n")
    with pytest.raises(ProxyStartError, match="nonsense"), ProxyProcess(file):
        pass


def test_lines_for_people() -> None:
    line = LogLine("{...}", {"ts": "2026-05-01T12:00:00.000Z", "level": "info", "event": Event.SERVER_STARTED, "n": 1})
    assert line.for_people(is_coloured=False) == "12:00:00.000 info    server.started       n=1"
    assert LogLine("Traceback", {}).for_people(is_coloured=True) == "Traceback"
