"""The plaintext dialogue: properties that hold for any bytes in any split; single behaviours are transcripts."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits, GateAction, Hangup, PasswordExposed, StartTls, ToClient
from tlsproxy.protocols.pop3 import POP3
from tlsproxy.protocols.pop3.gate import Pop3Gate

LIMITS = DialogueLimits(
    line_bytes=64,
    sasl_line_bytes=128,
    literal_bytes=0,
    total_bytes=300,
    bad_commands=3,
    failed_logins=3,
)
SECRET = b"TOPSECRET"

fragments = st.sampled_from(
    [
        b"USER bob\r\n",
        b"PASS TOPSECRET\r\n",
        b"PASS \xff\x00TOPSECRET\n",
        b"AUTH PLAIN TOPSECRET\r\n",
        b"AUTH PLAIN\r\n",
        b"AUTH X" + b"TOPSECRET" * 9,
        b"APOP bob TOPSECRET\r\n",
        b"CAPA\r\n",
        b"NOOP\n",
        b"STLS\r\n",
        b"STLS",
        b"QUIT\r\n",
        b"STAT TOPSECRET\r\n",
        b"\r\n",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n",
        b"TOPSECRET" * 8,
        b" ",
    ]
)
speech = st.lists(fragments | st.binary(max_size=4), max_size=12).map(b"".join)


def heard(feeds: Iterable[bytes]) -> tuple[list[GateAction], int]:
    """All actions, and how many bytes were fed until StartTls came."""
    gate = POP3.make_gate(LIMITS)
    actions: list[GateAction] = []
    count = 0
    for feed in feeds:
        actions += gate.receive(feed)
        count += len(feed)
        if StartTls() in actions:
            break
    return actions, count


def merged(actions: Iterable[GateAction]) -> tuple[bytes, list[GateAction]]:
    known = list(actions)
    said = b"".join(action.data for action in known if isinstance(action, ToClient))
    return said, [action for action in known if not isinstance(action, ToClient)]


@given(speech, st.lists(st.integers(1, 40), max_size=20))
def test_any_split_gives_the_same(data: bytes, sizes: list[int]) -> None:
    by_byte, count = heard(bytes([byte]) for byte in data)
    data = data[:count]  # what follows the line of STLS is TLS, or an injection
    feeds, rest = [], data
    for size in sizes:
        feeds.append(rest[:size])
        rest = rest[size:]
    assert merged(heard([*feeds, rest])[0]) == merged(by_byte)
    assert merged(heard([data])[0]) == merged(by_byte)


@given(speech, st.binary(min_size=1, max_size=20))
def test_any_byte_behind_stls_in_the_same_feed_ends_it(before: bytes, behind: bytes) -> None:
    gate = Pop3Gate(LIMITS)
    actions = gate.receive(before + b"\r\nSTLS\r\n" + behind)
    assert StartTls() not in actions
    assert Hangup(Reason.STARTTLS_INJECTION) not in actions or list(gate.receive(b"QUIT\r\n")) == []


@given(speech)
def test_no_password_comes_back_or_stays(data: bytes) -> None:
    gate = Pop3Gate(LIMITS)
    actions = gate.receive(data + b"\r\n")
    assert SECRET not in merged(actions)[0]
    exposed = [action for action in actions if isinstance(action, PasswordExposed)]
    assert SECRET.decode() not in repr(actions)
    assert all(SECRET not in (event.user or b"") for event in exposed)
    assert gate._user is None or SECRET not in gate._user


@given(speech)
def test_no_more_is_kept_than_an_unfinished_line(data: bytes) -> None:
    gate = Pop3Gate(LIMITS)
    ends = [action for action in gate.receive(data) if isinstance(action, Hangup | StartTls)]
    assert len(ends) <= 1
    assert ends or len(gate._lines) < LIMITS.sasl_line_bytes


@given(st.binary(max_size=200))
def test_any_bytes_give_actions(data: bytes) -> None:
    said, others = merged(heard([data])[0])
    assert said == b"" or said.endswith(b"\r\n")
    assert all(line.startswith((b"+OK", b"-ERR")) for line in said.splitlines())
    assert len(others) <= 1


def test_the_user_is_kept_for_one_exposure_only() -> None:
    actions = Pop3Gate(LIMITS).receive(b"USER bob\r\nPASS x\r\nPASS x\r\n")
    events = [action for action in actions if isinstance(action, PasswordExposed)]
    assert events == [
        PasswordExposed(user=b"bob", mechanism="PASS"),
        PasswordExposed(user=None, mechanism="PASS"),
    ]


def test_no_login_is_ever_invited() -> None:
    commands = (b"AUTH", b"AUTH PLAIN", b"AUTH LOGIN =", b"USER bob", b"PASS", b"APOP bob x")
    for command in commands:
        said, _ = merged(Pop3Gate(LIMITS).receive(command + b"\r\n"))
        assert said.startswith(b"-ERR [AUTH] ")


def test_the_bounds_are_reached_by_bytes_that_never_end() -> None:
    cases = {
        Reason.LINE_TOO_LONG: b"USER " + b"x" * 100,
        Reason.TOO_MUCH_BEFORE_LOGIN: b"USER bob\r\n" * 40,
        Reason.BAD_COMMANDS: b"STAT\r\n" * 40,
        Reason.PASSWORDS_EXPOSED: b"PASS x\r\n" * 40,
    }
    for reason, data in cases.items():
        by_byte, count = heard(bytes([byte]) for byte in data)
        assert by_byte[-1] == Hangup(reason)
        assert count == len(data)


def test_every_line_that_is_said_fits(limits: DialogueLimits) -> None:
    gate = Pop3Gate(replace(limits, bad_commands=99))
    said, _ = merged(gate.receive(b"CAPA\r\nUSER x\r\nPASS x\r\nSTAT\r\nNOOP\r\n"))
    assert all(len(line) <= 512 for line in [gate.greeting(), *said.splitlines(keepends=True)])  # RFC 2449 §4
