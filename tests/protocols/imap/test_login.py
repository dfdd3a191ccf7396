"""The login beyond what its transcripts show: parting, a second backend, whose turn it is."""

from dataclasses import replace

import pytest

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import DialogueLimits, Hangup, LoggedIn, ToBackend, ToClient
from tlsproxy.protocols.imap.login import ImapLogin

BYE = b"* BYE [UNAVAILABLE] why\r\n"
NO = b"a NO [UNAVAILABLE] why\r\n"


def greeted(limits: DialogueLimits, said: bytes = b"") -> ImapLogin:
    login = ImapLogin(limits, greeting_passes=False)
    login.from_backend(b"* OK [CAPABILITY LITERAL+] x\r\n")
    login.from_client(said)
    return login


def part(login: ImapLogin) -> bytes:
    return login.parting(Reason.SHUTDOWN, "why")


def test_parting_answers_what_waits(limits: DialogueLimits) -> None:
    assert part(greeted(limits)) == BYE
    assert part(greeted(limits, b"a")) == BYE
    assert part(greeted(limits, b"a LOG")) == NO + BYE
    assert part(greeted(limits, b"a LOGIN joe secret\r\nb NOOP\r\n")) == NO + BYE
    assert part(greeted(limits, b"a LOGIN {3}\r\n")) == NO + BYE
    assert part(greeted(limits, b"a LOGIN {3+}\r\njo")) == NO + BYE


def test_parting_without_a_code_of_its_own_does_not_look_like_a_wrong_password(limits: DialogueLimits) -> None:
    said = greeted(limits, b"a LOGIN joe secret\r\n").parting(Reason.LOGIN_TIMEOUT, "Too slow.")
    assert said == b"a NO [UNAVAILABLE] Too slow.\r\n* BYE Too slow.\r\n"


def test_parting_in_place_of_the_greeting(limits: DialogueLimits) -> None:
    login = ImapLogin(limits, greeting_passes=True)
    login.from_client(b"a LOGIN joe secret\r\n")
    assert part(login) == BYE
    login = ImapLogin(limits, greeting_passes=False)
    login.from_client(b"a LOGIN joe secret\r\n")
    assert part(login) == NO + BYE


def test_parting_never_cuts_a_response(limits: DialogueLimits) -> None:
    login = greeted(limits, b"a ID NIL\r\n")
    login.from_backend(b"* ID ({9}\r\nabc")
    assert part(login) == b""
    login.from_backend(b"defghi)\r\n* half")
    assert part(login) == NO + BYE


def test_parting_says_goodbye_once(limits: DialogueLimits) -> None:
    login = greeted(limits, b"a LOGIN joe secret\r\n")
    login.from_backend(b"* BYE going down\r\n")
    assert part(login) == NO
    login.from_backend(b"a OK in\r\n")
    assert part(login) == b""


@pytest.mark.parametrize("said", [b"\xff", b"a X\r\n" * 3])
def test_nothing_is_left_to_say_behind_our_own_goodbye(limits: DialogueLimits, said: bytes) -> None:
    assert part(greeted(limits, said)) == b""


def test_parting_after_a_fault_of_the_backend(limits: DialogueLimits) -> None:
    login = greeted(limits, b"a LOGIN joe secret\r\n")
    assert list(login.from_backend(b"z OK what\r\n")) == [Hangup(Reason.BACKEND_GARBAGE)]
    assert part(login) == NO + BYE


def test_whose_turn_it_is(limits: DialogueLimits) -> None:
    login = ImapLogin(limits, greeting_passes=False)
    assert login.wants_client
    login.from_backend(b"* OK x\r\n")
    assert login.wants_client
    login.from_client(b"a AUTHENTICATE PLAIN\r\n")
    assert not login.wants_client
    login.from_backend(b"+ \r\n")
    assert login.wants_client
    login.from_client(b"xxxx\r\n")
    assert not login.wants_client
    login.from_backend(b"a NO x\r\n* ID ({1}\r\n")
    assert not login.wants_client
    login.from_backend(b"x)\r\n")
    assert login.wants_client
    login.from_client(b"\xff\r\n" * 3)
    assert not login.wants_client


