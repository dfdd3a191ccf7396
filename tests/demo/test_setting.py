"""Where the demo's proxy listens and what it is told."""

import socket
import tomllib
from dataclasses import astuple
from pathlib import Path

from tlsproxy.config.model import Config
from tlsproxy.demo.certificates import make_certificates
from tlsproxy.demo.setting import choose_ports, configuration


def test_ports_that_are_taken_are_passed_over() -> None:
    first = choose_ports()
    with socket.create_server(("127.0.0.1", first.imap)):
        second = choose_ports()
    assert second.imap != first.imap
    assert len(set(astuple(second))) == 4
    free = choose_ports(is_preferring=False)
    assert free.imaps != 1993
    assert len(set(astuple(free))) == 4


def test_the_configuration_is_what_the_model_wants(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    text = configuration(choose_ports(), files, backend_imap=4001, backend_pop3=4002, cap=4)
    config = Config.model_validate(tomllib.loads(text))
    assert [listener.name for listener in config.listener] == ["imaps", "imap", "pop3s", "pop3"]
    assert config.limits.per_address == 4
