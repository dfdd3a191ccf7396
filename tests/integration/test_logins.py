"""Every way to log in that an old server has works through the proxy and is named in the log, good or bad."""

import base64
import hmac
import imaplib
import poplib
from collections.abc import Callable

import pytest
from integration.realmail import scram
from integration.realmail.backend import Account
from integration.realmail.clients import IMAP_WAYS, POP3_WAYS, Wire, imap, pop3
from integration.realmail.site import Site, Watch

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("mailbox")]

Login = Callable[[Wire, Account], None]


def _b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


def _answer(client: Wire, data: bytes) -> bytes:
    """Send a line of a SASL exchange; returns what follows the server's ``+``."""
    client.send(data + b"\r\n")
    line = client.line()
    assert line.startswith(b"+"), line
    return line[1:].strip()


def _imap_login(client: Wire, account: Account) -> None:
    assert client.say(b'a LOGIN "%s" "%s"' % (account.user.encode(), account.password.encode())).startswith(b"a OK")


def _imap_login_literals(client: Wire, account: Account) -> None:
    _answer(client, b"a LOGIN {%d}" % len(account.user))
    _answer(client, b"%s {%d}" % (account.user.encode(), len(account.password)))
    client.send(account.password.encode() + b"\r\n")
    assert client.until(b"a").startswith(b"a OK")


def _imap_login_literals_plus(client: Wire, account: Account) -> None:
    user, password = account.user.encode(), account.password.encode()
    client.send(b"a LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n" % (len(user), user, len(password), password))
    assert client.until(b"a").startswith(b"a OK")


def _imap_plain(client: Wire, account: Account) -> None:
    _answer(client, b"a AUTHENTICATE PLAIN")
    client.send(_b64(f"\0{account.user}\0{account.password}") + b"\r\n")
    assert client.until(b"a").startswith(b"a OK")


def _imap_plain_initial(client: Wire, account: Account) -> None:
    secret = _b64(f"\0{account.user}\0{account.password}")
    assert client.say(b"a AUTHENTICATE PLAIN " + secret).startswith(b"a OK")


def _imap_sasl_login(client: Wire, account: Account) -> None:
    _answer(client, b"a AUTHENTICATE LOGIN")
    _answer(client, _b64(account.user))
    client.send(_b64(account.password) + b"\r\n")
    assert client.until(b"a").startswith(b"a OK")


def _cram_md5(client: Wire, command: bytes, account: Account) -> None:
    challenge = base64.b64decode(_answer(client, command))
    proof = hmac.new(account.password.encode(), challenge, "md5").hexdigest()
    client.send(_b64(f"{account.user} {proof}") + b"\r\n")


def _imap_cram_md5(client: Wire, account: Account) -> None:
    _cram_md5(client, b"a AUTHENTICATE CRAM-MD5", account)
    assert client.until(b"a").startswith(b"a OK")


def _imap_scram(client: Wire, account: Account) -> None:
    _answer(client, b"a AUTHENTICATE SCRAM-SHA-256")
    scram.login(account.user, account.password, lambda data: base64.b64decode(_answer(client, data)))
    client.send(b"\r\n")
    assert client.until(b"a").startswith(b"a OK")


@pytest.mark.parametrize(
    ("login", "mechanism"),
    [
        (_imap_login, "LOGIN"),
        (_imap_login_literals, "LOGIN"),
        (_imap_login_literals_plus, "LOGIN"),
        (_imap_plain, "PLAIN"),
        (_imap_plain_initial, "PLAIN"),
        (_imap_sasl_login, "LOGIN"),
        (_imap_cram_md5, "CRAM-MD5"),
        (_imap_scram, "SCRAM-SHA-256"),
    ],
)
def test_imap_mechanisms(site: Site, watch: Watch, account: Account, login: Login, mechanism: str) -> None:
    with Wire(site, "imaps") as client:
        assert client.line().startswith(b"* OK")
        login(client, account)
        assert client.say(b"z LOGOUT").startswith(b"z OK")
        assert client.rest() == b""
    (line,) = watch.closed()
    (success,) = watch.events("login.succeeded", 1)
    for each in (line, success):
        assert (each["user"], each["mechanism"]) == (account.user, mechanism)
    assert success["session"] == line["session"]
    assert (line["login"], line["login_attempts"], line["phase"]) == ("ok", 1, "relay")


def _user(client: Wire, account: Account) -> None:
    _answer(client, b"USER " + account.user.encode())
    _answer(client, b"PASS " + account.password.encode())


def _pop3_plain(client: Wire, account: Account) -> None:
    _answer(client, b"AUTH PLAIN")
    _answer(client, _b64(f"\0{account.user}\0{account.password}"))


def _pop3_plain_initial(client: Wire, account: Account) -> None:
    _answer(client, b"AUTH PLAIN " + _b64(f"\0{account.user}\0{account.password}"))


