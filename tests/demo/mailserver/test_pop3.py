"""The POP3 conversation by itself, without sockets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.demo.letters import letters
from tlsproxy.demo.mailserver.journal import Record
from tlsproxy.demo.mailserver.mailbox import Account, Mailbox
from tlsproxy.demo.mailserver.pop3 import Pop3Conversation

ACCOUNT = Account(b"demo", b"pass word")
LOGIN = b"USER demo\r\nPASS pass word\r\n"


class Client:
    """Says bytes and hears what comes back."""

    def __init__(self, mailbox: Mailbox | None = None) -> None:
        self.mailbox = mailbox or Mailbox(letters())
        self.record = Record(protocol="pop3", client_port=1)
        self.server = Pop3Conversation(ACCOUNT, self.mailbox, self.record)

    def say(self, data: bytes) -> bytes:
        self.server.feed(data)
        heard = b""
        while (answer := self.server.answer()) is not None:
            heard += answer
        return heard

    def logged_in(self) -> "Client":
        assert self.say(LOGIN) == b"+OK Password?\r\n+OK 5 messages\r\n"
        return self


def test_login() -> None:
    assert Client().logged_in().record.logins == [("demo", True)]


@pytest.mark.parametrize(
    "said",
    [b"USER demo\r\nPASS wrong", b"USER demo\r\nPASS", b"PASS pass word", b"STAT", b"APOP demo x", b"USER\r\nPASS"],
)
def test_no_login(said: bytes) -> None:
    client = Client()
    assert client.say(said + b"\r\n").splitlines()[-1].startswith(b"-ERR")
    assert client.say(b"STAT\r\n").startswith(b"-ERR")
    assert "wrong" not in repr([client.record, vars(client.server)])


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_retr_gives_the_same_bytes_with_dots_doubled(number: int) -> None:
    heard = Client().logged_in().say(b"RETR %d\r\n" % number)
    status, _, rest = heard.partition(b"\r\n")
    assert status.startswith(b"+OK")
    assert rest.endswith(b"\r\n.\r\n")
    undone = b"".join(line.removeprefix(b".") for line in rest[:-3].splitlines(keepends=True))
    assert undone == letters()[number - 1]
    assert all(line.startswith(b"..") for line in rest[:-3].splitlines() if line.startswith(b"."))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"CAPA", b"+OK List follows\r\nUSER\r\nTOP\r\nUIDL\r\n.\r\n"),
        (b"STAT", b"+OK 5 %d\r\n" % sum(map(len, letters()))),
        (b"LIST 1", b"+OK 1 %d\r\n" % len(letters()[0])),
        (b"UIDL", b"+OK\r\n1 1\r\n2 2\r\n3 3\r\n4 4\r\n5 5\r\n.\r\n"),
        (b"TOP 1 0", b"+OK\r\n" + letters()[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n.\r\n"),
        (b"TOP 1", b"-ERR"),
        (b"TOP 1 x", b"-ERR"),
        (b"RETR 0", b"-ERR"),
        (b"RETR 6", b"-ERR"),
        (b"RETR -1", b"-ERR"),
        (b"RETR 99999999999", b"-ERR"),
        (b"RETR", b"-ERR"),
        (b"LIST x", b"-ERR"),
        (b"DELE x", b"-ERR"),
        (b"NOOP", b"+OK\r\n"),
        (b"USER demo", b"-ERR"),
        (b"", b"-ERR"),
    ],
)
def test_commands(said: bytes, answer: bytes) -> None:
    assert Client().logged_in().say(said + b"\r\n").startswith(answer)


def test_only_quit_deletes() -> None:
    client = Client().logged_in()
    assert client.say(b"DELE 2\r\nRETR 2\r\nDELE 2\r\n").startswith(b"+OK Marked\r\n-ERR No such message\r\n-ERR")
    assert client.say(b"STAT\r\n").startswith(b"+OK 4 ")
    assert client.say(b"RSET\r\nSTAT\r\nDELE 1\r\n").startswith(b"+OK\r\n+OK 5 ")
    assert len(client.mailbox.messages) == 5
    client.say(b"QUIT\r\nSTAT\r\n")
    assert client.server.is_over
    assert [message.uid for message in client.mailbox.messages] == [2, 3, 4, 5]


def test_a_message_without_last_line_end_still_ends() -> None:
    client = Client(Mailbox([b"A: b\r\n\r\nno end", b"", b"", b"", b""])).logged_in()
    assert client.say(b"RETR 1\r\n").endswith(b"no end\r\n.\r\n")
    assert client.say(b"RETR 2\r\n") == b"+OK 0 octets\r\n.\r\n"


def test_bounds() -> None:
    assert Client().say(b"x" * 512) == b"-ERR Line too long\r\n"
    client = Client()
    assert client.say(b"NONSENSE\r\n" * 20).count(b"-ERR") == 10
    assert client.server.is_over


_WORDS = [
    b"USER demo\r\n",
    b"PASS pass word\r\n",
    b"RETR ",
    b"TOP 1 ",
    b"1",
    b"\r\n",
    b"DELE ",
    b"LIST",
    b" ",
    b"QUIT\r\n",
]


@given(st.lists(st.sampled_from(_WORDS) | st.binary(max_size=8), max_size=30).map(b"".join))
def test_any_bytes_give_answers_and_any_split_the_same(said: bytes) -> None:
    whole, split = Client(), Client()
    assert b"".join(split.say(said[i : i + 1]) for i in range(len(said))) == whole.say(said)
