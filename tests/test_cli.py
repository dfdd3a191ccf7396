"""The commands: what they print where, and with which exit code they leave."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner, Result

import tlsproxy
from tlsproxy import cli
from tlsproxy.config.describe import reference
from tlsproxy.config.model import Config
from tlsproxy.core.errors import BindError
from tlsproxy.operate import check
from tlsproxy.operate.findings import Finding, Level
from tlsproxy.senders.passwords.book import parse_book

FILE = """
[tls]
certificates = [{ chain = "mail.pem", key = "mail.key" }]
[backend.imap]
address = "127.0.0.1:1143"
"""
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "DEFAULT_CONFIG", tmp_path / "default.toml")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "200")
    Path("good.toml").write_text(FILE)
    Path("bad.toml").write_text(FILE + "[limits]\ntotal = 0\n[log]\nlevel = 5\n")
    return lambda *arguments: CliRunner().invoke(cli.app, arguments)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Stands in for the supervisor: what it was told to serve, loaded twice as a reload would."""
    configs: list[Config] = []

    def _run(source: Callable[[], Config], _: object) -> int:
        configs.extend([source(), source()])
        return 0

    _replace(monkeypatch, "process", "supervisor", _run)
    return configs


def _replace(monkeypatch: pytest.MonkeyPatch, package: str, name: str, run: Callable[..., int]) -> None:
    module = ModuleType(f"tlsproxy.{package}.{name}")
    module.run = run  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(f"tlsproxy.{package}.{name}", module, raising=False)


def test_version(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"tlsproxy {tlsproxy.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "-h"], ["check", "-h"], ["config", "-h"], ["demo", "-h"], ["hash-password", "-h"]]
)
def test_help_tells_the_exit_codes(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert (
        "Exit codes: 0 all is well; 1 failed while running, or an address cannot be had now; 2 wrong usage"
        in " ".join(result.output.split())
    )


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    result = run()
    assert result.exit_code == 2
    assert "Usage: " in result.output


def test_wrong_usage(run: Run) -> None:
    assert run("frobnicate").exit_code == 2


def test_run_serves_a_file_which_is_loaded_anew_each_time(run: Run, served: list[Config]) -> None:
    assert run("run", "-c", "good.toml").exit_code == 0
    first, second = served
    assert first == second
    assert first is not second
    assert first.tls.certificates[0].chain == Path("mail.pem").absolute()


def test_run_serves_the_default_file(run: Run, served: list[Config]) -> None:
    cli.DEFAULT_CONFIG.write_text(FILE)
    assert run("run").exit_code == 0
    assert len(served) == 2


def test_run_serves_the_quick_form(run: Run, served: list[Config]) -> None:
    quick = ["--imap", "127.0.0.1:1143", "--pop3", "127.0.0.1:1110", "--cert", "a.pem", "--key", "a.key"]
    assert run("run", *quick).exit_code == 0
    assert list(served[0].backend) == ["imap", "pop3"]


def test_run_obeys_the_environment(run: Run, served: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLSPROXY__LIMITS__TOTAL", "12")
    assert run("run", "-c", "good.toml").exit_code == 0
    assert run("run", "--imap", "127.0.0.1:1143", "--cert", "a", "--key", "b").exit_code == 0
    assert [config.limits.total for config in served] == [12] * 4


def test_run_leaves_with_the_supervisors_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, "process", "supervisor", lambda *_: 1)
    assert run("run", "-c", "good.toml").exit_code == 1


def test_run_tells_mistakes_one_a_line(run: Run, served: list[Config]) -> None:
    result = run("run", "-c", "bad.toml")
    assert (result.exit_code, result.stdout, served) == (2, "", [])
    assert result.stderr.splitlines() == [
        "tlsproxy: 2 mistakes in bad.toml:",
        "  limits.total = 0: must be at least 1",
        '  log.level = 5: write "debug", "info", "warning" or "error"',
    ]


def test_run_tells_mistakes_of_the_quick_form(run: Run, served: list[Config]) -> None:
    result = run("run", "--imap", "143", "--cert", "a", "--key", "b")
    assert (result.exit_code, served) == (2, [])
    assert result.stderr.splitlines() == [
        "tlsproxy: 1 mistake in the options:",
        '  --imap = "143": the host is missing; write "127.0.0.1:143", or "0.0.0.0:143" for every IPv4 address',
    ]


def test_run_tells_why_it_could_not_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def _fail(*_: object) -> int:
        raise BindError("127.0.0.1:993: taken")

    _replace(monkeypatch, "process", "supervisor", _fail)
    result = run("run", "-c", "good.toml")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "tlsproxy: 127.0.0.1:993: taken\n")


def test_a_file_and_the_quick_form_exclude_each_other(run: Run, served: list[Config]) -> None:
    result = run("run", "-c", "good.toml", "--imap", "127.0.0.1:1143")
    assert (result.exit_code, served) == (2, [])
    assert "a file and the quick form exclude each other" in result.stderr


