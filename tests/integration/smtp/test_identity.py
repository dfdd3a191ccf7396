"""The old server learns who the client is, in the way that it understands; where it cannot, nothing goes wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from integration.realmail.backend import Account, new_account
from integration.realsmtp.exim import Exim
from integration.realsmtp.kinds import Addresses, OldServer, SiteMaker, Stand
from integration.realsmtp.letters import Letter, wait_for_letters
from integration.realsmtp.mail import message
from integration.realsmtp.opensmtpd import OpenSmtpd
from integration.realsmtp.postfix import Postfix
from integration.realsmtp.site import HOSTNAME, Route, SmtpSite
from integration.realsmtp.wire import Talk

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("smtp")]

_NAME = "mail.sender.example"
_SENDER = "boss@sender.example"
_BOTH = [(name, f"proxy-{version}") for name in ("postfix", "exim") for version in ("v1", "v2")]
_PROXIED = [*_BOTH, ("opensmtpd", "proxy-v2")]


def _deliver(stand: Stand[OldServer], listener: str, recipient: str, source: str) -> bytes:
    """The answer to the recipient; if that is good, the message is sent."""
    host = "::1" if ":" in source else "127.0.0.1"
    with Talk(stand.site.ports[listener], host, source) as client:
        client.hello(_NAME)
        assert client.say(f"MAIL FROM:<{_SENDER}>").startswith(b"250")
        answer = client.say(f"RCPT TO:<{recipient}>")
        if answer.startswith(b"250"):
            assert client.say("DATA").startswith(b"354")
            client.send(message("identity", b"text\r\n") + b".\r\n")
            assert client.reply().startswith(b"250")
        assert client.say("QUIT").startswith(b"221")
    return answer


def _received(letter: Letter) -> bytes:
    return letter.header("Received")[0]


@pytest.fixture(params=["v4", "v6"])
def source(request: pytest.FixtureRequest, strangers: Addresses) -> str:
    """The client's address."""
    found: str = getattr(strangers, request.param)
    return found


def test_xclient_shows_name_and_address(at_postfix: Stand[Postfix], source: str) -> None:
    shown = f"IPv6:{source}" if ":" in source else source
    recipient = f"xclient.{len(source)}@example.org"
    assert _deliver(at_postfix, "mx", recipient, source).startswith(b"250")
    (letter,) = wait_for_letters(at_postfix.server, recipient)
    assert _received(letter).startswith(f"from {_NAME} ({_NAME} [{shown}]) by postfix.test".encode())
    assert HOSTNAME.encode() not in b"".join(letter.header("Received"))
    (results,) = letter.header("Authentication-Results")
    assert b"iprev=pass" in results
    assert b"spf=pass" in results


@pytest.mark.parametrize(("name", "listener"), _PROXIED)
def test_proxy_shows_the_address(request: pytest.FixtureRequest, name: str, listener: str, source: str) -> None:
    stand: Stand[OldServer] = request.getfixturevalue(f"at_{name}")
    recipient = f"{listener}.{len(source)}@example.org"
    assert _deliver(stand, listener, recipient, source).startswith(b"250")
    (letter,) = wait_for_letters(stand.server, recipient)
    assert f"[{source}]".encode() in _received(letter).replace(b"IPv6:", b"")
    assert _NAME.encode() in _received(letter), "its EHLO goes through unchanged"
    assert b"127.0.0.1" not in _received(letter)


def test_a_server_that_does_not_take_it_gets_no_mail(at_opensmtpd: Stand[OpenSmtpd], strangers: Addresses) -> None:
    mark = at_opensmtpd.site.mark()
    answer = _deliver(at_opensmtpd, "proxy-v1", "refused@example.org", strangers.v4)
    assert answer.startswith(b"451 4.4.1")
    (line,) = at_opensmtpd.site.closed(mark)
    assert line["backend_error"]
    assert line["messages"] == 0
    (refused,) = at_opensmtpd.site.program.events("message.refused", mark)
    assert refused["by"] == "backend"


