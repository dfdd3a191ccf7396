"""What a line looks like, in both formats."""

import json
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsproxy.core.addresses import peer_from
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LogLevel
from tlsproxy.core.outcome import Outcome, Phase, Reason
from tlsproxy.core.summary import Summary
from tlsproxy.operate.log_render import console_line, exception_text, json_line

HEAD = {"ts": "2026-05-01T12:34:56.789Z", "level": LogLevel.INFO, "event": Event.LOGIN_FAILED}
SECRET = "Tr0ub4dor"
ODD_TEXT = "a\x1b[2J\r\nb\x00\udc80\u202e"


class Guarded:
    """An object whose repr gives something away."""

    def __repr__(self) -> str:
        return SECRET


def console(fields: dict[str, Any], *, is_coloured: bool = False) -> str:
    return console_line(HEAD | fields, is_coloured=is_coloured).decode()


def closed(**facts: Any) -> dict[str, Any]:
    summary = Summary(session="k3j2h4g1", listener="imaps", protocol="imap", client=peer_from("192.0.2.1", 49152))
    for name, value in facts.items():
        setattr(summary, name, value)
    fields = summary.as_fields(Outcome(phase=Phase.RELAY, reason=Reason.CLIENT_CLOSED))
    return {"event": Event.SESSION_CLOSED, **fields}


def test_json_keeps_the_order() -> None:
    line = json_line(HEAD | {"user": "anna", "attempt": 2})
    assert line == (
        b'{"ts":"2026-05-01T12:34:56.789Z","level":"info","event":"login.failed","user":"anna","attempt":2}\n'
    )


def test_json_of_every_value() -> None:
    values = {
        "bytes": b"a\xff\n",
        "view": memoryview(b"ab"),
        "inner": [b"\0", {"x": bytearray(b"y")}],
        "ip": ip_address("::1"),
        "path": PurePosixPath("/etc/x"),
        "object": Guarded(),
        "none": None,
        "yes": True,
        "set": {1},
        "long": b"x" * 500,
    }
    told = json.loads(json_line(values))
    assert told == {
        "bytes": "a\\xff\\n",
        "view": "ab",
        "inner": ["\\x00", {"x": "y"}],
        "ip": "::1",
        "path": "/etc/x",
        "object": "<Guarded>",
        "none": None,
        "yes": True,
        "set": "<set>",
        "long": "x" * 80,
    }


@pytest.mark.parametrize("value", [1 << 80, "\udc80", {1: 2}, {b"x": 1}, [b"x", 1 << 80]])
def test_json_never_raises(value: object) -> None:
    line = json_line(HEAD | {"value": value})
    assert line.endswith(b"\n")
    assert json.loads(line)["event"] == "login.failed"


def test_console_is_one_line_that_moves_no_cursor() -> None:
    text = console({"user": ODD_TEXT, "inner": {ODD_TEXT: [ODD_TEXT]}, "raw": ODD_TEXT.encode("utf-8", "ignore")})
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert r"a\x1b[2J\r\nb\x00" in text


def test_console_of_an_event() -> None:
    fields = {
        "session": "k3j2h4g1",
        "client_ip": "192.0.2.1",
        "client_port": 49152,
        "user": "anna",
        "mechanism": None,
        "credential": True,
        "tls": False,
        "names": ("a.example", "b.example"),
        "seconds": {"login": 1.5},
        "why": "two words",
        "odd": Guarded(),
    }
    assert console(fields) == (
        "12:34:56.789 info    login.failed         k3j2h4g1 192.0.2.1:49152 user=anna credential=yes tls=no "
        'names=a.example,b.example seconds=login:1.5 why="two words" odd=<Guarded>\n'
    )


def test_console_of_an_event_without_a_session() -> None:
    assert console({}) == "12:34:56.789 info    login.failed\n"


def test_console_of_an_ipv6_client() -> None:
    assert " [2001:db8::1]:5 " in console({"client_ip": "2001:db8::1", "client_port": 5, "x": 1})