@pytest.mark.parametrize("command", ["run", "check"])
def test_without_anything_the_three_ways_to_start_are_told(run: Run, served: list[Config], command: str) -> None:
    result = run(command)
    assert (result.exit_code, served) == (2, [])
    for way in ("tlsproxy run -c FILE", "tlsproxy run --imap 127.0.0.1:1143 --cert FILE --key FILE", "tlsproxy demo"):
        assert way in result.stderr


FINDINGS = [
    Finding(level=Level.OK, subject="listener imaps", text="fine"),
    Finding(level=Level.WARNING, subject="python", text="slow"),
]


def test_check_prints_a_line_for_each_finding(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "examine", lambda *_: FINDINGS)
    result = run("check", "-c", "good.toml")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ok       listener imaps: fine",
        "warning  python: slow",
        "0 problems, 1 warning: tlsproxy is ready to run",
    ]


def test_check_leaves_with_3_after_a_problem(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Finding(level=Level.PROBLEM, subject="backend.imap", text="down")
    monkeypatch.setattr(check, "examine", lambda *_: [*FINDINGS, problem])
    result = run("check", "-c", "good.toml")
    assert result.exit_code == 3
    assert result.stdout.splitlines()[-1] == "1 problem, 1 warning: tlsproxy would not serve everything"


def test_check_as_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "examine", lambda *_: FINDINGS)
    result = run("check", "-c", "good.toml", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "mistakes": [],
        "findings": [
            {"level": "ok", "subject": "listener imaps", "text": "fine"},
            {"level": "warning", "subject": "python", "text": "slow"},
        ],
    }


def test_check_tells_mistakes(run: Run) -> None:
    result = run("check", "-c", "bad.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[0] == "tlsproxy: 2 mistakes in bad.toml:"


def test_check_tells_mistakes_as_json(run: Run) -> None:
    result = run("check", "-c", "bad.toml", "--json")
    assert (result.exit_code, result.stderr) == (2, "")
    assert json.loads(result.stdout)["mistakes"][0] == {
        "key": "limits.total",
        "value": "0",
        "hint": "must be at least 1",
    }


def test_config_prints_the_reference(run: Run) -> None:
    result = run("config")
    assert (result.exit_code, result.stdout) == (0, reference())


def test_config_prints_a_file_with_every_key(run: Run) -> None:
    result = run("config", "-c", "good.toml")
    assert result.exit_code == 0
    assert f'chain = "{Path.cwd()}/mail.pem"' in result.stdout
    assert "#total = 4096" in result.stdout
    assert run("config", "-c", "bad.toml").exit_code == 2


@pytest.mark.parametrize(("arguments", "once"), [(["demo"], False), (["demo", "--once"], True)])
def test_demo(run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], *, once: bool) -> None:
    asked: list[bool] = []

    def _run(*, once: bool) -> int:
        asked.append(once)
        return 1

    _replace(monkeypatch, "demo", "walk", _run)
    assert run(*arguments).exit_code == 1
    assert asked == [once]


def hashing(*arguments: str, typed: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tlsproxy", "hash-password", *arguments]
    return subprocess.run(command, input=typed, capture_output=True, check=False)


def test_hash_password_reads_a_line() -> None:
    done = hashing("--user", "anna", typed="grün \nmore\n".encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert parse_book(done.stdout).is_right(b"anna", "grün ".encode())
    assert hashing(typed=b"secret").stdout.startswith(b"$scrypt$ln=15,r=8,p=1$")
    assert parse_book(hashing("--user", "anna", typed=b"\xff\r\n").stdout).is_right(b"anna", b"\xff")


def test_hash_password_tells_what_cannot_be() -> None:
    done = hashing("--user", "an:na", typed=b"secret\n")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"tlsproxy: a user's name has no colon")
    done = hashing(typed=b"\n")
    assert (done.returncode, done.stderr) == (2, b"tlsproxy: a password is not empty and has no control character\n")


def test_hash_password_takes_no_password_as_an_argument() -> None:
    done = hashing("secret", typed=b"")
    assert (done.returncode, done.stdout) == (2, b"")


def test_hash_password_asks_twice_on_a_terminal_and_shows_nothing() -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "tlsproxy", "hash-password", "--user", "anna"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        painted = b""
        for question in (b"Password: ", b"confirmation: "):
            while not painted.endswith(question):  # what is typed before it is thrown away
                painted += os.read(ours, 1000)
            os.write(ours, b"secret\n")
        line, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert b"secret" not in painted
    assert parse_book(line).is_right(b"anna", b"secret")


def test_the_package_can_be_run() -> None:
    command = [sys.executable, "-m", "tlsproxy", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"tlsproxy {tlsproxy.__version__}\n"


def test_a_plain_command_loads_no_event_loop() -> None:
    """`tlsproxy config` and `--version` are called by scripts; they should answer at once."""
    heavy = "{'uvloop', 'cryptography', 'structlog'}"
    script = f"import sys, tlsproxy.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
