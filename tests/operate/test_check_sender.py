"""``tlsproxy check-sender``: every verdict on one sender, and what would follow from it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.nameserver import NameServer
from rig.zones import simple_zones
from typer.testing import CliRunner, Result

from tlsproxy import cli

ZONES = {
    "7.2.0.192.in-addr.arpa": ["PTR mx1.b.example"],
    "mx1.b.example": ["A 192.0.2.7"],
    "mx2.b.example": ["A 192.0.2.99"],
    "b.example": ["TXT v=spf1 -all exp=why.b.example"],
    "why.b.example": ["TXT ask %{i}'s postmaster"],
    "good.example": ["TXT v=spf1 ip4:192.0.2.7 -all"],
    "broken.example": ["TXT v=spf1 what:ever"],
    "slow.example": ["TIMEOUT"],
    "1.0.0.10.in-addr.arpa": [],
}
CONFIG = """
[tls]
certificates = [{ chain = "mail.pem", key = "mail.key" }]
[backend.smtp]
address = "127.0.0.1:1025"
[smtp]
hostname = "mx.example.org"
[smtp.mx]
local_domains = ["example.org"]
"""
Run = Callable[..., Result]


@pytest.fixture
def dns() -> Iterator[NameServer]:
    with NameServer(simple_zones(ZONES)) as server:
        yield server


@pytest.fixture
def server(dns: NameServer) -> str:
    host, port = dns.address
    return f"{host}:{port}"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "DEFAULT_CONFIG", tmp_path / "default.toml")
    return lambda *arguments: CliRunner().invoke(cli.app, ["check-sender", "--dns", server, *arguments])


def _config(more: str, dns: str = "") -> str:
    Path("mx.toml").write_text(CONFIG + more + (f'[dns]\ntimeout = "200ms"\nservers = ["{dns}"]\n' if dns else ""))
    return "mx.toml"


def test_a_sender_that_is_denied(run: Run) -> None:
    result = run("192.0.2.7", "mx2.b.example", "a@b.example")
    assert result.exit_code == 1
    assert (
        result.stdout
        == """\
192.0.2.7, HELO mx2.b.example, MAIL FROM <a@b.example>

reverse DNS       pass   mx1.b.example
HELO              match  mismatch if relaxed is false
SPF of MAIL FROM  fail   -all
SPF of HELO       none
b.example says: ask 192.0.2.7's postmaster

                  observe  standard  strict
reverse DNS       accept   accept    accept
HELO              accept   accept    reject
SPF of MAIL FROM  tag      reject    reject
SPF of HELO       accept   accept    accept
all together      tag      reject    reject

