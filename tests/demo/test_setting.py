"""Where the demo's proxy listens and what it is told."""

import socket
import tomllib
from dataclasses import astuple
from pathlib import Path

from tlsproxy.config.model import Config
from tlsproxy.demo.certificates import make_certificates
from tlsproxy.demo.mailserver import Account, Mailbox, MailServer
from tlsproxy.demo.setting import choose_ports, configuration


def test_ports_that_are_taken_are_passed_over() -> None:
    first = choose_ports()
    with socket.create_server(("127.0.0.1", first.imap)):
        second = choose_ports()
    assert second.imap != first.imap
    assert len(set(astuple(second))) == 7
    free = choose_ports(is_preferring=False)
    assert free.imaps != 1993
    assert len(set(astuple(free))) == 7


def test_the_configuration_is_what_the_model_wants(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    old = MailServer(Account(b"demo", b"x"), Mailbox())
    old.imap_port, old.pop3_port, old.smtp_port = 4001, 4002, 4003
    text = configuration(choose_ports(), files, old, cap=4)
    config = Config.model_validate(tomllib.loads(text))
    assert [listener.name for listener in config.listener] == [
        "imaps",
        "imap",
        "pop3s",
        "pop3",
        "submissions",
        "submission",
        "smtp",
    ]
    assert [str(backend.address) for backend in config.backend.values()] == [
        "127.0.0.1:4001",
        "127.0.0.1:4002",
        "127.0.0.1:4003",
    ]
    assert config.limits.per_address == 4
