"""The SMTP conversation by itself, without sockets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.demo.mailserver.journal import Record
from tlsproxy.demo.mailserver.mailbox import Mailbox
from tlsproxy.demo.mailserver.smtp import SmtpConversation

ENVELOPE = b"MAIL FROM:<anna@old.example> BODY=8BITMIME\r\nRCPT TO:<bert@elsewhere.example>\r\nDATA\r\n"
TAKEN = b"250 OK\r\n250 OK\r\n354 Go on, a lone dot ends it\r\n250 Taken\r\n"
HEAD = b"Return-Path: <anna@old.example>\r\nDelivered-To: bert@elsewhere.example\r\n"


class Client:
    """Says bytes and hears what comes back."""

    def __init__(self, mailbox: Mailbox | None = None) -> None:
        self.mailbox = mailbox or Mailbox()
        self.record = Record(protocol="smtp", client_port=1)
        self.server = SmtpConversation(self.mailbox, self.record)

    def say(self, data: bytes) -> bytes:
        self.server.feed(data)
        heard = b""
        while (answer := self.server.answer()) is not None:
            heard += answer
        return heard

    def kept(self) -> list[bytes]:
        return [message.raw for message in self.mailbox.messages]


def test_anybodys_mail_to_anywhere_is_taken() -> None:
    client = Client()
    assert client.say(b"EHLO me\r\n") == b"250-old.example\r\n250 8BITMIME\r\n"
    assert client.say(ENVELOPE + b"Subject: x\r\n\r\nHello\r\n..\r\n...two\r\n.\r\n") == TAKEN
    assert client.kept() == [HEAD + b"Subject: x\r\n\r\nHello\r\n.\r\n..two\r\n"]
    assert client.say(b"QUIT\r\nNOOP\r\n") == b"221 See you\r\n"
    assert client.record.commands == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


@pytest.mark.parametrize("end", [b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r\n.\n"])
def test_every_lone_dot_ends_a_message(end: bytes) -> None:
    client = Client()
    assert client.say(ENVELOPE + b"one" + end + ENVELOPE + b"two" + end) == TAKEN * 2
    assert client.kept() == [HEAD + b"one\r\n", HEAD + b"two\r\n"]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"HELO me", b"250 old.example\r\n"),
        (b"noop", b"250 OK\r\n"),
        (b"MAIL FROM:anna@old.example", b"503"),
        (b"MAIL FROM:<>", b"250 OK\r\n"),
        (b"RCPT TO:<bert@old.example>", b"503"),
        (b"DATA", b"503"),
        (b"AUTH PLAIN AGEAYg==", b"500"),
        (b"", b"500"),
    ],
)
def test_commands(said: bytes, answer: bytes) -> None:
    assert Client().say(said + b"\r\n").startswith(answer)


@pytest.mark.parametrize("again", [b"RSET", b"HELO me", b"EHLO me"])
def test_an_envelope_is_taken_back(again: bytes) -> None:
    client = Client()
    assert client.say(b"MAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n").endswith(b"503 Not so, or not now\r\n")
    client.say(b"RCPT TO:<c@d>\r\n" + again + b"\r\n")
    assert client.say(b"DATA\r\n").startswith(b"503")
    assert client.say(b"MAIL FROM:<a@b>\r\n") == b"250 OK\r\n"


def test_bounds() -> None:
    assert Client().say(b"x" * 1024) == b"500 Line too long\r\n"
    assert Client().say(ENVELOPE + b"x" * 65536).endswith(b"500 Line too long\r\n")
    client = Client()
    assert client.say(b"NONSENSE\r\n" * 20).count(b"500") == 10
    assert client.server.is_over
    many = Client()
    many.say(b"MAIL FROM:<>\r\n")
    assert many.say(b"RCPT TO:<a@b>\r\n" * 101).endswith(b"250 OK\r\n452 Too many recipients\r\n")


def test_a_message_without_room_is_refused_and_not_held() -> None:
    client = Client(Mailbox(limit_bytes=100))
    assert client.say(ENVELOPE + b"x" * 60 + b"\r\n" + b"y" * 60 + b"\r\n.\r\n").endswith(b"552 No room for it\r\n")
    assert client.say(ENVELOPE + b"x" * 90 + b"\r\n.\r\n").endswith(b"552 No room for it\r\n")
    assert client.kept() == []
    assert client.say(ENVELOPE + b"x\r\n.\r\n") == TAKEN


_WORDS = [
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"DATA\r\n",
    b"\r\n.\r\n",
    b"\n.\n",
    b"RSET\r\n",
    b"QUIT\r\n",
    b"..",
    b"\r",
]


@given(st.lists(st.sampled_from(_WORDS) | st.binary(max_size=8), max_size=30).map(b"".join))
def test_any_bytes_give_answers_and_any_split_the_same(said: bytes) -> None:
    whole, split = Client(), Client()
    assert b"".join(split.say(said[i : i + 1]) for i in range(len(said))) == whole.say(said)
    assert split.kept() == whole.kept()
