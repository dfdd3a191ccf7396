"""SMTP of the real program with two workers: who judges passwords, and what a reload changes."""

import base64
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from rig.crewed import BOTH, Crewed, Starter
from rig.kinds import Closing
from rig.oldsmtp import OldSmtp
from rig.peers import Peer, dial
from rig.pki import Pki

from tlsproxy.demo.mailserver import Account, HostedMailServer, Mailbox
from tlsproxy.senders.passwords.book import password_line

MORE: Final = """
[[listener]]
protocol = "smtp"
role = "mx"
bind = "127.0.0.1:0"
[[listener]]
protocol = "smtp"
role = "submission"
bind = "127.0.0.1:0"
backend = "users"
[smtp]
hostname = "mx.example.org"
[smtp.mx]
local_domains = ["example.org"]
[smtp.submission]
{judge}
[dns]
servers = ["127.0.0.1:9"]
[backend.smtp]
address = "{address}"
[backend.users]
address = "{address}"
"""


@pytest.fixture
def old_smtp(closing: Closing) -> OldSmtp:
    found: OldSmtp = closing(OldSmtp(is_open=True))
    return found


def say(client: Peer, line: bytes) -> bytes:
    """Say a line; the last line of its answer."""
    client.send(line + b"\r\n")
    while (answer := client.line())[3:4] == b"-":
        pass
    return answer[:9]


LogIn = Callable[[Crewed, bytes], tuple[Peer, bytes]]


@pytest.fixture
def log_in(closing: Closing, rig_pki: Pki) -> LogIn:
    """A user on the submission port, and what is said of the password."""

    def try_it(program: Crewed, password: bytes) -> tuple[Peer, bytes]:
        client: Peer = closing(dial(program.ports["submissions"]))
        client.secure(rig_pki.client_context())
        assert client.line().startswith(b"220 ")
        say(client, b"EHLO client.example")
        return client, say(client, b"AUTH PLAIN " + base64.b64encode(b"\0anna\0" + password))

    return try_it


@pytest.mark.parametrize("judge", ["imap", "pop3"])
def test_the_old_mailbox_server_judges(
    crew: Starter, closing: Closing, log_in: LogIn, old_smtp: OldSmtp, judge: str
) -> None:
    mailboxes: HostedMailServer = closing(HostedMailServer(Account(b"anna", b"s3cret"), Mailbox([])))
    ports = {"imap": mailboxes.server.imap_port, "pop3": mailboxes.server.pop3_port}
    keys = f'auth = "{judge}"\nauth_backend = "mailboxes"\n'
    where = f'[backend.mailboxes]\naddress = "127.0.0.1:{ports[judge]}"\n'
    program = crew(MORE.format(judge=keys, address=old_smtp.address) + where)
    _, answer = log_in(program, b"wrong")
    assert answer == b"535 5.7.8"
    client, answer = log_in(program, b"s3cret")
    assert answer == b"235 2.7.0"
    assert say(client, b"MAIL FROM:<anna@example.org>").startswith(b"250 ")
    assert say(client, b"RCPT TO:<you@elsewhere.example>").startswith(b"250 ")
    logins = [login for record in mailboxes.server.journal.records() for login in record.logins]
    assert logins == [("anna", False), ("anna", True)]
    (failed,) = program.wait("login.failed")
    assert (failed["user"], failed["protocol"], failed["credential"]) == ("anna", "smtp", True)


@BOTH
def test_a_reload_reads_domains_and_passwords_again(
    crew: Starter, closing: Closing, log_in: LogIn, old_smtp: OldSmtp, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_bytes(password_line(b"anna", b"first") + b"\n")
    keys = f'auth = "file"\npassword_file = "{passwords}"\ncache = "0s"\n'
    program = crew(MORE.format(judge=keys, address=old_smtp.address))

    def stranger() -> Peer:
        client: Peer = closing(dial(program.ports["smtp"]))
        client.line()
        say(client, b"EHLO client.example")
        say(client, b"MAIL FROM:<joe@b.example>")
        return client

    before = stranger()
    assert say(before, b"RCPT TO:<anna@example.net>") == b"550 5.7.1"
    assert log_in(program, b"first")[1] == b"235 2.7.0"

    passwords.write_bytes(b"anna:nonsense\n")
    program.signal(signal.SIGHUP)
    (rejected,) = program.wait("config.rejected")
    assert "smtp.submission.password_file" in rejected["mistakes"][0]
    assert "line 1" in rejected["mistakes"][0]
    assert "nonsense" not in rejected["mistakes"][0]
    assert log_in(program, b"first")[1] == b"235 2.7.0", "all of the old stays"

    passwords.write_bytes(password_line(b"anna", b"second") + b"\n")
    text = program.config_file.read_text()
    program.config_file.write_text(text.replace('["example.org"]', '["example.org", "example.net"]'))
    program.signal(signal.SIGHUP)
    program.wait("config.loaded", 2)
    for _ in range(4):  # whichever worker it is
        assert say(stranger(), b"RCPT TO:<anna@example.net>").startswith(b"250 ")
    assert log_in(program, b"second")[1] == b"235 2.7.0"
    assert log_in(program, b"first")[1] == b"535 5.7.8"
    assert say(before, b"RCPT TO:<anna@example.net>") == b"550 5.7.1", "who is here stays under what it came under"
