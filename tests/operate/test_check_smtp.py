"""What ``tlsproxy check`` finds at an old SMTP server, and of our own name."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from rig.checking import NOW, about, says, server
from rig.oldsmtp import OldSmtp

from tlsproxy.config.model import Config
from tlsproxy.operate import check_smtp as room
from tlsproxy.operate.check import examine
from tlsproxy.operate.findings import Finding

MX = ("mx",)
SUBMISSION = ("submission",)
BOTH = ("mx", "submission")
SOUND = ("ok", "it relays nothing for strangers")
NOT_OFFERED = (
    'it does not offer XCLIENT to this host (identity = "xclient"); name this machine in '
    "smtpd_authorized_xclient_hosts (Postfix)"
)
Examined = Callable[..., list[Finding]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names are said to be."""
    known = {"mail.example.org": ["192.0.2.5", "192.0.2.5", "2001:db8::5"]}
    real = socket.getaddrinfo

    def _look_up(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if port is not None:
            return real(host, port, *more, **named)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", _look_up)
    return known


@pytest.fixture
def examined(files: dict[str, str], names: dict[str, list[str]]) -> Examined:
    def _examine(address: str, roles: tuple[str, ...] = MX, hostname: str = "mail.example.org", **keys: Any) -> Any:
        return examine(_config(files, address, roles, hostname, **keys), NOW)

    return _examine


def _config(files: dict[str, str], address: str, roles: tuple[str, ...], hostname: str, **keys: Any) -> Config:
    listeners = [{"name": role, "protocol": "smtp", "role": role, "bind": ["127.0.0.1:0"]} for role in roles]
    smtp: dict[str, Any] = {"hostname": hostname}
    smtp |= {"mx": {"local_domains": ["example.org"]}} if "mx" in roles else {}
    if "submission" in roles:
        is_replayed = keys.get("login") == "replay"
        smtp["submission"] = {"auth": "replay"} if is_replayed else {"auth": "file", "password_file": "/nowhere/users"}
    return Config.model_validate(
        {
            "tls": {"certificates": [files]},
            "listener": listeners,
            "backend": {"smtp": {"address": address, **keys}},
            "smtp": smtp,
            "timeouts": {"backend_connect": "2s"},
        }
    )


def _smtp(findings: list[Finding]) -> list[tuple[str, str]]:
    return about(findings, "backend.smtp")


def test_one_that_is_as_it_should_be(examined: Examined) -> None:
    with OldSmtp() as old:
        assert _smtp(examined(old.address)) == [("ok", f"{old.address} says: 220 old.example ESMTP"), SOUND]
    assert old.verbs() == [b"EHLO", b"QUIT", b"EHLO", b"MAIL", b"RCPT", b"RSET", b"QUIT"]


def test_an_open_relay(examined: Examined) -> None:
    with OldSmtp(is_open=True) as old:
        (_, (level, text)) = _smtp(examined(old.address))
    assert level == "warning"
    assert text.startswith("it is an open relay for what comes from tlsproxy: it takes tlsproxy's address for one")
    assert "mynetworks (Postfix)" in text


def test_one_that_refuses_bounces(examined: Examined) -> None:
    with OldSmtp() as old:
        old.answers = {b"MAIL": b"550 no\r\n"}
        assert _smtp(examined(old.address))[1:] == [
            ("warning", "it could not be asked whether it relays for strangers: it refuses MAIL FROM:<>")
        ]


def test_users_and_strangers_at_one_door(examined: Examined) -> None:
    with OldSmtp(is_open=True) as old:
        (_, (level, text)) = _smtp(examined(old.address, BOTH))
    assert level == "warning"
    assert text.startswith("it serves users and strangers alike and is told of no login, so it has to relay")
    assert b"RCPT" not in old.verbs()


def test_submission_alone_is_not_asked_what_it_relays(examined: Examined) -> None:
    with OldSmtp(is_open=True, offers=[b"AUTH LOGIN PLAIN"]) as old:
        (found,) = _smtp(examined(old.address, SUBMISSION, login="replay"))
        assert found[0] == "ok"
    assert b"RCPT" not in old.verbs()


@pytest.mark.parametrize(
    ("offers", "is_required", "found"),
    [
        ([b"XCLIENT NAME ADDR PROTO"], True, [("ok", "XCLIENT takes ADDR, NAME, PROTO"), SOUND]),
        (
            [],
            True,
            [
                (
                    "problem",
                    NOT_OFFERED,
                )
            ],
        ),
        (
            [],
            False,
            [
                (
                    "warning",
                    f"{NOT_OFFERED}; until then all mail seems to come from tlsproxy",
                ),
                SOUND,
            ],
        ),
    ],
)
def test_xclient(
    examined: Examined,
    offers: list[bytes],
    is_required: bool,  # noqa: FBT001 - a row of the table
    found: list[tuple[str, str]],
) -> None:
    with OldSmtp(offers=offers) as old:
        assert _smtp(examined(old.address, identity="xclient", identity_required=is_required))[1:] == found


@pytest.mark.parametrize(
    ("offers", "keys", "found"),
    [
        ([b"XCLIENT ADDR LOGIN"], {"identity": "xclient", "login": "xclient"}, None),
        (
            [b"XCLIENT ADDR NAME"],
            {"identity": "xclient", "login": "xclient"},
            "it does not offer XCLIENT LOGIN, so that it cannot be told who has logged in",
        ),
        ([b"AUTH CRAM-MD5 PLAIN"], {"login": "replay"}, None),
        ([b"AUTH=LOGIN"], {"login": "replay"}, None),
        (
            [b"AUTH CRAM-MD5"],
            {"login": "replay"},
            'it offers neither AUTH PLAIN nor AUTH LOGIN, which login = "replay" needs; some do so under TLS alone',
        ),
    ],
)
def test_logins(examined: Examined, offers: list[bytes], keys: dict[str, str], found: str | None) -> None:
    with OldSmtp(offers=offers) as old:
        problems = [text for level, text in _smtp(examined(old.address, BOTH, **keys)) if level == "problem"]
    assert [problem.startswith(found or "?") for problem in problems] == ([True] if found else [])


def test_one_that_wants_to_be_told_of_clients_first(examined: Examined) -> None:
    def _header(connection: socket.socket) -> bytes:
        heard = b""
        while not heard.endswith(b"\n"):
            heard += connection.recv(1)
        return heard

    with OldSmtp() as old:
        old.first_words = _header
        assert _smtp(examined(old.address, identity="proxy-v1"))[1:] == [SOUND]
    assert [line.split()[:3] for line in old.heard_first] == [
        [b"PROXY", b"TCP4", each] for each in (b"127.0.0.1", b"192.0.2.1")
    ]


def test_one_that_is_down(examined: Examined, nobody: str) -> None:
    assert _smtp(examined(nobody)) == [
        ("problem", f"{nobody}: Connection refused; is the old mail server running there?")
    ]


def test_one_that_is_silent(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_ANSWER_S", 0.2)
    with OldSmtp() as old:
        old.greeting = b""
        assert _smtp(examined(old.address)) == [
            (
                "problem",
                f"{old.address}: no answer within 0.2 s; does the port expect TLS, or a PROXY header?",
            )
        ]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"554 not you\r\n", " says: 554 not you (it takes no mail from this machine now)"),
        (b"* OK imap here\r\n", ": an answer that makes no sense (malformed); is the port right?"),
    ],
)
def test_one_that_greets_in_another_way(examined: Examined, said: bytes, found: str) -> None:
    with server(says(said)) as address:
        assert _smtp(examined(address)) == [("problem", address + found)]


