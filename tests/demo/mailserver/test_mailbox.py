from tlsproxy.demo.letters import letters
from tlsproxy.demo.mailserver import Account, Journal, Mailbox


def test_the_account_knows_its_own() -> None:
    account = Account(b"demo", b"secret")
    assert account.accepts(b"demo", b"secret")
    assert not account.accepts(b"demo", b"secret ")
    assert not account.accepts(b"Demo", b"secret")
    assert "secret" not in repr(account)


def test_uids_are_never_used_again() -> None:
    mailbox = Mailbox([b"a", b"b"])
    mailbox.remove(mailbox.messages[1:])
    added = mailbox.add(b"c")
    assert added is not None
    assert [message.uid for message in mailbox.messages] == [1, 3]


def test_room_is_bounded_in_bytes_and_messages() -> None:
    mailbox = Mailbox([b"12345"], limit_bytes=8)
    assert mailbox.room_bytes == 3
    assert mailbox.add(b"1234") is None
    assert mailbox.add(b"123") is not None
    many = Mailbox([b""] * 1000)
    assert many.room_bytes == 0
    assert many.add(b"") is None


def test_watchers_hear_until_they_leave() -> None:
    mailbox = Mailbox()
    heard: list[int] = []
    mailbox.watch("me", lambda: heard.append(len(mailbox.messages)))
    mailbox.add(b"x")
    mailbox.remove(mailbox.messages)
    mailbox.unwatch("me")
    mailbox.add(b"y")
    assert heard == [1, 0]


def test_the_letters_are_the_same_every_time_and_ready_for_the_wire() -> None:
    assert letters() == letters()
    assert len(letters()) == 5
    for letter in letters():
        assert letter.replace(b"\r\n", b"").isascii()
        assert b"\n" not in letter.replace(b"\r\n", b"")
    assert b"\r\n.\r\n..\r\n...three" in letters()[2]


def test_the_journal_is_bounded() -> None:
    journal = Journal()
    for port in range(5000):
        record = journal.open("imap", port)
    for _ in range(500):
        record.note_command(b"NOOP")
        record.note_login(b"x", is_accepted=False)
    assert len(journal.records()) == 4096
    assert journal.records()[-1].client_port == 4999
    assert len(record.commands) == len(record.logins) == 200