def test_a_postfix_without_ipv6_gets_no_mail_from_there_if_it_must_know(
    at_postfix: Stand[Postfix], strangers: Addresses
) -> None:
    mark = at_postfix.site.mark()
    answer = _deliver(at_postfix, "ipv4", "six@example.org", strangers.v6)
    assert answer.startswith(b"451 4.4.1")
    (line,) = at_postfix.site.closed(mark)
    assert "XCLIENT" in line["backend_error"]
    assert _deliver(at_postfix, "ipv4", "four@example.org", strangers.v4).startswith(b"250")
    (letter,) = wait_for_letters(at_postfix.server, "four@example.org")
    assert f"({_NAME} [{strangers.v4}])".encode() in _received(letter)


def test_a_postfix_without_ipv6_is_told_that_it_is_not_known(at_postfix: Stand[Postfix], strangers: Addresses) -> None:
    assert _deliver(at_postfix, "ipv4-lax", "lax@example.org", strangers.v6).startswith(b"250")
    (letter,) = wait_for_letters(at_postfix.server, "lax@example.org")
    assert b"127.0.0.1" not in _received(letter)
    assert b"localhost" not in _received(letter)


@pytest.mark.parametrize(("name", "listener"), [("postfix", "none"), ("exim", "mx"), ("opensmtpd", "mx")])
def test_otherwise_our_own_line_shows_them(
    request: pytest.FixtureRequest, name: str, listener: str, source: str
) -> None:
    stand: Stand[OldServer] = request.getfixturevalue(f"at_{name}")
    recipient = f"none.{len(source)}@example.org"
    assert _deliver(stand, listener, recipient, source).startswith(b"250")
    (letter,) = wait_for_letters(stand.server, recipient)
    theirs, ours = letter.header("Received")
    assert b"[127.0.0.1]" in theirs
    assert ours.startswith(f"from {_NAME} ({_NAME} [".encode())
    assert f"{source}])".encode() in ours
    assert f" by {HOSTNAME} ".encode() in ours


def test_a_server_without_xclient_gets_no_mail_if_it_must_know(at_exim: Stand[Exim], strangers: Addresses) -> None:
    mark = at_exim.site.mark()
    assert _deliver(at_exim, "xclient", "refused@example.org", strangers.v4).startswith(b"451 4.4.1")
    (line,) = at_exim.site.closed(mark)
    assert "XCLIENT" in line["backend_error"]


def _submit(site: SmtpSite, listener: str, account: Account, source: str) -> None:
    site.accounts.append(account)
    with Talk(site.ports[listener], source=source) as client:
        client.hello("laptop")
        client.starttls(site.pki.client_context(), "laptop")
        client.log_in(account)
        assert client.deliver("friend@elsewhere.test", message("named", b"text\r\n")).startswith(b"250")
        assert client.say("QUIT").startswith(b"221")


def test_a_user_is_shown_with_name_and_address(at_postfix: Stand[Postfix], strangers: Addresses) -> None:
    account = at_postfix.server.account()
    _submit(at_postfix.site, "named", account, strangers.v4)
    shown = f"[{strangers.v4}], sasl_method=PLAIN, sasl_username={account.user}"
    assert shown in at_postfix.server.log()


def test_a_user_of_a_password_file_is_named_by_xclient(
    postfix: Postfix, open_stand: SiteMaker, strangers: Addresses, tmp_path: Path
) -> None:
    account = new_account(1)
    made = subprocess.run(
        [sys.executable, "-m", "tlsproxy", "hash-password", "--user", account.user],
        input=f"{account.password}\n".encode(),
        capture_output=True,
        check=True,
    )
    users = tmp_path / "users"
    users.touch(0o600)
    users.write_bytes(made.stdout)
    backend = {"identity": "xclient", "login": "xclient"}
    route = Route(name="users", port=postfix.user_port, role="submission", backend=backend)
    submission = {"auth": "file", "password_file": str(users)}
    site = open_stand("file", [route], **{"smtp.submission": submission}, server={"workers": 1})
    _submit(site, "users", account, strangers.v4)
    shown = f"[{strangers.v4}], sasl_method=XCLIENT, sasl_username={account.user}"
    assert shown in postfix.log()
