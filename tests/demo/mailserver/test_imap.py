"""The IMAP conversation by itself, without sockets."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.demo.letters import letters
from tlsproxy.demo.mailserver.imap.conversation import ImapConversation
from tlsproxy.demo.mailserver.journal import Record
from tlsproxy.demo.mailserver.mailbox import Account, Mailbox

ACCOUNT = Account(b"demo", b'pass "word')
LOGIN = b'a LOGIN demo "pass \\"word"\r\n'
PLAIN = base64.b64encode(b"\0demo\0" + ACCOUNT.password)


class Client:
    """Says bytes and hears what comes back."""

    def __init__(self, *raws: bytes, mailbox: Mailbox | None = None) -> None:
        self.mailbox = mailbox or Mailbox(raws or letters())
        self.record = Record(protocol="imap", client_port=1)
        self.server = ImapConversation(ACCOUNT, self.mailbox, self.record)

    def say(self, data: bytes) -> bytes:
        self.server.feed(data)
        return self.hear()

    def hear(self) -> bytes:
        heard = b""
        while (answer := self.server.answer()) is not None:
            heard += answer
        return heard

    def logged_in(self) -> "Client":
        assert self.say(LOGIN) == b"a OK Logged in\r\n"
        return self

    def selected(self) -> "Client":
        assert b"a OK [READ-WRITE]" in self.logged_in().say(b"a SELECT inbox\r\n")
        return self


def test_greets_with_and_without_its_list() -> None:
    assert Client().server.greeting().startswith(b"* OK [CAPABILITY IMAP4rev1 ID IDLE AUTH=PLAIN SASL-IR]")
    bare = ImapConversation(ACCOUNT, Mailbox(), Record(protocol="imap", client_port=1), greets_with_list=False)
    assert bare.greeting() == b"* OK ready\r\n"


@pytest.mark.parametrize(
    "login",
    [
        LOGIN,
        b'a LOGIN "demo" {10}\r\npass "word\r\n',
        b'a login {4+}\r\ndemo {10+}\r\npass "word\r\n',
        b"a AUTHENTICATE PLAIN " + PLAIN + b"\r\n",
        b"a authenticate plain\r\n" + PLAIN + b"\r\n",
        LOGIN.replace(b"\r", b""),
    ],
)
@pytest.mark.parametrize("is_split", [False, True])
def test_login_in_every_form_and_any_split(login: bytes, *, is_split: bool) -> None:
    client = Client()
    pieces = [login[i : i + 1] for i in range(len(login))] if is_split else [login]
    heard = b"".join(client.say(piece) for piece in pieces)
    assert heard.endswith(b"a OK Logged in\r\n")
    assert client.record.logins == [("demo", True)]


@pytest.mark.parametrize(
    ("login", "answer"),
    [
        (b"a LOGIN demo wrong\r\n", b"a NO Login failed\r\n"),
        (b"a LOGIN demo\r\n", b"a BAD"),
        (b"a LOGIN (demo) x\r\n", b"a BAD"),
        (b"a AUTHENTICATE PLAIN AGEAYg==\r\n", b"a NO Login failed\r\n"),
        (b"a AUTHENTICATE PLAIN ====\r\n", b"a BAD"),
        (b"a AUTHENTICATE PLAIN YQ==\r\n", b"a BAD"),
        (b"a AUTHENTICATE PLAIN\r\n*\r\n", b"+ \r\na BAD"),
        (b"a AUTHENTICATE CRAM-MD5\r\n", b"a NO"),
        (b"a SELECT INBOX\r\n", b"a BAD"),
        (b"a LOGIN {99999}\r\n", b"a NO [TOOBIG]"),
        (b"a LOGIN {99999+}\r\n", b"* BYE"),
        (b"a LOGIN {4}\r\ndemo {16380}\r\n", b"+ go ahead\r\na NO [TOOBIG]"),
        (b"nonsense\r\n", b"* BAD"),
        (b"\r\n", b"* BAD"),
        (b'a LOGIN "demo\r\n', b"a BAD"),
        (b"a LOGIN demo ((x\r\n", b"a BAD"),
        (b"a LOGIN demo x)\r\n", b"a BAD"),
        (b"x" * 8192, b"* BYE"),
    ],
)
def test_what_is_no_login(login: bytes, answer: bytes) -> None:
    client = Client()
    assert client.say(login).startswith(answer)
    assert ("demo", True) not in client.record.logins


def test_a_password_is_kept_nowhere() -> None:
    client = Client()
    client.say(b"a LOGIN demo s3cret-guess\r\n" + LOGIN)
    kept = repr([client.record, vars(client.server), ACCOUNT])
    assert "s3cret" not in kept
    assert "word" not in kept


def test_ten_bad_commands_end_it() -> None:
    client = Client()
    heard = client.say(b"a NONSENSE\r\n" * 20)
    assert heard.count(b"a BAD") == 10
    assert heard.endswith(b"* BYE Too many bad commands\r\n")
    assert client.server.is_over


def test_many_empty_literals_are_bounded() -> None:
    heard = Client().say(b"a LOGIN " + b"{0+}\r\n" * 5000)
    assert heard == b"* BYE Literal too long\r\n"


def test_fetch_gives_the_same_bytes() -> None:
    client = Client().selected()
    for number, letter in enumerate(letters(), start=1):
        heard = client.say(b"f FETCH %d BODY.PEEK[]\r\n" % number)
        assert heard == b"* %d FETCH (BODY[] {%d}\r\n%s)\r\nf OK FETCH completed\r\n" % (number, len(letter), letter)


def test_fetching_a_body_marks_it_seen_unless_peeked_or_examined() -> None:
    client = Client().selected()
    client.say(b"f FETCH 1 BODY.PEEK[]\r\n")
    assert client.mailbox.messages[0].flags == set()
    assert rb"FLAGS (\Seen)" in client.say(b"f FETCH 1 BODY[TEXT]\r\n")
    assert rb"FLAGS" not in client.say(b"f FETCH 1 RFC822\r\n")
    client.say(b"f EXAMINE INBOX\r\n")
    client.say(b"f FETCH 2 RFC822\r\n")
    assert client.mailbox.messages[1].flags == set()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"FETCH 1:2 UID", b"* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\n"),
        (b"UID FETCH 5:* FLAGS", b"* 5 FETCH (UID 5 FLAGS ())\r\n"),
        (b"UID FETCH 99 FLAGS", b"x OK"),
        (b"FETCH 1 FAST", b"* 1 FETCH (FLAGS () INTERNALDATE"),
        (b"FETCH 9 UID", b"x BAD"),
        (b"FETCH 0 UID", b"x BAD"),
        (b"FETCH 1:2:3 UID", b"x BAD"),
        (b"FETCH 1" + b",1" * 600 + b" UID", b"x BAD"),
        (b"FETCH 1 (UID NONSENSE)", b"x BAD"),
        (b"FETCH 1 BODY[NONSENSE]", b"x BAD"),
        (b"FETCH 1 ()", b"x BAD"),
        (b"FETCH 1", b"x BAD"),
        (b"FETCH 1 (" + b" ".join(b"BODY[]<0.%d>" % n for n in range(1, 18)) + b")", b"x BAD"),
        (b"UID NONSENSE 1", b"x BAD"),
        (b"SEARCH SUBJECT welcome", b"* SEARCH 1\r\n"),
        (b"SEARCH CHARSET UTF-8 2:3 NOT UID 3 UNSEEN", b"* SEARCH 2\r\n"),
        (b"SEARCH FLAGGED", b"* SEARCH\r\n"),
        (b"SEARCH NOT NOT ALL", b"x BAD"),
        (b"SEARCH NONSENSE", b"x BAD"),
        (b"SEARCH SUBJECT", b"x BAD"),
        (b"SEARCH", b"x BAD"),
        (b"SEARCH (ALL)", b"x BAD"),
        (b"SEARCH" + b" ALL" * 21, b"x BAD"),
        (b"FETCH 1 {28}\r\nBODY[HEADER.FIELDS (a\r\nb c)]", b"+ go ahead\r\nx BAD"),
        (b"APPEND", b"x BAD"),
        (b"CLOSE", b"x OK"),
        (rb"STORE 1 +FLAGS (\Seen $Junk)", b"* 1 FETCH (FLAGS ($Junk \\Seen))\r\n"),
        (rb"UID STORE 1 FLAGS \Seen", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n"),
        (rb"STORE 1 -FLAGS.SILENT (\Seen)", b"x OK"),
        (rb"STORE 1 FLAGS (\Nonsense)", b"x BAD"),
        (rb"STORE 1 NONSENSE (\Seen)", b"x BAD"),
        (b"STORE 1", b"x BAD"),
        (b'LIST "" "*"', b'* LIST () "/" INBOX\r\n'),
        (b'LIST "" "in%"', b'* LIST () "/" INBOX\r\n'),
        (b'LSUB "" "other"', b"x OK"),
        (b'LIST "" ""', b'* LIST (\\Noselect) "/" ""\r\n'),
        (b'LIST "" ' + b"*" * 500, b"x BAD"),
        (b"LIST a", b"x BAD"),
        (b"STATUS INBOX (MESSAGES UIDNEXT UNSEEN)", b"* STATUS INBOX (MESSAGES 5 UIDNEXT 6 UNSEEN 5)\r\n"),
        (b"STATUS other (MESSAGES)", b"x NO"),
        (b"STATUS INBOX (NONSENSE)", b"x BAD"),
        (b"STATUS INBOX", b"x BAD"),
        (b"SELECT other", b"x NO"),
        (b"CREATE other", b"x NO"),
        (b"SUBSCRIBE INBOX", b"x OK"),
        (b"SUBSCRIBE other", b"x NO"),
        (b"CHECK", b"x OK"),
        (b"ID NIL", b'* ID ("name" "old server")\r\n'),
        (b"LOGIN demo x", b"x BAD"),
        (b"UNSELECT", b"x OK"),
    ],
)
def test_commands(command: bytes, answer: bytes) -> None:
    heard = Client().selected().say(b"x " + command + b"\r\n")
    assert heard.startswith(answer)
    assert heard.count(b"\r\nx ") + heard.startswith(b"x ") == 1


@pytest.mark.parametrize(
    "command", [b"FETCH 1 UID", b"STORE 1 FLAGS ()", b"SEARCH ALL", b"EXPUNGE", b"UID FETCH 1 UID"]
)
def test_nothing_is_open_before_select(command: bytes) -> None:
    assert Client().logged_in().say(b"x " + command + b"\r\n").startswith(b"x BAD No mailbox is open")


def test_examine_changes_nothing() -> None:
    client = Client().logged_in()
    assert b"x OK [READ-ONLY]" in client.say(b"x EXAMINE INBOX\r\n")
    assert client.say(b"x STORE 1 FLAGS (\\Deleted)\r\n").startswith(b"x NO")
    assert client.say(b"x EXPUNGE\r\n").startswith(b"x NO")
    client.mailbox.messages[0].flags.add(rb"\Deleted")
    client.say(b"x CLOSE\r\n")
    assert len(client.mailbox.messages) == 5


def test_append_and_expunge_are_told_to_both_sessions() -> None:
    one = Client().selected()
    two = Client(mailbox=one.mailbox).selected()
    heard = one.say(b'x APPEND INBOX (\\Flagged) " 1-Apr-2003 10:00:00 +0200" {9}\r\nA: b\r\n\r\nc\r\n')
    assert heard == b"+ go ahead\r\n* 6 EXISTS\r\nx OK [APPENDUID 1 6] APPEND completed\r\n"
    assert b'INTERNALDATE "01-Apr-2003 10:00:00 +0200"' in one.say(b"x FETCH 6 (INTERNALDATE FLAGS)\r\n")
    assert two.say(b"x NOOP\r\n") == b"* 6 EXISTS\r\nx OK NOOP completed\r\n"
    one.say(b"x STORE 2,4 +FLAGS.SILENT (\\Deleted)\r\n")
    assert one.say(b"x UID EXPUNGE 2\r\n") == b"* 2 EXPUNGE\r\nx OK EXPUNGE completed\r\n"
    assert one.say(b"x EXPUNGE\r\n") == b"* 3 EXPUNGE\r\nx OK EXPUNGE completed\r\n"
    # Numbers must not move under a FETCH.
    assert b"EXPUNGE" not in two.say(b"x FETCH 1 FLAGS\r\n")
    assert two.say(b"x NOOP\r\n") == b"* 4 EXPUNGE\r\n* 2 EXPUNGE\r\nx OK NOOP completed\r\n"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"APPEND other {1}\r\nx", b"+ go ahead\r\nx NO [TRYCREATE]"),
        (b"APPEND INBOX", b"x BAD"),
        (b"APPEND INBOX (\\Nonsense) {1}\r\nx", b"+ go ahead\r\nx BAD"),
        (b'APPEND INBOX "no date" {1}\r\nx', b"+ go ahead\r\nx OK"),
        (b"APPEND INBOX {200000}", b"x NO [TOOBIG]"),
    ],
)
def test_append_refuses(command: bytes, answer: bytes) -> None:
    client = Client(mailbox=Mailbox(letters(), limit_bytes=100_000)).logged_in()
    assert client.say(b"x " + command + b"\r\n").startswith(answer)


def test_append_to_a_full_mailbox() -> None:
    client = Client(mailbox=Mailbox(limit_bytes=10)).logged_in()
    assert client.say(b"x APPEND INBOX {11}\r\nhello hello\r\n").endswith(b"x NO [OVERQUOTA] The mailbox is full\r\n")


def test_idle_tells_at_once_and_ends_with_done() -> None:
    client = Client().selected()
    assert client.say(b"x IDLE\r\n") == b"+ idling\r\n"
    client.mailbox.add(b"Subject: new\r\n\r\n")
    assert client.hear() == b"* 6 EXISTS\r\n"
    assert client.hear() == b""
    assert client.say(b"done\r\n") == b"x OK IDLE completed\r\n"
    assert client.say(b"x IDLE\r\nx NOOP\r\n").endswith(b"x BAD Expected DONE\r\n")


def test_logout_ends_it_and_nothing_after_counts() -> None:
    client = Client()
    assert client.say(b"a LOGOUT\r\n" + LOGIN) == b"* BYE See you\r\na OK LOGOUT completed\r\n"
    assert client.record.logins == []


_WORDS = [
    b"a", b" ", b"\r\n", b"(", b")", b'"', b"\\", b"{3}", b"{3+}", b"[", b"]", b"BODY", b"BODY.PEEK[HEADER.FIELDS (A)]",
    b"FETCH", b"UID", b"STORE", b"SEARCH", b"1:*", b"LOGIN", b"APPEND INBOX", b"IDLE", b"DONE", b"ENVELOPE", b"FULL",
    b"a FETCH 1:* ", b"a UID SEARCH ", b"a STORE 1 FLAGS ", b"a LIST ", b"a STATUS INBOX ", b"\0", b"\xff", b"NOT",
]  # fmt: skip


@given(words=st.lists(st.sampled_from(_WORDS) | st.binary(max_size=8), max_size=40), is_logged_in=st.booleans())
def test_any_bytes_give_answers_and_any_split_the_same(words: list[bytes], *, is_logged_in: bool) -> None:
    said = b"".join(words) + b"\r\n"
    raws = (b"", b"no header", b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--x--")
    whole, split = (Client(*raws).selected() if is_logged_in else Client(*raws) for _ in range(2))
    heard = whole.say(said)
    assert b"".join(split.say(said[i : i + 1]) for i in range(len(said))) == heard or b"INTERNALDATE" in heard
