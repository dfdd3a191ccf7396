"""Mail through the proxy is the old server's mail, byte for byte, in both directions; extensions keep working."""

import imaplib
import poplib
from collections.abc import Iterator

import pytest
from integration.realmail.backend import Account, deliver, direct_imap
from integration.realmail.clients import IMAP_WAYS, POP3_WAYS, Wire, imap, pop3
from integration.realmail.messages import big, varied
from integration.realmail.site import Site, Watch

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("mailbox")]

_IDLE_DEADLINE_S = 2.0


def _fetch_all(client: imaplib.IMAP4) -> list[bytes]:
    status, answer = client.fetch("1:*", "(BODY.PEEK[])")
    assert status == "OK"
    return [part[1] for part in answer if isinstance(part, tuple)]


def _retrieve_all(client: poplib.POP3) -> Iterator[bytes]:
    count, _ = client.stat()
    for number in range(1, count + 1):
        _, lines, _ = client.retr(number)
        yield b"\r\n".join(lines) + b"\r\n"


def _assert_same(found: list[bytes], expected: list[bytes]) -> None:
    """A plain comparison would print 20 MB."""
    assert len(found) == len(expected)
    assert [number for number, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]] == []


@pytest.mark.parametrize("way", IMAP_WAYS)
def test_a_mailbox_read_by_imap_is_what_the_server_has(site: Site, watch: Watch, way: str) -> None:
    account = site.full_account()
    with direct_imap(site.backend, account) as client:
        held = _fetch_all(client)
    with imap(site, way) as client:
        client.login(account.user, account.password)
        client.select(readonly=True)
        fetched = _fetch_all(client)
    _assert_same(fetched, held)
    _assert_same(fetched, [*varied(), big()])
    (line,) = watch.closed()
    assert (line["listener"], line["protocol"], line["user"]) == (way, "imap", account.user)
    assert (line["login"], line["login_attempts"], line["mechanism"]) == ("ok", 1, "LOGIN")
    assert (line["phase"], line["tls_version"], line["backend"]) == ("relay", "TLSv1.3", "imap")
    assert line["bytes_to_client"] >= sum(map(len, fetched))


@pytest.mark.parametrize("way", POP3_WAYS)
def test_a_mailbox_read_by_pop3_is_what_the_server_has(site: Site, watch: Watch, way: str) -> None:
    account = site.full_account()
    with pop3(site, way) as client:
        client.user(account.user)
        client.pass_(account.password)
        retrieved = list(_retrieve_all(client))
    _assert_same(retrieved, [*varied(), big()])
    (line,) = watch.closed()
    assert (line["listener"], line["protocol"], line["user"]) == (way, "pop3", account.user)
    assert (line["login"], line["login_attempts"], line["mechanism"]) == ("ok", 1, "PASS")
    assert (line["phase"], line["tls_version"], line["backend"]) == ("relay", "TLSv1.3", "pop3")


@pytest.mark.parametrize("is_synchronizing", [True, False], ids=["literal", "literal+"])
def test_twenty_megabytes_are_appended_whole(
    site: Site, watch: Watch, account: Account, *, is_synchronizing: bool
) -> None:
    message = big()
    with Wire(site, "imaps") as client:
        client.line()
        client.say(b"a LOGIN %s %s" % (account.user.encode(), account.password.encode()))
        client.send(b"b APPEND INBOX {%d%s}\r\n" % (len(message), b"" if is_synchronizing else b"+"))
        if is_synchronizing:
            assert client.line().startswith(b"+")
        client.send(message + b"\r\n")
        assert client.until(b"b").startswith(b"b OK")
        assert client.say(b"c LOGOUT").startswith(b"c OK")
    with direct_imap(site.backend, account) as direct:
        _assert_same(_fetch_all(direct), [message])
    (line,) = watch.closed()
    assert line["bytes_from_client"] > len(message)


def test_idle_shows_a_delivered_mail_at_once(site: Site, watch: Watch, account: Account) -> None:
    with Wire(site, "imap") as client:
        client.line()
        assert client.say(b"s STARTTLS").startswith(b"s OK")
        client.wrap()
        client.say(b"a LOGIN %s %s" % (account.user.encode(), account.password.encode()))
        client.say(b"b SELECT INBOX")
        client.send(b"c IDLE\r\n")
        assert client.line().startswith(b"+")
        deliver(site.backend, account, varied()[:1])
        client.timeout(_IDLE_DEADLINE_S)
        # What else a server tells at such a moment, as RECENT or a sign of life, is its own affair.
        while client.line() != b"* 1 EXISTS":
            pass
        client.send(b"DONE\r\n")
        assert client.until(b"c").startswith(b"c OK")
        client.say(b"d LOGOUT")
    watch.closed()


def test_compress_works_between_client_and_server(site: Site, watch: Watch, account: Account) -> None:
    messages = varied()[:20]
    deliver(site.backend, account, messages)
    with Wire(site, "imaps") as client:
        client.line()
        client.say(b"a LOGIN %s %s" % (account.user.encode(), account.password.encode()))
        assert client.say(b"b COMPRESS DEFLATE").startswith(b"b OK")
        client.compress()
        assert client.say(b"c SELECT INBOX").startswith(b"c OK")
        client.send(b"d FETCH 1:* BODY.PEEK[]\r\n")
        fetched = []
        while not (line := client.line()).startswith(b"d "):
            if line.endswith(b"}"):
                fetched.append(client.take(int(line[line.rindex(b"{") + 1 : -1])))
        _assert_same(fetched, messages)
        client.say(b"e LOGOUT")
    (line,) = watch.closed()
    assert line["bytes_to_client"] < sum(map(len, messages))
