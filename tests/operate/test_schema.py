"""The schema that ships in deploy/ against lines as the log writes them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tlsproxy.core.addresses import Peer, peer_from
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import ListenerTls, LogFormat, LoginResult, LogLevel, Mode, ProtocolName, Side, SmtpRole
from tlsproxy.core.outcome import Outcome, Phase, Reason
from tlsproxy.core.summary import SCHEMA_VERSION, Summary
from tlsproxy.operate.logs import Logs
from tlsproxy.senders.identity import HelloResult, IprevResult
from tlsproxy.senders.local import Skip
from tlsproxy.senders.spf import SpfVerdict

PATH = Path(__file__).parents[2] / "deploy" / "log-schema.json"
SCHEMA: dict[str, Any] = json.loads(PATH.read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())

CLIENT = peer_from("192.0.2.1", 49152)
CONNECTION: dict[str, Any] = {
    "session": "k3j2h4g1",
    "listener": "imaps",
    "protocol": ProtocolName.IMAP,
    "client_ip": str(CLIENT.ip),
    "client_port": CLIENT.port,
}
LISTENER: dict[str, Any] = {
    "listener": "imap",
    "protocol": ProtocolName.IMAP,
    "address": "[::]:143",
    "tls": ListenerTls.STARTTLS,
}
CERTIFICATE: dict[str, Any] = {
    "chain": "certs/mail.pem",
    "names": ["mail.example.org"],
    "not_after": "2026-08-01T00:00:00Z",
    "days_left": 20,
}


def summary(client: Peer = CLIENT, **facts: Any) -> Summary:
    return Summary(session="k3j2h4g1", listener="imaps", protocol=ProtocolName.IMAP, client=client, **facts)


def closed(phase: Phase = Phase.RELAY, reason: Reason = Reason.CLIENT_CLOSED, **facts: Any) -> dict[str, Any]:
    return dict(summary(**facts).as_fields(Outcome(phase=phase, reason=reason)))


MESSAGE: dict[str, Any] = {**CONNECTION, "message": "k3j2h4g1.1", "user": None, "sender": "joe@b.example"}
SMTP: dict[str, Any] = {
    "role": SmtpRole.MX,
    "helo": "mail.b.example",
    "iprev": IprevResult.PASS,
    "helo_check": HelloResult.MATCH,
    "spf": SpfVerdict.FAIL,
    "would": Mode.REJECT,
    "checks": "done",
    "messages": 1,
    "recipients": 2,
    "refused": 0,
}


LINES: dict[Event, dict[str, Any]] = {
    Event.SERVER_STARTED: {
        "version": "1.0",
        "upgraded_from": None,
        "python": "3.11.7",
        "openssl": "OpenSSL 3.0.19",
        "workers": 1,
        "loop": "selector",
        "total": 4096,
        "sessions": 0,
        "pid": 42,
    },
    Event.SERVER_DRAINING: {"sessions": 3, "seconds": 30.0},
    Event.SERVER_STOPPED: {"sessions": 0},
    Event.WORKER_STARTED: {"worker": 1, "pid": 43},
    Event.WORKER_STUCK: {"worker": 1, "pid": 43, "seconds": 10.0},
    Event.WORKER_ENDED: {"worker": 1, "pid": 43, "cause": "signal 9 (Killed)", "sessions": 3},
    Event.WORKER_BROKEN: {"exception": "ValueError: odd (at worker.py:40 serve)"},
    Event.UPGRADE_STARTED: {"version": "1.0", "sessions": 3},
    Event.UPGRADE_REJECTED: {"mistakes": ["it does not start"]},
    Event.CONNECTIONS_SHED: {
        "client_ip": str(CLIENT.ip),
        "count": 3,
        "reasons": {"address_full": 1, "rate_exceeded": 2},
        "seconds": 10.0,
    },
    Event.LISTENER_STARTED: LISTENER,
    Event.LISTENER_PAUSED: {**LISTENER, "error": "Too many open files"},
    Event.LISTENER_SKIPPED: {**LISTENER, "error": "[::]:993: this machine has no IPv6"},
    Event.LISTENER_STOPPED: LISTENER,
    Event.CONFIG_LOADED: {"listeners": 2, "backends": 1, "what": "start", "needs_restart": []},
    Event.CONFIG_REJECTED: {"mistakes": ["listener[0].bind: is missing"]},
    Event.CERTIFICATE_LOADED: CERTIFICATE,
    Event.CERTIFICATE_EXPIRING: {**CERTIFICATE, "days_left": -1},
    Event.BACKEND_LOST: {
        "backend": "imap",
        "address": "127.0.0.1:1143",
        "reason": Reason.BACKEND_DOWN,
        "error": "Connection refused",
    },
    Event.BACKEND_RECOVERED: {"backend": "imap", "address": "127.0.0.1:1143", "seconds": 1.5},
    Event.SESSION_OPENED: CONNECTION,
    Event.SESSION_CLOSED: closed(),
    Event.SESSION_BROKEN: {**CONNECTION, "exception": "ValueError: odd (at session.py:90 run)"},
    Event.LOGIN_FAILED: {
        **CONNECTION,
        "user": b"anna",
        "mechanism": "PLAIN",
        "credential": True,
        "attempt": 1,
        "tls_version": "TLSv1.3",
    },
    Event.LOGIN_SUCCEEDED: {**CONNECTION, "user": b"anna", "mechanism": "PLAIN"},
    Event.PASSWORD_EXPOSED: {**CONNECTION, "user": None, "mechanism": "LOGIN"},
    Event.STARTTLS_INJECTION: CONNECTION,
    Event.GREETING_PRECEDED: CONNECTION,
    Event.SENDER_UNCHECKED: {**CONNECTION, "reason": Skip.PRIVATE, "count": 3, "hint": "look at exempt_networks"},
    Event.SENDER_MISMATCHED: MESSAGE,
    Event.MESSAGE_RELAYED: {
        **MESSAGE,
        "recipients": 2,
        "to": ["anna@example.org", "bert@example.org"],
        "size": 1000,
        "bare_newlines": 0,
        "would": None,
        "reply": "250 2.0.0 queued",
    },
    Event.MESSAGE_REFUSED: {
        **MESSAGE,
        "reason": "spf_fail",
        "by": "proxy",
        "recipient": "anna@example.org",
        "limit": None,
        "reply": "550 5.7.23 no",
    },
    Event.RELAY_EXPOSED: {"backend": "smtp", "address": "127.0.0.1:25", "hint": "look at mynetworks"},
    Event.DNS_FAILED: {"asked": 20, "failed": 11, "seconds": 60.0},
    Event.JUDGE_FAILED: {
        "backend": "imap",
        "reason": Reason.BACKEND_DOWN,
        "error": "127.0.0.1:143: Connection refused",
    },
    Event.LOG_DROPPED: {"count": 7},
}
OPTIONAL = {(Event.CONFIG_LOADED, "path")}


@dataclass(frozen=True, slots=True)
class Settings:
    file: str
    format: LogFormat = LogFormat.JSON
    level: LogLevel = LogLevel.DEBUG


Written = Callable[[Event, dict[str, Any]], dict[str, Any]]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def written(event: Event, fields: dict[str, Any]) -> dict[str, Any]:
        path = tmp_path / "log"
        path.unlink(missing_ok=True)
        logs = Logs.start(Settings(str(path)))
        logs.logger.info(event, **fields)
        assert logs.stop()
        (line,) = path.read_text("utf-8").splitlines()
        told: dict[str, Any] = json.loads(line)
        return told

    return written


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_event_has_its_part() -> None:
    assert set(LINES) == set(Event)
    assert SCHEMA["properties"]["event"]["enum"] == list(Event)
    told = {part["if"]["properties"]["event"]["const"]: part["then"]["$ref"] for part in SCHEMA["allOf"]}
    assert told == {event: f"#/$defs/{event}" for event in Event}
    assert set(Event) <= set(SCHEMA["$defs"])


@pytest.mark.parametrize("event", Event)
def test_line_is_valid_and_a_missing_field_is_noticed(written: Written, event: Event) -> None:
    line = written(event, LINES[event])
    VALIDATOR.validate(line)
    for key in line:
        without = {name: value for name, value in line.items() if name != key}
        assert VALIDATOR.is_valid(without) is ((event, key) in OPTIONAL), key


@pytest.mark.parametrize("event", Event)
def test_value_of_another_kind_is_noticed(written: Written, event: Event) -> None:
    line = written(event, LINES[event])
    for key in line:
        assert not VALIDATOR.is_valid({**line, key: {"odd": [None]}}), key


def test_closed_session_has_nothing_but_what_the_schema_names(written: Written) -> None:
    line = written(Event.SESSION_CLOSED, {**closed(), **SMTP})
    assert set(SCHEMA["$defs"]["session.closed"]["properties"]) == set(line)
    assert not VALIDATOR.is_valid({**line, "password": "x"})


def test_closed_session_of_smtp_has_all_of_its_fields_or_none(written: Written) -> None:
    line = written(Event.SESSION_CLOSED, {**closed(Phase.MAIL), **SMTP})
    VALIDATOR.validate(line)
    for key in SMTP:
        assert not VALIDATOR.is_valid({name: value for name, value in line.items() if name != key}) or key == "role"
        assert not VALIDATOR.is_valid({**line, key: {"odd": [None]}}), key
    VALIDATOR.validate({**line, **dict.fromkeys(("helo", "iprev", "helo_check", "spf", "would", "checks"))})


def test_closed_session_with_every_fact(written: Written) -> None:
    facts = {
        "client": peer_from("2001:db8::1", 1),
        "tls_version": "TLSv1.3",
        "tls_cipher": "TLS_AES_256_GCM_SHA384",
        "tls_sni": "mail.example.org",
        "tls_alpn": "imap",
        "tls_resumed": False,
        "tls_error": "alert",
        "user": b"anna\xff",
        "mechanism": "PLAIN",
        "login": LoginResult.OK,
        "login_attempts": 2,
        "client_id": b"name=K-9",
        "backend": "imap",
        "backend_address": "127.0.0.1:1143",
        "backend_error": "closed",
        "source_port": 40000,
        "bytes_from_client": 1 << 40,
        "seconds": dict.fromkeys(Phase, 1.25),
    }
    line = written(Event.SESSION_CLOSED, closed(**facts))
    VALIDATOR.validate(line)
    assert None not in line.values()


def test_schema_knows_every_ending_and_no_other() -> None:
    defs = SCHEMA["$defs"]
    assert defs["session.closed"]["properties"]["schema"]["const"] == SCHEMA_VERSION
    assert defs["reason"]["enum"] == list(Reason)
    assert defs["phase"]["enum"] == list(Phase)
    assert defs["protocol"]["enum"] == list(ProtocolName)
    assert defs["listener_tls"]["enum"] == list(ListenerTls)
    assert defs["session.closed"]["properties"]["side"]["enum"] == list(Side)
    assert defs["session.closed"]["properties"]["login"]["enum"] == list(LoginResult)
    assert SCHEMA["properties"]["level"]["enum"] == list(LogLevel)


def test_schema_knows_every_word_of_smtp_and_no_other() -> None:
    told = SCHEMA["$defs"]["session.closed"]["properties"]
    assert told["role"]["enum"] == list(SmtpRole)
    assert told["iprev"]["enum"] == [*IprevResult, None]
    assert told["helo_check"]["enum"] == [*HelloResult, None]
    assert told["spf"]["enum"] == [*SpfVerdict, None]
    assert told["checks"]["enum"] == ["done", "none", *Skip, None]
    assert SCHEMA["$defs"]["would"]["enum"] == [Mode.DEFER, Mode.REJECT, None]