def test_over_before_the_greeting(limits: DialogueLimits) -> None:
    login = ImapLogin(replace(limits, total_bytes=4), greeting_passes=False)
    assert list(login.from_client(b"a NOOP"))[-1] == Hangup(Reason.TOO_MUCH_BEFORE_LOGIN)
    assert not login.wants_client
    assert list(login.from_backend(b"* OK x\r\n")) == []
    assert list(login.from_client(b"x")) == []
    assert not login.try_again()


def test_an_answer_of_ours_waits_for_the_end_of_a_response(limits: DialogueLimits) -> None:
    login = greeted(limits)
    login.from_backend(b"* ID ({2}\r\n")
    assert list(login.from_client(b"a X\r\n")) == []
    sent = b"".join(a.data for a in login.from_backend(b"xx)\r\n") if isinstance(a, ToClient))
    assert sent == b"xx)\r\na BAD Not understood before login\r\n"


def test_no_goodbye_inside_a_response(limits: DialogueLimits) -> None:
    login = greeted(replace(limits, total_bytes=4))
    login.from_backend(b"* ID ({2}\r\n")
    assert list(login.from_client(b"a NOOP")) == [Hangup(Reason.TOO_MUCH_BEFORE_LOGIN)]


def test_a_second_backend(limits: DialogueLimits) -> None:
    login = ImapLogin(limits, greeting_passes=True)
    login.from_backend(b"* OK [CAP")
    assert login.try_again()
    assert list(login.from_backend(b"* OK first\r\n")) == [ToClient(b"* OK first\r\n")]
    login.from_client(b"a NO")
    assert login.try_again()
    assert not login.is_greeted
    assert list(login.from_client(b"OP\r\n")) == []
    assert list(login.from_backend(b"* OK second\r\n")) == [ToBackend(b"a NOOP\r\n")]
    assert not login.try_again()


def test_a_second_backend_has_offers_of_its_own(limits: DialogueLimits) -> None:
    login = greeted(limits)
    assert login.try_again()
    login.from_backend(b"* OK no literals\r\n")
    assert list(login.from_client(b"a LOGIN {1+}\r\nx y\r\n")) == [ToClient(b"a BAD Not understood before login\r\n")]


def test_no_second_backend_behind_a_goodbye(limits: DialogueLimits) -> None:
    login = greeted(limits)
    login.from_backend(b"* BYE going down\r\n")
    assert not login.try_again()


def test_half_a_response_cannot_be_taken_up_by_another_backend(limits: DialogueLimits) -> None:
    login = greeted(limits)
    login.from_backend(b"* ID ({2}\r\n")
    assert not login.try_again()


def test_the_relay_begins_with_what_either_side_said_behind_the_login(limits: DialogueLimits) -> None:
    login = greeted(limits, b"a LOGIN joe secret\r\nb SELECT {\xff")
    assert list(login.from_backend(b"a OK in\r\n* 1 EX")) == [
        ToClient(b"a OK in\r\n"),
        LoggedIn(user=b"joe", mechanism="LOGIN"),
        ToClient(b"* 1 EX"),
        ToBackend(b"b SELECT {\xff"),
    ]


def test_a_login_whose_followers_were_lost_is_not_let_through(limits: DialogueLimits) -> None:
    line = b"a LOGIN joe secret\r\n"
    login = greeted(replace(limits, total_bytes=len(line) + 5))
    login.from_client(line + b"b NOOP\r\n")
    assert list(login.from_backend(b"a OK in\r\n")) == []


def test_a_backend_without_line_end(limits: DialogueLimits) -> None:
    login = greeted(limits, b"a NOOP\r\n")
    assert list(login.from_backend(b"x" * 65535)) == []
    assert list(login.from_backend(b"x")) == [Hangup(Reason.BACKEND_GARBAGE)]


def test_a_refused_password_is_not_held(limits: DialogueLimits) -> None:
    login = greeted(limits, b"a LOGIN {3+}\r\njoe x {6+}\r\ns3cret")
    assert not login._client._held


def test_secrets_are_not_shown(limits: DialogueLimits) -> None:
    login = greeted(limits)
    actions = [*login.from_client(b"a LOGIN joe {6+}\r\ns3cret"), login, *login.from_client(b"\r\n"), login._client]
    assert "s3cret" not in repr(actions)
    assert not login._client._held
