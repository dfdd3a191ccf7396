import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tlsproxy.config.load import load_config
from tlsproxy.core.addresses import peer_from
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LogLevel
from tlsproxy.core.outcome import Outcome, Phase, Reason
from tlsproxy.core.summary import Summary

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMON = ("ts", "level", "event")


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    found = re.search(rf"^##+ {re.escape(title)}$\n(.*?)(?=^##|\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def table(title: str) -> dict[str, list[str]]:
    """First cell of each row to the other cells."""
    rows = [re.split(r"(?<!\\) \| ", each[2:-2]) for each in section(title).splitlines() if each.startswith("| `")]
    names = [row[0].strip("`") for row in rows]
    assert len(names) == len(set(names))
    return {name: row[1:] for name, row in zip(names, rows, strict=True)}


def examples() -> list[dict[str, Any]]:
    """Every log line in the README."""
    return [json.loads(each) for each in README.splitlines() if each.startswith('{"ts":')]


def a_summary() -> Summary:
    return Summary(session="a", listener="imaps", protocol="imap", client=peer_from("192.0.2.1", 1))


def test_every_field_of_a_closed_session_is_told() -> None:
    fields = a_summary().as_fields(Outcome(phase=Phase.RELAY, reason=Reason.CLIENT_CLOSED))
    assert list(table("session.closed")) == list(fields)


def test_every_field_that_smtp_adds_is_told() -> None:
    summary = a_summary()
    fields = summary.as_fields(Outcome(phase=Phase.MAIL, reason=Reason.CLIENT_CLOSED))
    (example,) = (each for each in examples() if each["event"] == Event.SESSION_CLOSED and "role" in each)
    assert list(table("SMTP in session.closed")) == [name for name in example if name not in {*fields, *COMMON}]


@pytest.mark.parametrize("title", ["session.closed", "SMTP in session.closed"])
def test_every_field_has_an_example(title: str) -> None:
    assert [name for name, cells in table(title).items() if len(cells) != 2 or not cells[1]] == []


def test_every_event_is_told() -> None:
    assert set(table("Every event")) == set(Event)


def test_every_event_has_one_line_as_example() -> None:
    lines = [json.loads(each)["event"] for each in section("Every event").splitlines() if each.startswith('{"ts":')]
    reserved = {name for name, cells in table("Every event").items() if cells[0] == "none"}
    assert sorted(lines) == sorted(set(Event) - {Event.SESSION_CLOSED} - reserved)


def test_an_example_has_a_level_that_its_row_names() -> None:
    rows = table("Every event")
    assert [each for each in examples() if each["level"] not in rows[each["event"]][0]] == []


def test_an_example_has_the_fields_that_its_row_names() -> None:
    rows = table("Every event")
    common = {"ts", "level", "event", "session", "listener", "protocol", "client_ip", "client_port"}
    for example in examples():
        if example["event"] == Event.SESSION_CLOSED:
            continue
        told = set(re.findall(r"`([a-z_]+)`", rows[example["event"]][-1]))
        assert told <= set(example), example["event"]
        assert set(example) - common <= told, example["event"]


def test_every_reason_is_told_with_its_level() -> None:
    levels = {reason: Outcome(phase=Phase.LOGIN, reason=reason).level for reason in Reason}
    assert {name: LogLevel(cells[0]) for name, cells in table("Reasons").items()} == levels


def test_every_phase_is_told() -> None:
    (cell, _) = table("session.closed")["phase"]
    assert [each for each in re.findall(r"`([a-z]+)`", cell) if each in set(Phase)] == list(Phase)


def test_the_examples_satisfy_the_schema() -> None:
    path = ROOT / "deploy/log-schema.json"
    for example in examples():
        jsonschema.validate(example, json.loads(path.read_text()))


def toml_blocks(document: str) -> list[str]:
    text = re.sub(r"^ {3}", "", (ROOT / document).read_text(), flags=re.MULTILINE)
    return re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_configuration_in_the_readme_has_five_lines_and_serves_four_ports(tmp_path: Path) -> None:
    block, smtp = toml_blocks("README.md")
    assert len(block.splitlines()) == 5
    names = ["imaps", "imap", "pop3s", "pop3"]
    for text, more in ((block, []), (block + smtp, ["smtp", "submissions", "submission"])):
        (tmp_path / "tlsproxy.toml").write_text(text)
        config = load_config(tmp_path / "tlsproxy.toml", {})
        assert [each.name for each in config.listener] == names + more


def test_the_configurations_for_smtp_can_be_loaded(tmp_path: Path) -> None:
    tls = '[tls]\ncertificates = [{ chain = "mail.pem", key = "mail.key" }]\n'
    for block, names in zip(toml_blocks("deploy/smtp.md"), (["submissions", "submission"], ["smtp"]), strict=True):
        (tmp_path / "tlsproxy.toml").write_text(tls + block)
        config = load_config(tmp_path / "tlsproxy.toml", {})
        assert [each.name for each in config.listener if each.role] == names


def test_the_configurations_for_systemd_can_be_loaded(tmp_path: Path) -> None:
    whole, sockets = toml_blocks("deploy/README.md")
    for text, first_bind in ((whole, "0.0.0.0:993"), (whole + sockets, "fd:imaps")):
        (tmp_path / "tlsproxy.toml").write_text(text)
        config = load_config(tmp_path / "tlsproxy.toml", {})
        assert str(config.listener[0].bind[0]) == first_bind


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md", "deploy/README.md", "deploy/smtp.md"])
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    text = path.read_text()
    anchors = {
        re.sub(r"[^a-z0-9 _-]", "", each.lower()).replace(" ", "-")
        for each in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("https://"):
            assert (path.parent / target).exists(), target
