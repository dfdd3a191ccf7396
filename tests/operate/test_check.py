"""What ``tlsproxy check`` finds on a machine: certificates, addresses, numbers."""

import os
import resource
import socket
import sysconfig
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from rig.checking import NOW, about, config_of, says, server

from tlsproxy.operate.check import examine
from tlsproxy.operate.findings import Level

pytestmark = pytest.mark.usefixtures("impatient")


def test_all_is_well(files: dict[str, str]) -> None:
    with server(says(b"* OK old ", b"mail ready\r\nmore")) as backend:
        findings = examine(config_of(files, backend), NOW)
    assert about(findings, "tls.certificates[0]") == [("ok", "mail.example.org, 127.0.0.1: 89 days left")]
    assert about(findings, "listener imaps") == [("ok", "127.0.0.1:0 can be listened on")]
    assert about(findings, "backend.imap") == [("ok", f"{backend} says: * OK old mail ready")]
    assert not any(finding.level is Level.PROBLEM for finding in findings)


@pytest.mark.parametrize(
    ("later", "level", "text"),
    [
        (69, "warning", "mail.example.org, 127.0.0.1: 20 days left; does its renewal work?"),
        (68, "ok", "mail.example.org, 127.0.0.1: 21 days left"),
        (91, "problem", f"mail.example.org, 127.0.0.1: expired on {NOW + timedelta(days=90):%Y-%m-%d}; renew it"),
        (-36500, "problem", "mail.example.org, 127.0.0.1: not valid before {}; is the clock right?"),
    ],
)
def test_days_left(files: dict[str, str], nobody: str, later: int, level: str, text: str) -> None:
    [(found_level, found_text)] = about(
        examine(config_of(files, nobody), NOW + timedelta(days=later)), "tls.certificates[0]"
    )
    assert found_level == level
    start, _, end = text.partition("{}")
    assert found_text.startswith(start)
    assert found_text.endswith(end)


def test_a_certificate_that_is_not_there(files: dict[str, str], nobody: str) -> None:
    Path(files["chain"]).unlink()
    [(level, text)] = about(examine(config_of(files, nobody), NOW), "tls.certificates[0]")
    assert level == "problem"
    assert text.startswith(files["chain"])


def test_the_key_of_another_certificate(files: dict[str, str], nobody: str, authority: trustme.CA) -> None:
    Path(files["key"]).write_bytes(authority.issue_cert("other.example").private_key_pem.bytes())
    [(level, text)] = about(examine(config_of(files, nobody), NOW), "tls.certificates[0]")
    assert level == "problem"
    assert files["key"] in text


def test_a_key_that_everybody_can_read(files: dict[str, str], nobody: str) -> None:
    Path(files["key"]).chmod(0o644)
    _, (level, text) = about(examine(config_of(files, nobody), NOW), "tls.certificates[0]")
    assert level == "warning"
    assert "everybody" in text


def test_addresses_that_cannot_be_listened_on(files: dict[str, str], nobody: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bind = [f"127.0.0.1:{port}", "192.0.2.1:993", "fd:imaps"]
        config = config_of(files, nobody, listener=[{"protocol": "imap", "bind": bind}])
        used, absent, passed = about(examine(config, NOW), "listener imaps")
    assert used == ("warning", f"127.0.0.1:{port} is in use (is tlsproxy running already?)")
    assert absent[0] == "problem"
    assert absent[1].startswith("192.0.2.1:993: ")
    assert passed == ("ok", "fd:imaps is passed by systemd at start and cannot be tried here")


def test_idle_times_below_the_standards(files: dict[str, str], nobody: str) -> None:
    config = config_of(files, nobody, timeouts={"idle_imap": "29m", "idle_pop3": "9m"})
    findings = examine(config, NOW)
    assert about(findings, "timeouts.idle_imap") == [
        ("warning", "below the 30 minutes of RFC 9051; clients renew IDLE every 29 minutes")
    ]
    assert about(findings, "timeouts.idle_pop3") == [("warning", "below the 10 minutes of RFC 1939")]
    config = config_of(files, nobody, timeouts={"idle_imap": "30m", "idle_pop3": "10m"})
    assert not any(finding.subject.startswith("timeouts") for finding in examine(config, NOW))


_RAISE_IT = "raise it to 264 (LimitNOFILE= in the systemd unit, ulimit -Hn in a root shell)"


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        (264, ("ok", "100 connections fit into the limit of open files")),
        (resource.RLIM_INFINITY, ("ok", "100 connections fit into the limit of open files")),
        (263, ("warning", f"100 is lowered to 99, since only 263 files may be open; {_RAISE_IT}")),
    ],
)
def test_the_limit_of_open_files(
    files: dict[str, str], nobody: str, monkeypatch: pytest.MonkeyPatch, limit: int, found: tuple[str, str]
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, limit))
    config = config_of(files, nobody, limits={"total": 100}, server={"workers": 1})
    assert about(examine(config, NOW), "limits.total") == [found]


def test_the_limit_of_open_files_holds_for_each_worker(
    files: dict[str, str], nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 264))
    config = config_of(files, nobody, limits={"total": 201}, server={"workers": 2})
    (finding,) = about(examine(config, NOW), "limits.total")
    assert finding[1].startswith("201 is lowered to 200, since only 264 files may be open; raise it to 266")


@pytest.mark.parametrize(
    ("run_as", "user", "level", "words"),
    [
        ("", 0, "warning", "run as root"),
        ("nobody", 0, "ok", "run as nobody"),
        ("nobody", 4242, "problem", "only root can become another user"),
        ("no-such-user", 0, "problem", "there is no user"),
    ],
)
def test_whom_the_workers_run_as(
    files: dict[str, str],
    nobody: str,
    monkeypatch: pytest.MonkeyPatch,
    run_as: str,
    user: int,
    level: str,
    words: str,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    (finding,) = about(examine(config_of(files, nobody, server={"run_as": run_as}), NOW), "server.run_as")
    assert finding[0] == level
    assert words in finding[1]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("'--enable-optimizations' '--with-lto'", ("ok", "built with PGO and LTO")),
        ("'--with-lto'", ("warning", "built without PGO; one with them takes less CPU a session")),
        (None, ("warning", "built without PGO and LTO; one with them takes less CPU a session")),
    ],
)
def test_the_interpreter(
    files: dict[str, str], nobody: str, monkeypatch: pytest.MonkeyPatch, arguments: str | None, found: tuple[str, str]
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: arguments)
    assert about(examine(config_of(files, nobody), NOW), "python") == [found]
