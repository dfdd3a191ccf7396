"""The bounds on what a client may say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits
from tlsproxy.protocols.pop3.client_lines import ClientLines

SMALL = DialogueLimits(
    line_bytes=8,
    sasl_line_bytes=16,
    literal_bytes=0,
    total_bytes=40,
    bad_commands=1,
    failed_logins=1,
)


def fed(data: bytes, limits: DialogueLimits = SMALL) -> ClientLines:
    lines = ClientLines(limits)
    lines.feed(data)
    return lines


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (b"", None),
        (b"NOOP", None),
        (b"NOOPxx\r\n", b"NOOPxx\r\n"),
        (b"NOOPxxx\r\n", Reason.LINE_TOO_LONG),
        (b"NOOPxxxx", Reason.LINE_TOO_LONG),
        (b"auth x yyyyyyy\r\n", b"auth x yyyyyyy\r\n"),
        (b"AUTH x yyyyyyy", None),
        (b"AUTH x yyyyyyyy\r\n", Reason.LINE_TOO_LONG),
        (b"AUTHx yyyyyyy\r\n", Reason.LINE_TOO_LONG),
    ],
)
def test_command_lines(data: bytes, taken: bytes | Reason | None) -> None:
    assert fed(data).command() == taken
    split = ClientLines(SMALL)
    for byte in data[:-1]:
        split.feed(bytes([byte]))
        assert split.command() is None or isinstance(taken, Reason)
    split.feed(data[-1:])
    assert isinstance(taken, Reason) or split.command() == taken


def test_a_long_auth_line_counts_as_waiting_from_its_start() -> None:
    lines = fed(b"AUTH x yyy")
    assert lines.command() is None
    assert len(lines) == 10
    lines.feed(b"z\r\n")
    assert lines.command() == b"AUTH x yyyz\r\n"
    assert len(lines) == 0


def test_sasl_responses_may_be_longer() -> None:
    assert fed(b"x" * 14 + b"\r\n").sasl_response() == b"x" * 14 + b"\r\n"
    assert fed(b"x" * 15 + b"\r\n").sasl_response() is Reason.LINE_TOO_LONG


def test_the_total_is_bounded_line_by_line() -> None:
    lines = fed(b"NOOPxx\r\n" * 5)
    assert lines.is_full
    assert [lines.command() for _ in range(5)] == [b"NOOPxx\r\n"] * 5
    assert lines.command() is Reason.TOO_MUCH_BEFORE_LOGIN


def test_the_total_ends_a_long_auth_line() -> None:
    lines = fed(b"AUTH x yyyyyyy\r\n", replace(SMALL, total_bytes=12))
    assert lines.command() is Reason.TOO_MUCH_BEFORE_LOGIN


def test_the_rest_comes_out_raw() -> None:
    lines = fed(b"NOOP\r\nSTAT\r\nxx")
    lines.command()
    assert lines.rest() == b"STAT\r\nxx"
    assert lines.rest() == b""


@given(st.lists(st.sampled_from([b"AUTH ", b"x", b"NOOP", b"\r\n", b"\n", b"\xff" * 7])), st.integers(1, 60))
def test_no_more_waits_than_the_limit(pieces: list[bytes], total_bytes: int) -> None:
    limits = replace(SMALL, total_bytes=total_bytes)
    lines = ClientLines(limits)
    for byte in b"".join(pieces):
        lines.feed(bytes([byte]))
        taken = lines.command()
        if isinstance(taken, Reason):
            break
        assert len(lines) < min(limits.sasl_line_bytes, total_bytes)
