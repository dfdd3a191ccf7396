"""What waits of the client: every bound, whatever the split."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits
from tlsproxy.protocols.imap.intake import Intake

SMALL = DialogueLimits(
    line_bytes=20, sasl_line_bytes=40, literal_bytes=8, total_bytes=64, bad_commands=3, failed_logins=3
)


def test_lines_and_runs() -> None:
    intake = Intake(SMALL)
    intake.feed(b"a NOOP\r\nb NOOP\nabc\r\nrest")
    assert intake.command_line() == b"a NOOP"
    assert intake.command_line() == b"b NOOP"
    assert intake.take(3) == b"abc"
    assert intake.line(20) == b""
    assert intake.command_line() is None
    assert len(intake) == 4


@pytest.mark.parametrize(
    ("line", "is_fine"),
    [
        (b"a NOOP xxxxxxxxxxx\r\n", True),
        (b"a NOOP xxxxxxxxxxxx\r\n", False),
        (b"a AUTHENTICATE PLAIN xxxxxxxxxxxxxxxxx\r\n", True),
        (b"a authenticate PLAIN xxxxxxxxxxxxxxxxxx\r\n", False),
    ],
)
def test_a_command_line_has_a_bound(line: bytes, *, is_fine: bool) -> None:
    whole, bytewise = Intake(SMALL), Intake(SMALL)
    whole.feed(line)
    results = []
    for byte in line:
        bytewise.feed(bytes([byte]))
        results.append(bytewise.command_line())
    expected = line[:-2] if is_fine else Reason.LINE_TOO_LONG
    assert whole.command_line() == expected
    assert next(result for result in results if result is not None) == expected


def test_only_the_first_line_can_be_nonsense(limits: DialogueLimits) -> None:
    intake = Intake(limits)
    intake.feed(b"a NOOP\r\nGET / HTTP/1.1\r\n")
    assert intake.command_line() == b"a NOOP"
    assert intake.command_line() == b"GET / HTTP/1.1"


def test_which_reason_does_not_depend_on_the_split() -> None:
    """A head that becomes nonsense only beyond the line's bound is too long."""
    intake = Intake(replace(SMALL, total_bytes=200))
    intake.feed(b"a" * 70)
    assert intake.command_line() is Reason.LINE_TOO_LONG


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_the_total_has_a_bound(chunks: list[bytes]) -> None:
    intake = Intake(SMALL)
    for chunk in chunks:
        intake.feed(chunk)
    said = b"".join(chunks)
    assert intake.is_exceeded == (len(said) > 64)
    assert intake.take(1000) == said[:64]


def test_what_was_taken_counts_in_the_total() -> None:
    intake = Intake(replace(SMALL, total_bytes=10))
    for _ in range(10):
        intake.feed(b"x")
        assert intake.take(1) == b"x"
    assert not intake.is_exceeded
    intake.feed(b"x")
    assert intake.is_exceeded
    assert len(intake) == 0


def test_the_waiting_tag(limits: DialogueLimits) -> None:
    intake = Intake(limits)
    assert intake.waiting_tag() is None
    intake.feed(b"a1")
    assert intake.waiting_tag() is None
    intake.feed(b" LOG")
    assert intake.waiting_tag() == b"a1"
