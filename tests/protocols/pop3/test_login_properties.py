"""The dialogue between TLS and login: what holds for any bytes, of either side, in any split."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from hypothesis import example, given
from hypothesis import strategies as st

from tlsproxy.protocols.base import DialogueLimits, Hangup, LoggedIn, LoginAction, LoginFailed, ToBackend, ToClient
from tlsproxy.protocols.pop3.login import Pop3Login

LIMITS = DialogueLimits(
    line_bytes=64,
    sasl_line_bytes=128,
    literal_bytes=0,
    total_bytes=300,
    bad_commands=3,
    failed_logins=3,
)
SECRET = b"TOPSECRET"

said_by_client = st.sampled_from(
    [
        b"USER bob\r\n",
        b"PASS TOPSECRET\r\n",
        b"PASS TOP\rSECRET\r\n",
        b"AUTH PLAIN\r\n",
        b"AUTH PLAIN TOPSECRET\r\n",
        b"AUTH EXTERNAL TOPSECRET\r\n",
        b"TOPSECRETTOP\r\n",
        b"*\r\n",
        b"\r\n",
        b"CAPA\n",
        b"APOP bob c4c9334bac560ecc979e58001b3e22fb\r\n",
        b"STLS\r\n",
        b"DELE 1\r\n",
        b"QUIT\r\n",
        b"AUTH PLAIN " + b"TOPSECRET" * 20,
    ]
)
said_by_backend = st.sampled_from(
    [
        b"+OK\r\n",
        b"+OK\nTOP\nSTLS\nSASL EXTERNAL\n.\n",
        b"-ERR no\r\n",
        b"-ERR [IN-USE] no\r\n",
        b"+ VXNlcm5hbWU6\r\n",
        b"+\n",
        b".\r\n",
        b"nonsense\r\n",
    ]
)
client_turn = st.tuples(st.just("client"), said_by_client | st.binary(max_size=3))
backend_turn = st.tuples(st.just("backend"), said_by_backend | st.binary(max_size=3))
turns = st.lists(client_turn | backend_turn, max_size=16).map(lambda rest: [("backend", b"+OK\r\n"), *rest])

GREETED = ("backend", b"+OK\r\n")
REFUSED = ("backend", b"-ERR no\r\n")
BY_PASS = [GREETED, ("client", b"PASS TOPSECRET\r\n"), REFUSED]
BY_AUTH = [GREETED, ("client", b"AUTH PLAIN TOPSECRET\r\n"), REFUSED]
BY_RESPONSE = [GREETED, ("client", b"AUTH LOGIN\r\nTOPSECRETTOP\r\n"), ("backend", b"+ \r\n"), REFUSED]
BY_MISTAKE = [GREETED, ("client", b"PASS TOP\rSECRET\r\nAUTH EXTERNAL TOPSECRET\r\n")]

# The seven commands that may reach a backend before login; apart from them, a line of a SASL exchange.
FORWARDED = re.compile(
    rb"(?:(?:CAPA|NOOP|QUIT)|(?:USER|PASS|APOP) [^\x00-\x1f\x7f]+|AUTH(?: [A-Z0-9-]+(?: [A-Za-z0-9+/=]+)?)?)\r\n",
    re.IGNORECASE,
)
RESPONSE = re.compile(rb"(?:[A-Za-z0-9+/]*={0,2}|\*)\r\n")


class Session:
    """A Login and the relay behind it."""

    def __init__(self, *, greeting_passes: bool) -> None:
        self.login = Pop3Login(LIMITS, greeting_passes)
        self.is_relaying = False

    def feed(self, side: str, data: bytes) -> list[LoginAction]:
        if self.is_relaying:
            return [ToBackend(data) if side == "client" else ToClient(data)]
        actions = list(self.login.from_client(data) if side == "client" else self.login.from_backend(data))
        self.is_relaying = any(isinstance(action, LoggedIn) for action in actions)
        return actions


def merged(actions: Iterable[LoginAction]) -> tuple[bytes, bytes, list[LoginAction]]:
    known = list(actions)
    return (
        b"".join(action.data for action in known if isinstance(action, ToClient)),
        b"".join(action.data for action in known if isinstance(action, ToBackend)),
        [action for action in known if not isinstance(action, ToClient | ToBackend)],
    )


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@given(said=turns, size=st.integers(1, 7), greeting_passes=st.booleans())
def test_any_split_gives_the_same(said: list[tuple[str, bytes]], size: int, *, greeting_passes: bool) -> None:
    whole, split = Session(greeting_passes=greeting_passes), Session(greeting_passes=greeting_passes)
    for side, data in said:
        expected = merged(whole.feed(side, data))
        assert merged(chain.from_iterable(split.feed(side, piece) for piece in pieces(data, size))) == expected


def before_login(actions: Iterable[LoginAction]) -> Iterator[LoginAction]:
    for action in actions:
        if isinstance(action, LoggedIn):
            return
        yield action


@example(BY_PASS)
@example(BY_AUTH)
@example(BY_RESPONSE)
@example(BY_MISTAKE)
@given(turns)
def test_the_backend_is_shown_nothing_but_whole_commands_one_at_a_time(said: list[tuple[str, bytes]]) -> None:
    session = Session(greeting_passes=True)
    may_respond = False
    is_waiting = False
    for side, data in said:
        for piece in pieces(data, 1):
            for action in before_login([] if session.is_relaying else session.feed(side, piece)):
                if isinstance(action, ToClient):
                    may_respond = action.data.startswith((b"+ ", b"+\r"))
                    is_waiting = is_waiting and action.data[:4] not in {b"+OK\r", b"-ERR"} and not may_respond
                if isinstance(action, ToBackend):
                    assert not is_waiting
                    assert (RESPONSE if may_respond else FORWARDED).fullmatch(action.data)
                    assert b"EXTERNAL" not in action.data
                    is_waiting, may_respond = True, False


@example(BY_PASS)
@example(BY_AUTH)
@example(BY_RESPONSE)
@example(BY_MISTAKE)
@given(turns)
def test_no_password_is_said_to_the_client_or_shown(said: list[tuple[str, bytes]]) -> None:
    session = Session(greeting_passes=True)
    for side, data in said:
        actions = list(before_login(session.feed(side, data)))
        assert SECRET not in merged(actions)[0]
        assert SECRET.decode() not in repr(actions)
        if session.is_relaying:
            break


def bytes_within(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes | bytearray):
        yield bytes(value)
    for slot in getattr(type(value), "__slots__", ()):
        yield from bytes_within(getattr(value, slot))


@example(BY_PASS)
@example(BY_AUTH)
@example(BY_RESPONSE)
@example(BY_MISTAKE)
@given(turns)
def test_no_password_outlives_its_line(said: list[tuple[str, bytes]]) -> None:
    session = Session(greeting_passes=True)
    for side, data in said:
        session.feed(side, data)
        if session.login.wants_client and len(session.login._client) == 0:
            assert not any(SECRET in kept for kept in bytes_within(session.login))


@given(turns)
def test_no_more_is_kept_than_the_limit_and_the_end_is_the_end(said: list[tuple[str, bytes]]) -> None:
    session = Session(greeting_passes=False)
    is_over = False
    for side, data in said:
        actions = session.feed(side, data)
        if is_over:
            assert actions == []
        is_over = is_over or any(isinstance(action, Hangup) for action in actions)
        assert is_over or len(session.login._client) < LIMITS.total_bytes


@given(
    said=st.lists(st.tuples(st.sampled_from(["client", "backend"]), st.binary(max_size=40)), max_size=8),
    greeting_passes=st.booleans(),
)
def test_any_bytes_give_actions(said: list[tuple[str, bytes]], *, greeting_passes: bool) -> None:
    session = Session(greeting_passes=greeting_passes)
    for side, data in said:
        session.feed(side, data)


@given(turns)
def test_failures_are_bounded(said: list[tuple[str, bytes]]) -> None:
    session = Session(greeting_passes=True)
    actions = list(chain.from_iterable(session.feed(side, data) for side, data in said))
    failures = [action for action in actions if isinstance(action, LoginFailed) and action.is_credential]
    assert len(failures) <= LIMITS.failed_logins
