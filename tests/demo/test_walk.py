"""The demo as a user starts it."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tlsproxy.demo import walk
from tlsproxy.demo.dialogue import StepError
from tlsproxy.demo.steps import STEPS, Stage, Step

COMMAND = [sys.executable, "-m", "tlsproxy", "demo"]
LIMIT_S = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Temporary files go where the test can see what is left of them."""
    return {**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"}


def test_once(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--once"], capture_output=True, timeout=LIMIT_S, env=environment, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert f"✓ all {len(STEPS)} steps came out as they should" in done.stdout
    assert "✗" not in done.stdout
    for number, step in enumerate(STEPS, start=1):
        assert f"{number}. {step.title}\n" in done.stdout
    for line in (
        "S: a1 NO [PRIVACYREQUIRED]",
        "C: a1 LOGIN demo •••",
        "S: * BAD [ALERT]",
        "S: -ERR [AUTH]",
        "S: a1 BAD [CLIENTBUG]",
        "S: * BYE [UNAVAILABLE] Too many connections from your address (8)",
        "S: ..\n",
        "S: ....three\n",
        "S: 530 5.7.0",
        "C: AUTH PLAIN •••",
        "S: 538 5.7.11",
        "S: 550 5.7.1 ",
        "    All is well.\n    .\n    MAIL FROM:<boss@old.example>\n",
        "password.exposed",
        "starttls.injection",
        "admit/address_full",
        "-- imap from port ",
        "-- pop3 from port ",
        "-- smtp from port ",
        "EHLO MAIL RCPT DATA MAIL RCPT DATA QUIT  = ours, past the proxy",
        "message.relayed",
        "message.refused",
    ):
        assert line in done.stdout
    assert list(tmp_path.iterdir()) == []


@contextmanager
def staying(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The long-running form once it waits, and what it has printed."""
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True)
    try:
        assert process.stdout
        printed = ""
        while "Ctrl-C stops everything" not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        yield process, printed
    finally:
        process.terminate()
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_nothing_is_left(environment: dict[str, str], tmp_path: Path, number: int) -> None:
    with staying(environment) as (process, _):
        (proxy,) = children(process.pid)
        assert [path.name[:14] for path in tmp_path.iterdir()] == ["tlsproxy-demo-"]
        process.send_signal(number)
        assert process.wait(LIMIT_S) == 0
        assert list(tmp_path.iterdir()) == []
        assert not Path(f"/proc/{proxy}").exists()


def test_a_proxy_that_ends_by_itself_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    with staying(environment) as (process, _):
        (proxy,) = children(process.pid)
        os.kill(proxy, signal.SIGKILL)
        assert process.stdout
        assert "✗ the proxy ended by itself" in process.stdout.read()
        assert process.wait(LIMIT_S) == 1
        assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_the_lines_to_try_work(environment: dict[str, str]) -> None:
    if not (shutil.which("curl") and shutil.which("openssl")) and not os.environ.get("CI"):
        pytest.skip("curl and openssl are not installed")
    with staying(environment) as (process, printed):
        lines = [line.strip() for line in printed.splitlines()]
        curls = [shlex.split(line) for line in lines if line.startswith("curl ")]
        (sending,) = [line for line in lines if line.startswith("echo ")]
        clients = [shlex.split(line) for line in lines if line.startswith("openssl ")]
        assert (len(curls), len(clients)) == (4, 5)
        for number, curl in enumerate(curls, start=1):
            done = subprocess.run([*curl, "-sS"], capture_output=True, timeout=LIMIT_S, check=True)
            assert b"Message-ID: <letter-%d@old.example>" % number in done.stdout
        subprocess.run(["sh", "-c", sending], capture_output=True, timeout=LIMIT_S, check=True)
        for client in clients:
            goodbye = b"QUIT\n" if {"pop3", "smtp"} & set(client) else b"a LOGOUT\n"
            done = subprocess.run(client, input=goodbye, capture_output=True, timeout=LIMIT_S, check=True)
            assert b"verify return:1" in done.stderr
        assert process.stdout
        while "session.closed" not in (line := process.stdout.readline()):
            assert line
        assert re.search(r"user=demo TLSv1\.3 relay/", line)
        while "message.relayed" not in (line := process.stdout.readline()):
            assert line
        assert "user=demo sender=demo@old.example recipients=1 to=friend@elsewhere.example" in line


def test_a_step_that_fails_is_told_and_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_stage: Stage) -> None:
        raise StepError("it went wrong")

    monkeypatch.setattr(walk, "STEPS", (Step(title="Wrong", reason="Why not.", act=fail, proof="never"),))
    assert walk.run(once=True) == 1
    assert "✗ it went wrong" in capsys.readouterr().out


def test_a_proxy_that_does_not_come_up_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(walk, "configuration", lambda *_, **__: "[nonsense]")
    before = signal.getsignal(signal.SIGINT)
    assert walk.run(once=True) == 1
    out = capsys.readouterr().out
    assert "nonsense" in out
    assert "the proxy did not come up" in out
    assert signal.getsignal(signal.SIGINT) is before
