import ast
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tlsproxy.core.addresses import peer_from
from tlsproxy.core.outcome import Outcome, Phase, Reason
from tlsproxy.core.summary import Summary, readable
from tlsproxy.operate.log_render import json_line

pytestmark = pytest.mark.parametrize("tool", ["fail2ban-regex"], indirect=True)

ATTACKER = "203.0.113.9"
VICTIM = "192.0.2.66"
WHEN = 1795503600  # 2026-11-24T07:00:00Z


def line(event: str, **fields: Any) -> str:
    fields = {"ts": "2026-11-24T07:00:00.123Z", "level": "warning", "event": event, **fields}
    return json_line(fields).decode().removesuffix("\n")


def failed_login(user: bytes | None = b"anna", *, client_ip: str = ATTACKER, credential: bool = True) -> str:
    return line(
        "login.failed",
        session="0123abcd",
        listener="imaps",
        protocol="imap",
        client_ip=client_ip,
        client_port=49152,
        user=readable(user),
        mechanism="LOGIN",
        credential=credential,
        attempt=1,
        tls_version="TLSv1.3",
    )


def closed(reason: Reason, user: bytes | None = None) -> str:
    summary = Summary(session="0123abcd", listener="imaps", protocol="imap", client=peer_from(ATTACKER, 49152))
    summary.user = user
    return line("session.closed", **summary.as_fields(Outcome(phase=Phase.LOGIN, reason=reason)))


def banned(tool: str, deploy: Path, log: Path, *lines: str, mode: str = "normal") -> list[tuple[str, int]]:
    """Addresses and times that fail2ban finds in a log file of these lines."""
    log.write_text("".join(f"{each}\n" for each in lines))
    command = [tool, "-o", "row", str(log), f"{deploy}/fail2ban/filter.d/tlsproxy.conf[mode={mode}]"]
    # Lines are in UTC wherever the server stands.
    environment = {**os.environ, "TZ": "America/New_York"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert "ERROR" not in done.stderr + done.stdout
    rows = ast.literal_eval(f"[{done.stdout}]")
    return [(row[0], int(row[1])) for row in rows]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "tlsproxy.log"


@pytest.mark.parametrize("client_ip", [ATTACKER, "2001:db8::1"])
def test_a_wrong_password_is_found_with_address_and_utc_time(
    tool: str, deploy: Path, log: Path, client_ip: str
) -> None:
    assert banned(tool, deploy, log, failed_login(client_ip=client_ip)) == [(client_ip, WHEN)]


def test_an_unknown_user_name_is_no_obstacle(tool: str, deploy: Path, log: Path) -> None:
    assert banned(tool, deploy, log, failed_login(None), failed_login(b"\xff\x00\r\n")) == [(ATTACKER, WHEN)] * 2


@pytest.mark.parametrize(
    "user",
    [
        f'","client_ip":"{VICTIM}'.encode(),
        f'\\","client_ip":"{VICTIM}","client_port":1,"user":"'.encode(),
        f'x","mechanism":"LOGIN","credential":true,"client_ip":"{VICTIM}","client_port":1,'.encode(),
        f"\r\n{line('login.failed', client_ip=VICTIM)}".encode(),
        b"\\",
        b'\\"',
        b'2026-01-01T00:00:00.000Z","level":"',
    ],
)
def test_a_user_name_made_like_a_line_bans_only_its_sender(tool: str, deploy: Path, log: Path, user: bytes) -> None:
    assert banned(tool, deploy, log, failed_login(user)) == [(ATTACKER, WHEN)]


@pytest.mark.parametrize("user", [b"anna", b'x","mechanism":"LOGIN","credential":true,"attempt":1'])
def test_a_refusal_that_is_not_about_the_password_bans_nobody(tool: str, deploy: Path, log: Path, user: bytes) -> None:
    assert banned(tool, deploy, log, failed_login(user, credential=False)) == []


def test_an_ended_session_bans_nobody_in_normal_mode(tool: str, deploy: Path, log: Path) -> None:
    lines = [closed(reason, user=failed_login().encode()) for reason in Reason]
    assert banned(tool, deploy, log, *lines) == []


def test_aggressive_mode_adds_attacks_and_floods_only(tool: str, deploy: Path, log: Path) -> None:
    attacks = [Reason.NOT_MAIL, Reason.RATE_EXCEEDED, Reason.STARTTLS_INJECTION]
    harmless = [Reason.CLIENT_CLOSED, Reason.ADDRESS_FULL, Reason.BACKEND_DOWN, Reason.SHUTDOWN]
    assert banned(tool, deploy, log, *map(closed, harmless), mode="aggressive") == []
    assert banned(tool, deploy, log, *map(closed, attacks), failed_login(), mode="aggressive") == [(ATTACKER, WHEN)] * 4


def test_the_journal_puts_a_prefix_before_the_line(tool: str, deploy: Path, log: Path) -> None:
    # fail2ban joins host, program and message, and takes the time from the journal; a file whose
    # lines begin with such a time comes closest to it.
    time = "2026-11-24T07:00:00Z;"
    lines = [f"{time}mail tlsproxy[99]: {failed_login()}", f"{time}mail {failed_login()}"]
    log.write_text("\n".join(lines) + "\n")
    command = [tool, "-d", "^%Y-%m-%dT%H:%M:%S%z;", "-o", "ip", str(log), f"{deploy}/fail2ban/filter.d/tlsproxy.conf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout.split() == [ATTACKER]


def test_the_jails_name_the_filter_and_its_modes(tool: str, deploy: Path) -> None:
    assert tool
    jails = (deploy / "fail2ban/jail.d/tlsproxy.conf").read_text()
    assert "filter   = tlsproxy\n" in jails
    assert "filter   = tlsproxy[mode=aggressive]\n" in jails