standard: 550 5.7.23 192.0.2.7 may not send mail for b.example (SPF) (id check)
strict: 550 5.7.1 HELO name mx2.b.example does not belong to 192.0.2.7 (id check)
"""
    )


def test_the_same_as_json(run: Run) -> None:
    result = run("192.0.2.7", "mx2.b.example", "<a@b.example>", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["ip"], found["helo"], found["mail_from"]) == ("192.0.2.7", "mx2.b.example", "a@b.example")
    assert (found["is_accepted"], found["remarks"]) == (False, [])
    assert found["reverse_dns"] == {"result": "pass", "names": ["mx1.b.example"]}
    assert (found["helo_relaxed"], found["helo_exact"]) == ("match", "mismatch")
    assert found["spf"] == {
        "verdict": "fail",
        "domain": "b.example",
        "mechanism": "-all",
        "explanation": "ask 192.0.2.7's postmaster",
        "problem": "",
    }
    assert found["spf_helo"]["verdict"] == "none"
    subjects = ["reverse DNS", "HELO", "SPF of MAIL FROM", "SPF of HELO", "all together"]
    assert [row["subject"] for row in found["rows"]] == subjects
    denied = "reject: 550 5.7.23 192.0.2.7 may not send mail for b.example (SPF) (id check)"
    assert found["rows"][2]["actions"] == {"observe": "tag", "standard": denied, "strict": denied}


@pytest.mark.parametrize("null", ["", "<>"])
def test_the_null_sender(run: Run, null: str) -> None:
    result = run("192.0.2.7", "good.example", null)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "192.0.2.7, HELO good.example, MAIL FROM <>"
    assert "SPF of MAIL FROM  pass      ip4:192.0.2.7" in lines
    assert not any(line.startswith("SPF of HELO") for line in lines), "it is the same"


def test_a_record_that_is_broken(run: Run) -> None:
    result = run("192.0.2.7", "mx1.b.example", "a@broken.example", "--json")
    spf = json.loads(result.stdout)["spf"]
    assert (result.exit_code, spf["verdict"]) == (0, "permerror")
    assert spf["problem"]


def test_a_configuration_is_one_more_column_and_decides(run: Run, server: str) -> None:
    config = _config('[smtp.mx.spf]\nfail = "tag"\nsoftfail = "tag"\n', server)
    result = run("192.0.2.7", "mx1.b.example", "a@b.example", "-c", config)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "                  observe  standard  strict  configured" in lines
    assert "all together      tag      reject    reject  tag" in lines
    config = _config('dry_run = true\n[smtp.mx.identity]\nno_ptr = "defer"\n', server)
    result = run("192.0.2.8", "mx1.b.example", "a@good.example", "--json", "-c", config)
    found = json.loads(result.stdout)
    assert (result.exit_code, found["rows"][-1]["actions"]["configured"]) == (0, "tag, would reject")


def test_the_configured_name_servers_and_deadlines_are_used(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    config = _config("", server)
    arguments = ["check-sender", "192.0.2.7", "mx1.b.example", "a@slow.example", "-c", config, "--json"]
    result = CliRunner().invoke(cli.app, arguments)
    found = json.loads(result.stdout)
    assert (found["reverse_dns"]["result"], found["spf"]["verdict"]) == ("pass", "temperror")


def test_our_own_name_is_known_from_the_configuration(run: Run) -> None:
    result = run("192.0.2.7", "mx.example.org", "a@good.example", "-c", _config(""), "--json")
    assert json.loads(result.stdout)["helo_exact"] == "impersonation"
    assert result.exit_code == 1


def test_the_default_file_is_used(run: Run) -> None:
    cli.DEFAULT_CONFIG.write_text(CONFIG)
    assert "configured" in run("192.0.2.7", "mx1.b.example", "a@good.example").stdout


@pytest.mark.parametrize(
    ("more", "ip", "remark"),
    [
        ("", "10.0.0.1", "10.0.0.1 is a private address: it is not checked, and accepted"),
        ("", "::ffff:10.0.0.1", "10.0.0.1 is a private address: it is not checked, and accepted"),
        ('exempt_networks = ["192.0.2.0/24"]\n', "192.0.2.8", "192.0.2.8 is among [smtp.mx] exempt_networks: it is"),
    ],
)
def test_who_is_not_checked(run: Run, more: str, ip: str, remark: str) -> None:
    result = run(ip, "x.example", "a@b.example", "-c", _config(more))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].startswith(remark)
    assert "reverse DNS       permerror" in result.stdout


@pytest.mark.parametrize("forwarders", ['networks = ["192.0.2.7"]', 'ptr_suffixes = ["b.example"]'])
def test_a_forwarder(run: Run, forwarders: str) -> None:
    config = _config(f"trusted_forwarders = {{ {forwarders} }}\n")
    result = run("192.0.2.7", "mx1.b.example", "a@b.example", "-c", config)
    assert result.exit_code == 0
    assert "192.0.2.7 is one of [smtp.mx] trusted_forwarders: SPF is not checked." in result.stdout


def test_a_configuration_without_mx(run: Run) -> None:
    Path("imap.toml").write_text(CONFIG.partition("[backend")[0] + '[backend.imap]\naddress = "127.0.0.1:1143"\n')
    result = run("192.0.2.7", "mx1.b.example", "a@good.example", "-c", "imap.toml")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "The configuration has no [smtp.mx]; what the profiles would do is shown."
    assert "configured" not in result.stdout


def test_arguments_that_cannot_be_read_are_told_together(run: Run) -> None:
    result = run("192.0.2", "\x1b[2J", "a@@b")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "tlsproxy: 3 mistakes in the arguments:",
        '  IP = "192.0.2": write an address, as "192.0.2.7"',
        '  HELO = "?[2J": a session would be told: 501 5.5.4 EHLO needs a host name or an address literal',
        '  MAILFROM = "a@@b": a session would be told: 501 5.1.7 this is no sender\'s address',
    ]


def test_name_servers_that_cannot_be_read(run: Run) -> None:
    result = run("192.0.2.7", "mx1.b.example", "a@b.example", "--dns", "resolver.example")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "tlsproxy: 1 mistake in the name servers:",
        '  --dns: write the address of a name server, as "127.0.0.1", "127.0.0.1:5353" or "[::1]:5353"',
    ]


def test_a_configuration_that_cannot_be_read(run: Run) -> None:
    result = run("192.0.2.7", "mx1.b.example", "a@b.example", "-c", "nowhere.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("tlsproxy: 1 mistake in nowhere.toml:")
