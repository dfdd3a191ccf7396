"""AUTH PLAIN and LOGIN as a server hears them."""

from base64 import b64encode

import pytest

from tlsproxy.protocols.base import PasswordExposed
from tlsproxy.protocols.smtp.answers import CANCELLED, MALFORMED_RESPONSE, UNKNOWN_MECHANISM, WRONG_PASSWORD
from tlsproxy.protocols.smtp.client_side.auth import AuthExchange, Challenge, auth_argument, exposure
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.steps import Credentials

BOB = Credentials("PLAIN", b"bob", b"secret")


def begun(argument: bytes, mechanisms: tuple[bytes, ...] = (b"PLAIN", b"LOGIN")) -> Challenge | Credentials | Reply:
    found = auth_argument(argument)
    assert found is not None
    return AuthExchange(mechanisms).begin(found)


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (b"\0bob\0secret", BOB),
        (b"bob\0bob\0secret", BOB),
        (b"\0bob\0s e\xffc\r\n", Credentials("PLAIN", b"bob", b"s e\xffc\r\n")),
        (b"root\0bob\0secret", WRONG_PASSWORD),
        (b"\0\0secret", WRONG_PASSWORD),
        (b"\0bob\0", WRONG_PASSWORD),
        (b"bob\0secret", MALFORMED_RESPONSE),
        (b"\0bob\0sec\0ret", MALFORMED_RESPONSE),
        (b"x", MALFORMED_RESPONSE),
    ],
)
def test_plain(message: bytes, outcome: Credentials | Reply) -> None:
    assert begun(b"plain " + b64encode(message)) == outcome
    exchange = AuthExchange((b"PLAIN",))
    found = auth_argument(b"PLAIN")
    assert found is not None
    assert exchange.begin(found) == Challenge(b"")
    assert exchange.answer(b64encode(message)) == outcome


def login(*lines: bytes) -> Challenge | Credentials | Reply:
    exchange = AuthExchange((b"LOGIN",))
    first, *rest = lines
    found = auth_argument(first)
    assert found is not None
    outcome = exchange.begin(found)
    for line in rest:
        assert isinstance(outcome, Challenge)
        outcome = exchange.answer(line)
    return outcome


def test_login() -> None:
    bob = Credentials("LOGIN", b"bob", b"secret")
    assert login(b"LOGIN") == Challenge(b"VXNlcm5hbWU6")
    assert login(b"LOGIN", b"Ym9i") == Challenge(b"UGFzc3dvcmQ6")
    assert login(b"LOGIN", b"Ym9i", b"c2VjcmV0") == bob
    assert login(b"LOGIN Ym9i", b"c2VjcmV0") == bob
    assert login(b"LOGIN =", b"c2VjcmV0") == WRONG_PASSWORD
    assert login(b"LOGIN", b"Ym9i", b"") == WRONG_PASSWORD
    assert login(b"LOGIN", b"*") == CANCELLED
    assert login(b"LOGIN", b"Ym9i", b"*") == CANCELLED
    assert login(b"LOGIN", b"Ym9iAA==") == MALFORMED_RESPONSE


@pytest.mark.parametrize("response", [b"Ym9", b"Y m9i", b"Ym9i!", b"=Ym9", b"*", b"\xff", b"AGJvYgBzZWNyZXQ= "])
def test_what_is_no_base64(response: bytes) -> None:
    assert begun(b"PLAIN " + response) == MALFORMED_RESPONSE


def test_an_empty_initial_response() -> None:
    assert begun(b"PLAIN =") == MALFORMED_RESPONSE


def test_unknown_mechanisms() -> None:
    assert begun(b"CRAM-MD5") == UNKNOWN_MECHANISM
    assert begun(b"CRAM-MD5", (b"CRAM-MD5",)) == UNKNOWN_MECHANISM
    assert begun(b"LOGIN", (b"PLAIN",)) == UNKNOWN_MECHANISM


def test_what_is_no_mechanism() -> None:
    assert auth_argument(b"") is None
    assert auth_argument(b"PL(IN") is None


def test_no_repr_shows_a_password() -> None:
    assert "secret" not in repr(BOB)
    assert "AGJvYgBzZWNyZXQ" not in repr(auth_argument(b"PLAIN AGJvYgBzZWNyZXQ="))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"PLAIN AGJvYgBzZWNyZXQ=", PasswordExposed(user=b"bob", mechanism="PLAIN")),
        (b"LOGIN Ym9i", PasswordExposed(user=b"bob", mechanism="LOGIN")),
        (b"PLAIN nonsense", PasswordExposed(user=None, mechanism="PLAIN")),
        (b"SECRET AGJvYgBzZWNyZXQ=", PasswordExposed(user=None, mechanism="other")),
        (b"PLAIN", None),
        (b"PLAIN =", None),
        (b"CRAM-MD5 Ym9i", None),
    ],
)
def test_exposure(argument: bytes, expected: PasswordExposed | None) -> None:
    found = auth_argument(argument)
    assert found is not None
    assert exposure(found) == expected
