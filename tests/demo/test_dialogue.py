"""The demo's mail client, against the old server in clear and against peers that misbehave."""

import io
import socket
import ssl
from collections.abc import Iterator

import pytest

from tlsproxy.demo.dialogue import Dialogue, StepError
from tlsproxy.demo.letters import letters
from tlsproxy.demo.mailserver import Account, HostedMailServer, Mailbox
from tlsproxy.demo.screen import Screen

PASSWORD = "wonderful-password"


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def hosted() -> Iterator[HostedMailServer]:
    with HostedMailServer(Account(b"demo", PASSWORD.encode()), Mailbox(letters())) as hosted:
        yield hosted


def dialogue(port: int, out: io.StringIO, *, is_tls: bool = False) -> Dialogue:
    return Dialogue(Screen(out), port, ssl.create_default_context(), is_tls=is_tls)


def test_the_password_is_shown_as_dots(hosted: HostedMailServer, out: io.StringIO) -> None:
    with dialogue(hosted.server.imap_port, out) as client:
        client.expect("* OK")
        client.say(f"a LOGIN demo {PASSWORD}", secret=PASSWORD)
        client.expect("a OK")
    assert "C: a LOGIN demo •••" in out.getvalue()
    assert PASSWORD not in out.getvalue()


def test_lines_inside_a_literal_do_not_end_an_answer(hosted: HostedMailServer, out: io.StringIO) -> None:
    with dialogue(hosted.server.imap_port, out) as client:
        client.expect("* OK")
        client.say(f"To: LOGIN demo {PASSWORD}", "To: EXAMINE INBOX", "To: UID FETCH 5 RFC822")
        for _ in range(2):
            client.read_until("To: OK")
        lines = client.read_until("To: ")
    assert lines[-1] == "To: OK FETCH completed"
    assert len(lines) > 400
    assert "more lines" in out.getvalue()


def test_pop3_mail_ends_with_a_lone_dot(hosted: HostedMailServer, out: io.StringIO) -> None:
    with dialogue(hosted.server.pop3_port, out) as client:
        client.expect("+OK")
        client.say("USER demo", f"PASS {PASSWORD}", "RETR 3")
        for _ in range(3):
            client.expect("+OK")
        assert ".." in client.read_to_dot()
        client.say("QUIT")
        client.expect("+OK")
        client.expect_end()


def test_a_bare_line_feed_is_sent_and_shown_escaped(hosted: HostedMailServer, out: io.StringIO) -> None:
    with dialogue(hosted.server.smtp_port, out) as client:
        client.expect("220")
        client.say("NOOP\nNOOP")
        for _ in range(2):
            client.expect("250")
    assert "C: NOOP\\nNOOP\n" in out.getvalue()


def test_disappointments(hosted: HostedMailServer, out: io.StringIO) -> None:
    with dialogue(hosted.server.imap_port, out) as client:
        with pytest.raises(StepError, match="expected a line that begins with BYE"):
            client.expect("BYE")
        client.say("a NOOP")
        with pytest.raises(StepError, match="but more was said"):
            client.expect_end()
    with pytest.raises(StepError, match="handshake failed"):
        dialogue(hosted.server.imap_port, out, is_tls=True)
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
        with dialogue(port, out) as client:
            closing.accept()[0].close()
            with pytest.raises(StepError, match="ended in place of an answer"):
                client.read_until("a OK")
    with pytest.raises(StepError, match="cannot connect"):
        dialogue(port, out)


def test_an_answer_without_end_is_given_up(out: io.StringIO) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        dialogue(server.getsockname()[1], out) as client,
        server.accept()[0] as peer,
    ):
        peer.sendall(b"* \x1b[2J\r\n" * 2001)
        assert client.expect("* ") == "* \\x1b[2J"
        with pytest.raises(StepError, match="has no end"):
            client.read_until("a OK")
