"""Clients that nobody here wrote, each doing a whole job through the proxy, told only where to go and who it is."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.realmail.backend import Account, deliver, require
from integration.realmail.messages import varied
from integration.realmail.site import Site, Watch
from integration.realmail.terminal import run_on_terminal

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("clients")]

_DEADLINE_S = 60
# Exit codes of curl's manual.
_LOGIN_DENIED = 67

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def _environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "TERM": "vt100", "LANG": "C.UTF-8"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program of Debian's in an empty home folder."""

    def run(program: str, *args: str | Path, stdin: bytes = b"", code: int = 0) -> "subprocess.CompletedProcess[bytes]":
        require(f"/usr/bin/{program}")
        done = subprocess.run(
            [f"/usr/bin/{program}", *args],
            input=stdin,
            env=_environment(tmp_path),
            cwd=tmp_path,
            capture_output=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        assert done.returncode == code, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done

    return run


@pytest.fixture
def mail(site: Site, account: Account) -> list[bytes]:
    """Eighteen messages, each kind twice, in the account's INBOX."""
    messages = varied()[:18]
    deliver(site.backend, account, messages)
    return messages


def _private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def _lines(message: bytes) -> list[bytes]:
    """A message as lines, whatever ends them, without the header that mbsync adds."""
    lines = message.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    return [line for line in lines if not line.startswith(b"X-TUID: ")]


def _id(lines: list[bytes]) -> bytes:
    """The one Message-ID; the messages of ``varied`` are told apart by it."""
    (found,) = (line for line in lines if line.startswith(b"Message-ID: "))
    return found


def _stored(folder: Path) -> list[list[bytes]]:
    """The messages below a maildir, as sorted lists of lines."""
    return sorted(_lines(path.read_bytes()) for part in ("new", "cur") for path in (folder / part).iterdir())


# Listeners are named like curl's URL schemes.
_CURL_WAYS = [("imaps", "/INBOX;MAILINDEX=3"), ("imap", "/INBOX;MAILINDEX=3"), ("pop3s", "/3"), ("pop3", "/3")]


def _curl(site: Site, way: str, path: str, user: str, password: str) -> list[str]:
    options = ["-sS", "--ssl-reqd", "--cacert", str(site.pki.ca), "--user", f"{user}:{password}"]
    return [*options, f"{way}://localhost:{site.ports[way]}{path}"]


@pytest.mark.parametrize(("way", "path"), _CURL_WAYS)
def test_curl_fetches_a_message(
    site: Site, watch: Watch, account: Account, *, run: Run, mail: list[bytes], way: str, path: str
) -> None:
    fetched = run("curl", *_curl(site, way, path, account.user, account.password)).stdout
    assert fetched == mail[2]
    (line,) = watch.closed()
    assert (line["listener"], line["user"], line["login"]) == (way, account.user, "ok")


@pytest.mark.parametrize(("way", "path"), _CURL_WAYS)
def test_curl_takes_a_refused_password_for_what_it_is(
    site: Site, watch: Watch, account: Account, *, run: Run, way: str, path: str
) -> None:
    wrong = site.wrong_password(account)
    run("curl", *_curl(site, way, path, account.user, wrong), code=_LOGIN_DENIED)
    (line,) = watch.closed()
    (failure,) = watch.events("login.failed", 1)
    assert failure["user"] == account.user
    assert (line["user"], line["login"], line["login_attempts"]) == (account.user, "failed", 1)


@pytest.mark.parametrize("way", ["imap", "pop3"])
def test_curl_without_tls_is_refused_before_it_sends_the_password(
    site: Site, watch: Watch, account: Account, run: Run, way: str
) -> None:
    url = f"{way}://localhost:{site.ports[way]}/"
    run("curl", "-sS", "--user", f"{account.user}:{account.password}", url, code=_LOGIN_DENIED)
    (line,) = watch.closed()
    assert (line["phase"], line["login"], line["tls_version"]) == ("dialogue", "none", None)
    assert not watch.tapped()


def _mbsyncrc(site: Site, account: Account, way: str, folder: Path) -> str:
    return f"""\
IMAPAccount proxied
Host localhost
Port {site.ports[way]}
User {account.user}
Pass {account.password}
SSLType {"IMAPS" if way == "imaps" else "STARTTLS"}
CertificateFile {site.pki.ca}
SystemCertificates no

IMAPStore far
Account proxied

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync All
Expunge Both
"""


@pytest.mark.parametrize("way", ["imaps", "imap"])
def test_mbsync_makes_a_full_copy_and_puts_new_mail_back(
    site: Site, watch: Watch, account: Account, *, mail: list[bytes], run: Run, tmp_path: Path, way: str
) -> None:
    config = _private(tmp_path / "mbsyncrc", _mbsyncrc(site, account, way, tmp_path))
    run("mbsync", "-c", config, "-a")
    assert _stored(tmp_path / "INBOX") == sorted(map(_lines, mail))
    (tmp_path / "INBOX" / "new" / "1.new").write_bytes(b"Subject: upward\n\nbody\n")
    run("mbsync", "-c", config, "-a")
    copied = run("curl", *_curl(site, "imaps", "/INBOX;MAILINDEX=19", account.user, account.password)).stdout
    assert b"Subject: upward\r\n" in copied
    lines = watch.closed(3)
    assert all((line["user"], line["login"], line["phase"]) == (account.user, "ok", "relay") for line in lines)


@pytest.mark.parametrize(("protocol", "ssl"), [("IMAP", True), ("IMAP", False), ("POP3", True), ("POP3", False)])
def test_fetchmail_fetches_and_deletes(
    site: Site,
    watch: Watch,
    account: Account,
    *,
    mail: list[bytes],
    run: Run,
    tmp_path: Path,
    protocol: str,
    ssl: bool,
) -> None:
    way = protocol.lower() + ("s" if ssl else "")
    tls = "ssl" if ssl else "sslproto 'TLS1.2+'"
    spool = tmp_path / "spool"
    config = _private(
        tmp_path / "fetchmailrc",
        f'poll localhost service {site.ports[way]} protocol {protocol} user "{account.user}"'
        f' password "{account.password}" {tls} sslcertck sslcertfile "{site.pki.ca}"'
        f' fetchall no rewrite mda "cat >> {spool}"\n',
    )
    run("fetchmail", "-f", config, "--pidfile", tmp_path / "pid")
    delivered = spool.read_bytes()
    assert delivered.count(b"\nMessage-ID:") + delivered.startswith(b"Message-ID:") == len(mail)
    (line,) = watch.closed()
    assert (line["listener"], line["user"], line["login"]) == (way, account.user, "ok")


@pytest.mark.parametrize("kind", ["SimpleIMAPSSLRetriever", "SimplePOP3SSLRetriever"])
def test_getmail_fetches_a_mailbox(
    site: Site, watch: Watch, account: Account, *, mail: list[bytes], run: Run, tmp_path: Path, kind: str
) -> None:
    way = "imaps" if "IMAP" in kind else "pop3s"
    # The sleep is for getmail: it sets its handler for a child's end after it has forked, and misses one that is quick.
    spool = tmp_path / "spool"
    spool.mkdir()
    _private(
        tmp_path / "getmailrc",
        f"""\
[retriever]
type = {kind}
server = localhost
port = {site.ports[way]}
username = {account.user}
password = {account.password}
ca_certs = {site.pki.ca}
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat > {spool}/$$; sleep 0.1")
allow_root_commands = true
unixfrom = false
[options]
read_all = true
delivered_to = false
received = false
""",
    )
    run("getmail", "--getmaildir", tmp_path, "--rcfile", "getmailrc")
    # getmail takes each message apart and puts it together again.
    assert sorted(_id(_lines(path.read_bytes())) for path in spool.iterdir()) == sorted(map(_id, map(_lines, mail)))
    (line,) = watch.closed()
    assert (line["listener"], line["user"], line["login"]) == (way, account.user, "ok")


@pytest.mark.parametrize("mechanism", ["login", "plain", "cram-md5", "scram-sha-256"])
@pytest.mark.parametrize("way", ["imaps", "imap"])
def test_mutt_opens_a_mailbox_and_copies_it(
    site: Site, watch: Watch, account: Account, *, mail: list[bytes], tmp_path: Path, way: str, mechanism: str
) -> None:
    copy = tmp_path / "copy"
    config = _private(
        tmp_path / "muttrc",
        f"""\
set imap_user="{account.user}"
set imap_pass="{account.password}"
set imap_authenticators="{mechanism}"
set certificate_file="{site.pki.ca}"
set ssl_ca_certificates_file="{site.pki.ca}"
set ssl_force_tls=yes
set confirmappend=no confirmcreate=no copy=no mbox_type=Maildir quit=yes read_inc=0 write_inc=0 net_inc=0
set folder="{tmp_path}" auto_tag=yes header_cache="" sleep_time=0 wait_key=no delete=no
push "<tag-pattern>~A<enter><copy-message><kill-line>{copy}<enter><quit>"
""",
    )
    require("/usr/bin/mutt")
    argv = ["/usr/bin/mutt", "-F", config, "-f", f"{way}://localhost:{site.ports[way]}/INBOX"]
    assert run_on_terminal(argv, _environment(tmp_path), tmp_path, _DEADLINE_S) == 0
    assert sorted(map(_id, _stored(copy))) == sorted(map(_id, map(_lines, mail)))
    (line,) = watch.closed()
    assert (line["listener"], line["user"], line["login"]) == (way, account.user, "ok")
    assert line["mechanism"] == mechanism.upper()


@pytest.mark.parametrize("way", ["imaps", "imap", "pop3s", "pop3"])
def test_openssl_s_client_logs_in(site: Site, watch: Watch, account: Account, run: Run, way: str) -> None:
    starttls = () if way.endswith("s") else ("-starttls", way)
    user, password = account.user.encode(), account.password.encode()
    if way.startswith("imap"):
        commands, expected = [b"a LOGIN %s %s" % (user, password), b"b NOOP", b"c LOGOUT"], b"\r\nc OK"
    else:
        commands, expected = [b"USER " + user, b"PASS " + password, b"STAT", b"QUIT"], b"+OK 0 0\r\n"
    done = run(
        "openssl",
        *("s_client", "-quiet", "-verify_return_error", "-CAfile", site.pki.ca, "-verify_hostname", "localhost"),
        *("-connect", f"localhost:{site.ports[way]}", "-servername", "localhost", *starttls),
        stdin=b"\r\n".join(commands) + b"\r\n",
    )
    assert expected in done.stdout
    (line,) = watch.closed()
    assert (line["listener"], line["user"], line["login"]) == (way, account.user, "ok")
    assert line["tls_sni"] == "localhost"