def _pop3_login(client: Wire, account: Account) -> None:
    _answer(client, b"AUTH LOGIN")
    _answer(client, _b64(account.user))
    _answer(client, _b64(account.password))


def _pop3_cram_md5(client: Wire, account: Account) -> None:
    _cram_md5(client, b"AUTH CRAM-MD5", account)
    assert client.line().startswith(b"+OK")


def _pop3_scram(client: Wire, account: Account) -> None:
    _answer(client, b"AUTH SCRAM-SHA-256")
    scram.login(account.user, account.password, lambda data: base64.b64decode(_answer(client, data)))
    _answer(client, b"")


@pytest.mark.parametrize(
    ("login", "mechanism"),
    [
        (_user, "PASS"),
        (_pop3_plain, "PLAIN"),
        (_pop3_plain_initial, "PLAIN"),
        (_pop3_login, "LOGIN"),
        (_pop3_cram_md5, "CRAM-MD5"),
        (_pop3_scram, "SCRAM-SHA-256"),
    ],
)
def test_pop3_mechanisms(site: Site, watch: Watch, account: Account, login: Login, mechanism: str) -> None:
    with Wire(site, "pop3s") as client:
        assert client.line().startswith(b"+OK")
        login(client, account)
        client.send(b"STAT\r\n")
        assert client.line() == b"+OK 0 0"
        client.send(b"QUIT\r\n")
        assert client.line().startswith(b"+OK")
        assert client.rest() == b""
    (line,) = watch.closed()
    assert (line["user"], line["mechanism"], line["login"]) == (account.user, mechanism, "ok")
    assert (line["login_attempts"], line["phase"]) == (1, "relay")


def test_apop_needs_the_servers_own_timestamp(site: Site, watch: Watch, account: Account) -> None:
    with pop3(site, "pop3s") as client:
        client.apop(account.user, account.password)
        assert client.stat() == (0, 0)
    (line,) = watch.closed()
    assert (line["user"], line["mechanism"], line["login"]) == (account.user, "APOP", "ok")


@pytest.mark.parametrize("way", IMAP_WAYS)
def test_imap_wrong_password_is_told_and_logged_at_once(site: Site, watch: Watch, account: Account, way: str) -> None:
    with imap(site, way) as client:
        with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\]"):
            client.login(account.user, site.wrong_password(account))
        (failure,) = watch.events("login.failed", 1)
        client.login(account.user, account.password)
    (line,) = watch.closed()
    assert (failure["user"], failure["mechanism"], failure["session"]) == (account.user, "LOGIN", line["session"])
    assert (line["login"], line["login_attempts"], line["user"]) == ("ok", 2, account.user)


@pytest.mark.parametrize("way", POP3_WAYS)
def test_pop3_wrong_password_is_told_and_logged_at_once(site: Site, watch: Watch, account: Account, way: str) -> None:
    with pop3(site, way) as client:
        client.user(account.user)
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            client.pass_(site.wrong_password(account))
        (failure,) = watch.events("login.failed", 1)
        client.quit()
    (line,) = watch.closed()
    assert (failure["user"], failure["mechanism"], failure["session"]) == (account.user, "PASS", line["session"])
    assert (line["login"], line["login_attempts"], line["reason"]) == ("failed", 1, "logged_out")


def test_three_wrong_passwords_end_the_session(site: Site, watch: Watch, account: Account) -> None:
    with Wire(site, "imaps") as client:
        client.line()
        for tag in (b"a", b"b", b"c"):
            said = client.say(b"%s LOGIN %s %s" % (tag, account.user.encode(), site.wrong_password(account).encode()))
            assert said.startswith(tag + b" NO [AUTHENTICATIONFAILED]")
        assert b"* BYE" in client.rest()
    (line,) = watch.closed()
    watch.events("login.failed", 3)
    assert (line["login"], line["login_attempts"], line["reason"]) == ("failed", 3, "login_failures")


def test_capabilities_are_the_servers_own_less_what_the_proxy_took_over(site: Site, watch: Watch) -> None:
    hidden = {"STARTTLS", "LOGINDISABLED", "LOGIN-REFERRALS", "MAILBOX-REFERRALS", "AUTH=EXTERNAL"}
    account = site.account()
    direct = imaplib.IMAP4("127.0.0.1", site.backend.imap_port)
    before = set(direct.capabilities) - hidden
    direct.login(account.user, account.password)
    after = set(direct.capability()[1][0].decode().split()) - hidden
    direct.logout()
    with imap(site, "imaps") as client:
        assert set(client.capabilities) == before
        client.login(account.user, account.password)
    with Wire(site, "imaps") as wire:
        assert not hidden & set(wire.line().strip(b"[]").decode().split())
        answer = wire.say(b"a LOGIN %s %s" % (account.user.encode(), account.password.encode()))
        told = answer[answer.index(b"[CAPABILITY") : answer.index(b"]")].decode().split()[1:]
        assert set(told) == after
        wire.say(b"b LOGOUT")
    watch.closed(2)