def test_console_of_a_closed_session() -> None:
    fields = closed(
        user=b"anna",
        tls_version="TLSv1.3",
        bytes_to_client=2_500_000,
        bytes_from_client=1536,
        seconds={Phase.LOGIN: 1.0, Phase.RELAY: 2.25},
    )
    assert console(fields) == (
        "12:34:56.789 info    session.closed       k3j2h4g1 192.0.2.1:49152 imaps user=anna TLSv1.3 "
        "relay/client_closed ↓2.4MiB ↑1.5KiB 3.25s\n"
    )


def test_console_of_a_broken_handshake_says_what_went_wrong() -> None:
    text = console(closed(tls_error="alert: unknown CA", bytes_to_client=5 << 30))
    assert text.endswith('imaps relay/client_closed ↓5.0GiB ↑0B 0s tls_error="alert: unknown CA"\n')


def test_colours_are_for_terminals() -> None:
    assert "\x1b[32minfo   \x1b[0m \x1b[1mlogin.failed        \x1b[0m" in console({}, is_coloured=True)
    assert "\x1b" not in console({})


@settings(max_examples=50)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_value_gives_one_line_in_both_formats(value: object) -> None:
    for line in (json_line(HEAD | {"value": value}), console_line(HEAD | {"value": value}, is_coloured=False)):
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        assert line[:-1].decode().isprintable() or line.startswith(b"{")


def raised(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301  a traceback is what this is for
    except BaseException as caught:  # noqa: BLE001  any exception at all is to be told
        return caught


def test_exception_is_told_with_its_place_and_without_locals() -> None:
    password = SECRET.encode()
    text = exception_text(raised(ValueError("odd\nline")))
    assert text.startswith("ValueError: odd\\nline (at test_log_render.py:")
    assert text.endswith(" raised)")
    assert password.decode() not in text


def test_message_is_cut() -> None:
    assert exception_text(ValueError("x" * 5000)) == "ValueError: " + "x" * 200


def test_exception_without_message() -> None:
    assert exception_text(ValueError()) == "ValueError"


def test_causes_are_told() -> None:
    error = ValueError("outer")
    error.__cause__ = OSError("inner")
    assert exception_text(error) == "ValueError: outer < OSError: inner"


def test_contexts_are_told_unless_suppressed() -> None:
    error = ValueError("outer")
    error.__context__ = OSError("inner")
    assert exception_text(error) == "ValueError: outer < OSError: inner"
    error.__suppress_context__ = True
    assert exception_text(error) == "ValueError: outer"


def test_circles_end() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__context__, second.__context__ = second, first
    assert exception_text(first) == "ValueError: 1 < ValueError: 2"


def test_groups_tell_their_members_up_to_a_bound() -> None:
    group = ExceptionGroup("all", [OSError(str(n)) for n in range(50)])
    assert exception_text(group) == (
        "ExceptionGroup: all (50 sub-exceptions) < OSError: 0 < OSError: 1 < OSError: 2 < OSError: 3 < OSError: 4"
    )


def deep(depth: int) -> None:
    if depth:
        deep(depth - 1)
    raise ValueError("deep")


def test_traceback_keeps_the_innermost_frames() -> None:
    with pytest.raises(ValueError, match="deep") as caught:
        deep(50)
    assert exception_text(caught.value).count(" > ") == 11


def test_worst_exception_makes_a_line_that_a_pipe_does_not_tear() -> None:
    errors = [raised(ValueError(f"{number}" + '\u20ac"' * 200)) for number in range(9)]
    text = exception_text(ExceptionGroup("all", errors))
    assert len(text.encode()) <= 1536
    assert text.startswith("ExceptionGroup: all (9 sub-exceptions) < ValueError: 0")
    assert " ... " in text
    assert text.endswith(" raised)")
    assert len(json_line(HEAD | {"user": "\\" * 320, "exception": text})) <= 4096
