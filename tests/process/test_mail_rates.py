"""Limits on mail of the real program with two workers: exact over both, told to the client, changed by a reload."""

import base64
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from rig.crewed import BOTH, Crewed, Starter
from rig.kinds import Closing
from rig.oldsmtp import OldSmtp
from rig.peers import Peer, dial
from rig.pki import Pki

from tlsproxy.senders.passwords.book import password_line

SOURCES: Final = [f"127.0.0.{number}" for number in range(2, 6)]
EXEMPT: Final = "127.0.9.1"
SMTP: Final = """
allow = ["127.0.9.0/24"]
[[listener]]
protocol = "smtp"
role = "mx"
bind = ["127.0.0.1:0"]
[[listener]]
protocol = "smtp"
role = "submission"
tls = "implicit"
bind = ["127.0.0.1:0"]
backend = "users"
[smtp]
hostname = "mx.example.org"
[smtp.mx]
local_domains = ["example.org"]
[smtp.submission]
auth = "file"
password_file = "{passwords}"
[dns]
servers = ["127.0.0.1:9"]
[backend.smtp]
address = "{address}"
[backend.users]
address = "{address}"
"""
Sender = Callable[..., Crewed]
"""Start the program with keys of [limits]."""


@pytest.fixture
def old_smtp(closing: Closing) -> OldSmtp:
    found: OldSmtp = closing(OldSmtp(is_open=True))
    return found


@pytest.fixture
def sections(tmp_path: Path, old_smtp: OldSmtp) -> Callable[[str], str]:
    """What such a program is configured with, by keys of [limits]."""
    passwords = tmp_path / "passwords"
    passwords.write_bytes(password_line(b"joe", b"word") + b"\n")

    def make(limits: str) -> str:
        more = SMTP.format(passwords=passwords, address=old_smtp.address)
        return f'[limits]\nconnection_rate = "none"\nunauthenticated_per_address = "none"\n{limits}\n{more}'

    return make


@pytest.fixture
def begin(crew: Starter, sections: Callable[[str], str]) -> Sender:
    return lambda limits: crew(sections(limits))


@pytest.fixture
def call(closing: Closing) -> Callable[..., Peer]:
    def open_one(program: Crewed, source: str | None = None) -> Peer:
        client: Peer = closing(dial(program.ports["smtp"], source=source))
        assert client.line().startswith(b"220 ")
        assert say(client, b"EHLO client.example").startswith(b"250")
        return client

    return open_one


def say(client: Peer, line: bytes) -> bytes:
    """Say a line; the last line of its answer."""
    client.send(line + b"\r\n")
    while (answer := client.line())[3:4] == b"-":
        pass
    return answer


def mail(client: Peer) -> bytes:
    """Begin a message and give it up; what was said to its sender."""
    answer = say(client, b"MAIL FROM:<joe@b.example>")
    assert say(client, b"RSET").startswith(b"250 ")
    return answer


def recipient(client: Peer) -> bytes:
    return say(client, b"RCPT TO:<ann@example.org>")


