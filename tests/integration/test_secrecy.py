"""What must not happen: a refused login at the old server, a malformed command there, a password in a log."""

import re
from base64 import b64encode

import pytest
from integration.realmail.backend import Account
from integration.realmail.clients import Wire
from integration.realmail.site import Site, Watch, leaked

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("clients")]

_REFUSED_IMAP = [
    (b'a LOGIN "%(user)s" "%(password)s"\r\n', True),
    (b"a LOGIN %(user)s %(password)s\r\n", True),
    (b"a LOGIN {5+}\r\nsome1 {%(size)d+}\r\n%(password)s\r\n", True),
    (b"a LOGIN {5}\r\n", False),
    (b"a AUTHENTICATE PLAIN %(plain)s\r\n", True),
    (b"a AUTHENTICATE PLAIN\r\n", False),
    (b"a AUTHENTICATE CRAM-MD5\r\n", False),
]
_REFUSED_POP3 = [
    (b"PASS %(password)s\r\n", True),
    (b"AUTH PLAIN %(plain)s\r\n", True),
    (b"USER %(user)s\r\n", False),
    (b"AUTH PLAIN\r\n", False),
    (b"APOP %(user)s c4c9334bac560ecc979e58001b3e22fb\r\n", False),
]


def _filled(template: bytes, account: Account) -> bytes:
    user, password = account.user.encode(), account.password.encode()
    plain = b64encode(b"\0" + user + b"\0" + password)
    return template % {b"user": user, b"password": password, b"size": len(password), b"plain": plain}


@pytest.mark.parametrize(("command", "is_exposed"), _REFUSED_IMAP)
def test_imap_login_before_tls_reaches_nobody(
    site: Site, watch: Watch, account: Account, command: bytes, *, is_exposed: bool
) -> None:
    with Wire(site, "imap") as client:
        assert b"LOGINDISABLED" in client.line()
        client.send(_filled(command, account))
        first = client.line()
        if is_exposed:
            assert first.startswith(b"* BAD [ALERT]")
            first = client.line()
        assert first.startswith(b"a NO [PRIVACYREQUIRED]")
        assert client.say(b"z LOGOUT").startswith(b"z OK")
    _assert_refused(site, watch, account, is_exposed=is_exposed)


@pytest.mark.parametrize(("command", "is_exposed"), _REFUSED_POP3)
def test_pop3_login_before_tls_reaches_nobody(
    site: Site, watch: Watch, account: Account, command: bytes, *, is_exposed: bool
) -> None:
    with Wire(site, "pop3") as client:
        assert client.line().startswith(b"+OK")
        client.send(_filled(command, account))
        assert client.line().startswith(b"-ERR [AUTH]")
        client.send(b"QUIT\r\n")
        assert client.line().startswith(b"+OK")
    _assert_refused(site, watch, account, is_exposed=is_exposed)


def _assert_refused(site: Site, watch: Watch, account: Account, *, is_exposed: bool) -> None:
    (line,) = watch.closed()
    assert (line["phase"], line["reason"], line["login"]) == ("dialogue", "logged_out", "none")
    assert line["source_port"] is None
    assert not watch.tapped()
    exposed = watch.events("password.exposed", 1 if is_exposed else 0)
    assert all(each["session"] == line["session"] and each["client_ip"] == "127.0.0.1" for each in exposed)
    assert not leaked(site.program.output, [account])


def test_what_follows_starttls_in_the_same_packet_reaches_nobody(site: Site, watch: Watch, account: Account) -> None:
    with Wire(site, "imap") as client:
        client.line()
        injected = b"b LOGIN %s %s" % (account.user.encode(), account.password.encode())
        client.send(b"a STARTTLS\r\n" + injected + b"\r\n")
        assert client.line().startswith(b"a BAD [CLIENTBUG]")
        assert client.rest().startswith(b"* BYE")
    (line,) = watch.closed()
    assert line["reason"] == "starttls_injection"
    watch.events("starttls.injection", 1)
    assert not watch.tapped()


