"""The old server on real sockets, with clients nobody here wrote."""

import imaplib
import os
import poplib
import shutil
import smtplib
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tlsproxy.demo.letters import letters
from tlsproxy.demo.mailserver import Account, HostedMailServer, Mailbox

PASSWORD = "demo-password"
PATIENCE_S = 10.0


@pytest.fixture
def hosted() -> Iterator[HostedMailServer]:
    with HostedMailServer(Account(b"demo", PASSWORD.encode()), Mailbox(letters())) as hosted:
        yield hosted


def is_ended(client: socket.socket) -> bool:
    """Whether the other side closes, after whatever it said before."""
    try:
        while client.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


def test_imaplib(hosted: HostedMailServer) -> None:
    with imaplib.IMAP4("127.0.0.1", hosted.server.imap_port, timeout=PATIENCE_S) as client:
        assert "IDLE" in client.capabilities
        with pytest.raises(imaplib.IMAP4.error, match="Login failed"):
            client.login("demo", "wrong")
        assert client.authenticate("PLAIN", lambda _: b"\0demo\0" + PASSWORD.encode())[0] == "OK"
        assert client.list() == ("OK", [b'() "/" INBOX'])
        assert client.select() == ("OK", [b"5"])
        for number, letter in enumerate(letters(), start=1):
            fetched = client.fetch(str(number), "(RFC822)")[1][0]
            assert isinstance(fetched, tuple)
            assert fetched[1] == letter
        assert client.append("INBOX", r"(\Flagged)", "", letters()[0])[0] == "OK"
        assert client.uid("SEARCH", "FLAGGED") == ("OK", [b"6"])
        assert client.store("6", "+FLAGS", r"\Deleted")[0] == "OK"
        assert client.expunge() == ("OK", [b"6"])
    (record,) = hosted.server.journal.records()
    assert record.logins == [("demo", False), ("demo", True)]
    assert record.commands[-1] == "LOGOUT"


def test_poplib(hosted: HostedMailServer) -> None:
    client = poplib.POP3("127.0.0.1", hosted.server.pop3_port, timeout=PATIENCE_S)
    assert set(client.capa()) == {"USER", "TOP", "UIDL"}
    client.user("demo")
    client.pass_(PASSWORD)
    for number, letter in enumerate(letters(), start=1):
        assert b"\r\n".join(client.retr(number)[1]) + b"\r\n" == letter
    client.dele(1)
    client.quit()
    assert hosted.server.journal.records()[0].commands[-2:] == ["DELE", "QUIT"]


def test_smtplib_and_the_mailbox_that_it_comes_to(hosted: HostedMailServer) -> None:
    with smtplib.SMTP("127.0.0.1", hosted.server.smtp_port, timeout=PATIENCE_S) as client:
        client.sendmail("anna@old.example", ["bert@elsewhere.example"], letters()[2])
    reader = poplib.POP3("127.0.0.1", hosted.server.pop3_port, timeout=PATIENCE_S)
    reader.user("demo")
    reader.pass_(PASSWORD)
    assert (b"\r\n".join(reader.retr(6)[1]) + b"\r\n").endswith(letters()[2])
    reader.quit()


@pytest.mark.real
@pytest.mark.parametrize("number", [1, 4])
def test_curl(hosted: HostedMailServer, number: int) -> None:
    curl = shutil.which("curl")
    if not curl and not os.environ.get("CI"):
        pytest.skip("curl is not installed")
    command = [curl or "curl", "-sS", "--max-time", "10", "-u", f"demo:{PASSWORD}"]
    for url in (
        f"imap://127.0.0.1:{hosted.server.imap_port}/INBOX;UID={number}",
        f"pop3://127.0.0.1:{hosted.server.pop3_port}/{number}",
    ):
        assert subprocess.run([*command, url], capture_output=True, check=True).stdout == letters()[number - 1]


def test_idle_hears_of_a_mail_in_another_connection(hosted: HostedMailServer) -> None:
    with socket.create_connection(("127.0.0.1", hosted.server.imap_port), PATIENCE_S) as idler:
        lines = idler.makefile("rb")
        idler.sendall(f"a LOGIN demo {PASSWORD}\r\nb SELECT INBOX\r\nc IDLE\r\n".encode())
        while lines.readline() != b"+ idling\r\n":
            pass
        with imaplib.IMAP4("127.0.0.1", hosted.server.imap_port, timeout=PATIENCE_S) as other:
            other.login("demo", PASSWORD)
            other.append("INBOX", "", "", letters()[0])
        assert lines.readline() == b"* 6 EXISTS\r\n"
        lines.close()


def test_a_client_that_does_not_read_is_not_read(hosted: HostedMailServer) -> None:
    """Its answers would be a hundred times the mailbox; the server must take them back to a few hundred KiB."""
    with socket.create_connection(("127.0.0.1", hosted.server.imap_port), PATIENCE_S) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(f"a LOGIN demo {PASSWORD}\r\nb SELECT INBOX\r\n".encode())
        said = b"f FETCH 1:* (BODY[])\r\n" * 1_000_000
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.sendall(said)
        record = hosted.server.journal.records()[0]
        assert record.bytes_heard < len(said)
        # Others are served meanwhile.
        other = poplib.POP3("127.0.0.1", hosted.server.pop3_port, timeout=PATIENCE_S)
        other.quit()


def test_answers_wait_for_a_client_that_does_not_read() -> None:
    """A hundred answers of a megabyte are asked for; what the kernel does not take must not be made yet."""
    with (
        HostedMailServer(Account(b"demo", PASSWORD.encode()), Mailbox([bytes(1_000_000)])) as hosted,
        socket.create_connection(("127.0.0.1", hosted.server.imap_port), PATIENCE_S) as client,
    ):
        client.sendall(f"a LOGIN demo {PASSWORD}\r\nb EXAMINE INBOX\r\n".encode() + b"f FETCH 1 BODY[]\r\n" * 100)
        lines = client.makefile("rb")
        while not lines.readline().startswith(b"* 1 FETCH"):
            pass
        other = poplib.POP3("127.0.0.1", hosted.server.pop3_port, timeout=PATIENCE_S)
        other.quit()
        assert hosted.server.journal.records()[0].commands.count("FETCH") < 50
        # Once it reads, it gets all of them.
        answered = 0
        while answered < 100:
            answered += lines.readline().startswith(b"f OK")
        lines.close()


def test_too_many_connections_are_dropped(hosted: HostedMailServer) -> None:
    with ExitStack() as clients:
        for _ in range(256):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", hosted.server.pop3_port), PATIENCE_S))
            assert client.recv(3) == b"+OK"
        extra = clients.enter_context(socket.create_connection(("127.0.0.1", hosted.server.pop3_port), PATIENCE_S))
        assert is_ended(extra)


def test_leaving_drops_clients_and_the_thread() -> None:
    with HostedMailServer(Account(b"demo", b"x"), Mailbox()) as hosted:
        client = socket.create_connection(("127.0.0.1", hosted.server.imap_port), PATIENCE_S)
        assert client.recv(4) == b"* OK"
    with client:
        assert is_ended(client)
    assert not [thread for thread in threading.enumerate() if thread.name == "old mail server"]