def all_at_once(clients: Sequence[Peer], count: int, act: Callable[[Peer], bytes]) -> list[bytes]:
    """Every client acts so many times, all in parallel; what each was answered."""
    said: list[bytes] = []

    def come(client: Peer) -> None:
        said.extend([act(client) for _ in range(count)])

    threads = [threading.Thread(target=come, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


@BOTH
def test_exact_over_both_workers(begin: Sender, call: Callable[..., Peer], old_smtp: OldSmtp) -> None:
    program = begin('message_rate = "20/1h"\nrecipient_rate = "30/1h"')
    clients = {source: [call(program, source) for _ in range(6)] for source in SOURCES}
    everybody = [client for mine in clients.values() for client in mine]
    assert len(set(program.workers_of(clients[SOURCES[0]]))) == 2, "one client is with both"
    answers = Counter(answer[:9] for answer in all_at_once(everybody, 10, mail))
    assert answers == {b"250 2.1.0": 20 * len(SOURCES), b"450 4.7.2": 40 * len(SOURCES)}
    told = mail(clients[SOURCES[0]][0])
    assert told.startswith(b"450 4.7.28 too much mail from 127.0.0.2, try again later (id ")
    ref = told.rpartition(b" ")[2].strip(b")\r\n").decode()
    refused = next(line for line in program.wait("message.refused", 20) if line["session"] == ref)
    assert (refused["reason"], refused["by"], refused["limit"]) == ("message_rate", "proxy", "20 per 3600 s")
    assert refused["reply"].startswith("450 4.7.28 too much mail from 127.0.0.2")
    for client in everybody:
        client.close()
    closed = program.wait("session.closed", len(everybody))
    assert sum(line["refused"] for line in closed) == 40 * len(SOURCES) + 1, "all of them are counted"
    assert not any(b"@b.example" in line for line in old_smtp.heard), "the old server has heard of nobody"


def test_recipients_are_counted_before_the_old_server_hears_of_them(
    begin: Sender, call: Callable[..., Peer], old_smtp: OldSmtp
) -> None:
    program = begin('recipient_rate = "30/1h"')
    clients = [call(program, SOURCES[0]) for _ in range(6)]
    assert len(set(program.workers_of(clients))) == 2
    for client in clients:
        assert say(client, b"MAIL FROM:<joe@b.example>").startswith(b"250 ")
    answers = Counter(answer[:9] for answer in all_at_once(clients, 10, recipient))
    assert answers == {b"250 2.1.5": 30, b"450 4.7.2": 30}
    assert sum(b"ann@example.org" in line for line in old_smtp.heard) == 30
    refused = program.wait("message.refused", 30)
    assert {(line["reason"], line["limit"], line["recipient"]) for line in refused} == {
        ("recipient_rate", "30 per 3600 s", "ann@example.org")
    }
    assert say(clients[0], b"RCPT TO:<ann@elsewhere.example>").startswith(b"550 5.7.1"), "the desk comes first"


def test_exempt_networks(begin: Sender, call: Callable[..., Peer]) -> None:
    program = begin('message_rate = "2/1h"')
    clients = [call(program, EXEMPT) for _ in range(2)]
    assert {answer[:9] for answer in all_at_once(clients, 10, mail)} == {b"250 2.1.0"}


def test_reload(
    begin: Sender, call: Callable[..., Peer], text: Callable[..., str], sections: Callable[[str], str]
) -> None:
    """Connections that are open are held to the new numbers."""
    program = begin('message_rate = "3/1h"')
    clients = [call(program) for _ in range(4)]

    def accepted() -> int:
        return sum(answer.startswith(b"250") for answer in all_at_once(clients, 5, mail))

    assert accepted() == 3
    for reloads, (limits, count) in enumerate(
        [('message_rate = "7/1h"', 7), ("", 20), ('message_rate = "1/1h"', 1)], 2
    ):
        program.config_file.write_text(text(sections(limits)))
        program.signal(signal.SIGHUP)
        program.wait("config.loaded", reloads)
        newcomers = [call(program) for _ in range(2)]
        assert len(set(program.workers_of(newcomers))) == 2, "whom workers serve after they have heard of the change"
        assert accepted() == count, limits


def test_users_too(begin: Sender, closing: Closing, rig_pki: Pki) -> None:
    program = begin('message_rate = "3/1h"\nrecipient_rate = "2/1h"')
    clients = []
    for _ in range(2):
        client: Any = closing(dial(program.ports["submissions"]))
        client.secure(rig_pki.client_context())
        assert client.line().startswith(b"220 ")
        assert say(client, b"EHLO client.example").startswith(b"250")
        assert say(client, b"AUTH PLAIN " + base64.b64encode(b"\0joe\0word")).startswith(b"235 ")
        clients.append(client)
    assert [mail(client)[:3] for client in clients] == [b"250", b"250"]
    assert say(clients[0], b"MAIL FROM:<joe@b.example>").startswith(b"250")
    assert mail(clients[1]).startswith(b"450 4.7.28 too much mail from 127.0.0.1, ")
    assert [recipient(clients[0])[:3] for _ in range(3)] == [b"250", b"250", b"450"]
    lines = program.wait("message.refused", 2)
    assert [(line["reason"], line["user"]) for line in lines] == [("message_rate", "joe"), ("recipient_rate", "joe")]


def test_supervisor_that_does_not_answer(begin: Sender, call: Callable[..., Peer]) -> None:
    """Mail goes on, and is counted again as soon as somebody can."""
    program = begin('message_rate = "2/1h"')
    client = call(program)
    assert mail(client).startswith(b"250")
    os.kill(program.pid, signal.SIGSTOP)
    try:
        assert mail(client).startswith(b"250")
    finally:
        os.kill(program.pid, signal.SIGCONT)
    assert mail(client).startswith(b"450"), "what was asked meanwhile is counted"
