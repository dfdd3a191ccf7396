"""The facts of a connection and how wire bytes become text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.addresses import peer_from
from tlsproxy.core.outcome import Outcome, Phase, Reason
from tlsproxy.core.summary import SCHEMA_VERSION, Summary, readable

ENDED = Outcome(phase=Phase.RELAY, reason=Reason.BACKEND_CLOSED)


def summary() -> Summary:
    return Summary(session="k3j2h4g1", listener="imaps", protocol="imap", client=peer_from("192.0.2.1", 49152))


def test_what_is_unknown_is_null_and_never_missing() -> None:
    full = summary()
    for name in Summary.__slots__:
        if getattr(full, name) is None:
            setattr(full, name, b"x" if name in {"user", "client_id"} else "x")
    assert list(summary().as_fields(ENDED)) == list(full.as_fields(ENDED))
    assert None in summary().as_fields(ENDED).values()
    assert None not in full.as_fields(ENDED).values()


def test_fields_say_who_and_how_it_ended() -> None:
    fields = summary().as_fields(ENDED)
    expected = {
        "schema": SCHEMA_VERSION,
        "session": "k3j2h4g1",
        "listener": "imaps",
        "protocol": "imap",
        "client_ip": "192.0.2.1",
        "client_port": 49152,
        "phase": "relay",
        "reason": "backend_closed",
        "side": "backend",
        "login": "none",
    }
    assert {key: fields[key] for key in expected} == expected


def test_seconds_are_rounded_and_summed() -> None:
    facts = summary()
    facts.seconds = {Phase.HANDSHAKE: 0.00123456, Phase.RELAY: 2.0}
    fields = facts.as_fields(ENDED)
    assert fields["seconds"] == {"handshake": 0.0012, "relay": 2.0}
    assert fields["duration"] == 2.0012


def test_summaries_do_not_share_their_seconds() -> None:
    first, second = summary(), summary()
    first.seconds[Phase.RELAY] = 1.0
    assert not second.seconds


def test_fields_are_json() -> None:
    facts = summary()
    facts.user, facts.client_id = b"\xff\0anna", b"name=\r\n"
    told = json.loads(json.dumps(facts.as_fields(ENDED)))
    assert told["user"] == "\\xff\\x00anna"
    assert told["client_id"] == "name=\\r\\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, None),
        (b"", ""),
        (b"anna@example.org", "anna@example.org"),
        ("jürgen".encode(), "jürgen"),
        (b"j\xfcrgen", "j\\xfcrgen"),
        (b"a\r\nb\t\x1b[0m", "a\\r\\nb\\t\\x1b[0m"),
        ("a\u202eb\u2028c".encode(), "a\\u202eb\\u2028c"),
        (b"x" * 81, "x" * 80),
        (b"x" * 79 + b"\n\n", "x" * 79 + "\\"),
    ],
)
def test_wire_bytes_are_made_readable(data: bytes | None, text: str | None) -> None:
    assert readable(data) == text


@given(st.binary(max_size=300))
def test_readable_is_short_and_printable_whatever_comes(data: bytes) -> None:
    text = readable(data)
    assert text is not None
    assert len(text) <= 80
    assert text.isprintable()