_WELL_FORMED = re.compile(
    rb"[!-~]+ (CAPABILITY|NOOP|LOGOUT|ID (NIL|\(.*\))"
    rb"|LOGIN (\S+|\{\d+\+?\})( \S+| \{\d+\+?\})?|AUTHENTICATE \S+( \S+)?)",
    re.IGNORECASE,
)


def test_only_well_formed_commands_reach_the_server_before_login(site: Site, watch: Watch, account: Account) -> None:
    hostile = [
        b"",
        b"a",
        b"a SELECT INBOX",
        b"a LOGIN",
        b"a LOGIN onlyuser",
        b'a LOGIN "open quote',
        b"\0\1\2\xff",
        b"GET / HTTP/1.1",
        b"a \x00NOOP",
        b"a LOGIN {99999999}",
        b"a LOGIN {-1}",
        b"a LOGIN {4294967297+}",
        b"* OK LOGIN",
        b"a STARTTLS",
        b"a NOOP\0",
        b'a ID ("x" "y" z',
        b"a AUTHENTICATE " + b"A" * 9000,
        b"a APPEND INBOX {10}",
        b"a UID FETCH 1 BODY[]",
    ]
    for line in hostile:
        with Wire(site, "imaps") as client:
            client.line()
            client.send(b"1 NOOP\r\n" + line + b"\r\n")
            client.until(b"1")
            assert client.line()
    with Wire(site, "imaps") as client:
        client.line()
        client.say(b"ok LOGIN %s %s" % (account.user.encode(), account.password.encode()))
        client.say(b"ok2 LOGOUT")
    watch.closed(len(hostile) + 1)
    told = [line for tapped in watch.tapped() for line in tapped.lines if not line.startswith(b"ok2")]
    assert [line for line in told if not _WELL_FORMED.fullmatch(line)] == []
    assert told.count(b"1 NOOP") == len(hostile)


def test_pop3_only_well_formed_commands_reach_the_server_before_login(site: Site, watch: Watch) -> None:
    hostile = [
        b"RETR 1",
        b"DELE 1",
        b"PASS",
        b"STLS",
        b"LIST",
        b"XTND",
        b"\0\1",
        b"USER",
        b"APOP x",
        b"STAT",
        b"TOP 1 1",
    ]
    for line in hostile:
        with Wire(site, "pop3s") as client:
            client.line()
            client.send(b"NOOP\r\n" + line + b"\r\n")
            client.line()
            assert client.line().startswith(b"-ERR")
    watch.closed(len(hostile))
    assert {line for tapped in watch.tapped() for line in tapped.lines} <= {b"NOOP"}


def test_no_password_is_in_the_log_at_debug_level(site: Site, watch: Watch, account: Account) -> None:
    """Good and bad logins, in every form, before and after TLS; the search itself is proved to find something."""
    wrong = Account(account.user, site.wrong_password(account))
    sessions = 0
    for command, _ in _REFUSED_IMAP:
        for each in (account, wrong):
            with Wire(site, "imap") as client:
                client.line()
                client.send(_filled(command, each))
                client.line()
            with Wire(site, "imaps") as client:
                client.line()
                client.send(_filled(command, each))
                client.line()
            sessions += 2
    for command, _ in _REFUSED_POP3:
        for each in (account, wrong):
            for way in ("pop3", "pop3s"):
                with Wire(site, way) as client:
                    client.line()
                    client.send(_filled(command, each))
                    client.line()
                sessions += 1
    watch.closed(sessions)
    output = site.program.output
    assert account.user.encode() in output
    assert not leaked(output, [account, wrong])
    assert leaked(output + account.password.encode(), [account]) == [account.user]
    assert leaked(output + _filled(b"%(plain)s", account), [account]) == [account.user]