def test_one_that_knows_neither_ehlo_nor_helo(examined: Examined) -> None:
    with OldSmtp() as old:
        old.answers = {b"EHLO": b"500 what\r\n", b"HELO": b"500 what\r\n"}
        assert _smtp(examined(old.address)) == [
            ("problem", f"{old.address} says: 220 old.example ESMTP, but it takes neither EHLO nor HELO")
        ]


def test_one_that_hangs_up(examined: Examined) -> None:
    with server(lambda connection: connection.shutdown(socket.SHUT_WR)) as address:
        ((level, text),) = _smtp(examined(address))
    assert (level, text.rpartition("; ")[2]) == ("problem", "does it let this machine in?")


def test_starttls_is_tried(examined: Examined, files: dict[str, str], authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["chain"], files["key"])

    def _talk(connection: socket.socket) -> None:
        connection.sendall(b"220 old\r\n")
        connection.recv(100)
        connection.sendall(b"250-old\r\n250 STARTTLS\r\n")
        connection.recv(100)
        connection.sendall(b"220 go\r\n")
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(100)
            secured.sendall(b"250 old\r\n")
            secured.recv(100)
            secured.sendall(b"221 bye\r\n")

    keys = {"tls": "starttls", "ca": str(tmp_path / "ca.pem"), "login": "replay"}
    with server(_talk) as address:
        found = _smtp(examined(address, SUBMISSION, **keys))
    assert found[0] == ("ok", f"{address} says: 220 ready, after STARTTLS")
    assert found[1][1] == 'it offers neither AUTH PLAIN nor AUTH LOGIN, which login = "replay" needs'


def test_an_authority_that_cannot_be_read(examined: Examined, nobody: str) -> None:
    assert _smtp(examined(nobody, tls="implicit", ca="/nowhere/ca.pem")) == [
        ("problem", "ca: /nowhere/ca.pem holds no certificate that can be used: No such file or directory")
    ]


def test_our_name_is_known_and_certified(examined: Examined, nobody: str, names: dict[str, list[str]]) -> None:
    assert about(examined(nobody), "smtp.hostname") == [("ok", "mail.example.org is 192.0.2.5, 2001:db8::5")]
    names["mx.example.org"] = ["192.0.2.6"]
    assert about(examined(nobody, hostname="mx.example.org"), "smtp.hostname") == [
        ("ok", "mx.example.org is 192.0.2.6"),
        ("warning", "no certificate bears mx.example.org; servers that verify it will not deliver"),
    ]


def test_our_name_is_unknown(examined: Examined, nobody: str, names: dict[str, list[str]]) -> None:
    names.clear()
    assert about(examined(nobody), "smtp.hostname") == [
        (
            "warning",
            "mail.example.org cannot be looked up: Name or service not known; other servers find tlsproxy by it",
        )
    ]


def test_a_certificate_that_cannot_be_read_bears_no_name(
    examined: Examined, nobody: str, files: dict[str, str]
) -> None:
    Path(files["chain"]).write_text("nonsense")
    assert about(examined(nobody), "smtp.hostname")[1][0] == "warning"


def test_mail_that_travels_in_clear(examined: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsproxy.operate.check.smtp_backend", lambda *_: [])
    where = "192.0.2.1; is the way there yours alone?"
    assert _smtp(examined("192.0.2.1:25")) == [("warning", f"mail travels in clear to {where}")]
    assert _smtp(examined("192.0.2.1:25", BOTH, login="replay")) == [
        ("warning", f"passwords travel in clear to {where}")
    ]
