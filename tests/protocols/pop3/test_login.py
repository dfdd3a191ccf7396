"""The dialogue between TLS and login: what is asked of it between feeds; single behaviours are transcripts."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits, Hangup, LoggedIn, LoginAction, ToBackend, ToClient
from tlsproxy.protocols.pop3 import POP3
from tlsproxy.protocols.pop3.login import Pop3Login

WHY = "The mail server went away. ref=r7"
PARTING = b"-ERR [SYS/TEMP] The mail server went away. ref=r7\r\n"


def parting(login: Pop3Login) -> bytes:
    return login.parting(Reason.BACKEND_CLOSED, WHY)


@pytest.fixture
def login(limits: DialogueLimits) -> Pop3Login:
    """Greeted, behind implicit TLS."""
    made = Pop3Login(limits, greeting_passes=True)
    made.from_backend(b"+OK\r\n")
    return made


def test_a_login_is_asked_for_the_client_only_when_it_can_go_on(limits: DialogueLimits) -> None:
    login = Pop3Login(limits, greeting_passes=True)
    assert POP3.make_login is Pop3Login
    wanted = [(login.is_greeted, login.wants_client)]
    for side, data in (
        ("backend", b"+OK\r\n"),
        ("client", b"CAPA\r\n"),
        ("backend", b"+OK\r\nTOP\r\n"),
        ("backend", b".\r\n"),
        ("client", b"AUTH PLAIN\r\n"),
        ("backend", b"+ \r\n"),
        ("client", b"AGJvYgBzZWNyZXQ=\r\n"),
        ("backend", b"+OK\r\n"),
    ):
        (login.from_client if side == "client" else login.from_backend)(data)
        wanted.append((login.is_greeted, login.wants_client))
    assert wanted[0] == (False, False)
    assert all(is_greeted for is_greeted, _ in wanted[1:])
    assert [wants for _, wants in wanted] == [False, True, False, False, True, False, True, False, False]


# What is owed to the client when the backend is lost.


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", b""),
        (b"NO", PARTING),
        (b"NOOP\r\n", PARTING),
        (b"NOOP\r\nNOOP\r\n", PARTING),
        (b"AUTH PLAIN\r\n", PARTING),
        (b"AUTH " + b"x" * 600, PARTING),
    ],
)
def test_parting_answers_what_was_asked(login: Pop3Login, said: bytes, words: bytes) -> None:
    login.from_client(said)
    assert parting(login) == words


def test_parting_is_the_greeting_where_that_is_owed(limits: DialogueLimits) -> None:
    assert parting(Pop3Login(limits, greeting_passes=True)) == PARTING
    assert parting(Pop3Login(limits, greeting_passes=False)) == b""


def test_parting_answers_a_command_that_came_before_the_greeting(limits: DialogueLimits) -> None:
    login = Pop3Login(limits, greeting_passes=False)
    login.from_client(b"CAPA\r\n")
    assert parting(login) == PARTING


def test_parting_is_silent_inside_a_list(login: Pop3Login) -> None:
    login.from_client(b"CAPA\r\n")
    login.from_backend(b"+OK\r\nTOP\r\n")
    assert parting(login) == b""


def test_parting_ends_a_sasl_exchange(login: Pop3Login) -> None:
    login.from_client(b"AUTH PLAIN\r\n")
    login.from_backend(b"+ \r\n")
    assert parting(login) == PARTING


def test_parting_answers_where_the_backend_talks_nonsense(login: Pop3Login) -> None:
    login.from_client(b"CAPA\r\n")
    assert login.from_backend(b"* BAD\r\n") == [Hangup(Reason.BACKEND_GARBAGE)]
    assert parting(login) == PARTING


@pytest.mark.parametrize("said", [b"x" * 600, b"STAT\r\n" * 3, b"QUIT\r\n"])
def test_parting_is_silent_after_a_last_word(login: Pop3Login, said: bytes) -> None:
    login.from_client(said)
    login.from_backend(b"+OK bye\r\n")
    assert parting(login) == b""


def test_a_refusal_that_could_not_be_said_unasked_is_the_last_word(limits: DialogueLimits) -> None:
    login = Pop3Login(limits, greeting_passes=False)
    assert login.from_backend(b"-ERR [SYS/TEMP] full\n") == [Hangup(Reason.BACKEND_REFUSED)]
    assert parting(login) == b"-ERR [SYS/TEMP] full\r\n"


# A second backend connection.


def lost_in(state: str, login: Pop3Login) -> None:
    steps: Iterator[tuple[str, bytes]] = {
        "command": iter([("c", b"CAPA\r\n")]),
        "list": iter([("c", b"CAPA\r\n"), ("b", b"+OK\r\n")]),
        "exchange": iter([("c", b"AUTH PLAIN\r\n"), ("b", b"+ \r\n")]),
        "user": iter([("c", b"USER bob\r\n"), ("b", b"+OK\r\n")]),
        "over": iter([("c", b"QUIT\r\n"), ("b", b"+OK\r\n")]),
        "logged in": iter([("c", b"PASS x\r\n"), ("b", b"+OK\r\n")]),
    }[state]
    for side, data in steps:
        (login.from_client if side == "c" else login.from_backend)(data)


@pytest.mark.parametrize("state", ["command", "list", "exchange", "user", "over", "logged in"])
def test_no_second_try_where_the_first_backend_knew_something(login: Pop3Login, state: str) -> None:
    lost_in(state, login)
    assert not login.try_again()


def test_a_second_greeting_is_swallowed(login: Pop3Login) -> None:
    login.from_backend(b"half a li")
    assert login.try_again()
    assert not login.is_greeted
    assert not login.wants_client
    assert login.from_client(b"NOOP\r\n") == []
    assert login.from_backend(b"+OK second\r\n") == [ToBackend(b"NOOP\r\n")]


def test_the_first_greeting_still_passes_from_a_second_backend(limits: DialogueLimits) -> None:
    login = Pop3Login(limits, greeting_passes=True)
    login.from_backend(b"+OK fir")
    assert login.try_again()
    assert login.from_backend(b"+OK second\r\n") == [ToClient(b"+OK second\r\n")]


def test_a_second_try_is_possible_again_after_a_failed_login(login: Pop3Login) -> None:
    lost_in("user", login)
    login.from_client(b"PASS x\r\n")
    login.from_backend(b"-ERR no\r\n")
    assert login.try_again()


def test_a_second_backend_that_refuses_has_the_last_word(login: Pop3Login) -> None:
    login.try_again()
    assert login.from_backend(b"-ERR full\r\n") == [Hangup(Reason.BACKEND_REFUSED)]
    assert parting(login) == b"-ERR full\r\n"


# Bounds.


@pytest.mark.parametrize("asked", [b"", b"CAPA\r\n", b"AUTH PLAIN\r\n"])
def test_an_endless_line_of_the_backend_ends_it(login: Pop3Login, asked: bytes) -> None:
    login.from_client(asked)
    assert login.from_backend(b"+" * 8191) == []
    assert login.from_backend(b"+") == [Hangup(Reason.BACKEND_GARBAGE)]
    assert login.from_backend(b"+OK\r\n") == []


def test_an_endless_greeting_ends_it(limits: DialogueLimits) -> None:
    assert Pop3Login(limits, greeting_passes=True).from_backend(b"+" * 9999) == [Hangup(Reason.BACKEND_GARBAGE)]


@pytest.mark.parametrize("is_greeted", [False, True])
def test_what_waits_for_the_backend_is_bounded(limits: DialogueLimits, *, is_greeted: bool) -> None:
    login = Pop3Login(replace(limits, total_bytes=99), greeting_passes=True)
    if is_greeted:
        login.from_backend(b"+OK\r\n")
    count = 0
    actions: list[LoginAction] = []
    while Hangup(Reason.TOO_MUCH_BEFORE_LOGIN) not in actions:
        actions += login.from_client(b"NOOP\r\n"[count % 6 : count % 6 + 1])
        count += 1
    assert count == 99
    assert login.from_client(b"x") == []


def test_a_long_list_is_not_kept(login: Pop3Login) -> None:
    login.from_client(b"CAPA\r\n")
    login.from_backend(b"+OK\r\n")
    for _ in range(100):
        assert login.from_backend(b"X" * 8000 + b"\r\n") == [ToClient(b"X" * 8000 + b"\r\n")]
    assert len(login._from_backend) == 0


def test_what_follows_the_yes_is_raw(login: Pop3Login) -> None:
    login.from_client(b"APOP bob c4c9334bac560ecc979e58001b3e22fb\r\n\x00RAW")
    actions = login.from_backend(b"+OK\r\n\xffRAW\n")
    assert actions == [
        ToClient(b"+OK\r\n"),
        LoggedIn(user=b"bob", mechanism="APOP"),
        ToClient(b"\xffRAW\n"),
        ToBackend(b"\x00RAW"),
    ]
