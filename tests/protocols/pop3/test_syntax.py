"""Lines of POP3, and what is no line of POP3."""

import pytest

from tlsproxy.protocols.pop3.syntax import (
    Command,
    Status,
    apop_user,
    auth_argument,
    command,
    error_code,
    is_between_responses,
    is_sasl_response,
    status,
    with_error_code,
)


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"user bob", b"USER", b"bob"),
        (b"PASS  a b ", b"PASS", b" a b "),
        (b"QUIT", b"QUIT", b""),
        (b"PASS \n\r\x00", b"PASS", b"\n\r\x00"),
    ],
)
def test_command(line: bytes, verb: bytes, argument: bytes) -> None:
    assert command(line) == Command(verb, argument)


@pytest.mark.parametrize("line", [b"", b" USER bob", b"USER\tbob", b"US\xc3\x89R bob", b"*", b"\x16\x03\x01"])
def test_no_command(line: bytes) -> None:
    assert command(line) is None


def test_arguments_are_not_in_a_repr() -> None:
    assert "secret" not in repr(command(b"PASS secret"))
    assert "secret" not in repr(auth_argument(b"PLAIN secret"))


@pytest.mark.parametrize(
    ("argument", "mechanism", "response"),
    [
        (b"plain", b"PLAIN", None),
        (b"PLAIN ", b"PLAIN", None),
        (b"PLAIN  AAAA ", b"PLAIN", b"AAAA"),
        (b"SCRAM-SHA-1 =", b"SCRAM-SHA-1", b"="),
    ],
)
def test_auth_argument(argument: bytes, mechanism: bytes, response: bytes | None) -> None:
    auth = auth_argument(argument)
    assert auth is not None
    assert (auth.mechanism, auth.response, auth.is_well_formed) == (mechanism, response, True)


@pytest.mark.parametrize("argument", [b"", b"{5}", b"A" * 21, b"PL\xc3\x84IN", b"PLAIN\x00"])
def test_no_auth_argument(argument: bytes) -> None:
    assert auth_argument(argument) is None


@pytest.mark.parametrize("response", [b"A A", b"A\r", b"*", b"AA===", b"=A", b"\xff"])
def test_malformed_initial_response(response: bytes) -> None:
    auth = auth_argument(b"PLAIN " + response)
    assert auth is not None
    assert not auth.is_well_formed


@pytest.mark.parametrize(
    ("argument", "user"),
    [
        (b"bob c4c9334bac560ecc979e58001b3e22fb", b"bob"),
        (b"bob C4C9334BAC560ECC979E58001B3E22FB", b"bob"),
        (b"bob c4c9334bac560ecc979e58001b3e22f", None),
        (b" c4c9334bac560ecc979e58001b3e22fb", None),
        (b"bob secret", None),
    ],
)
def test_apop_user(argument: bytes, user: bytes | None) -> None:
    assert apop_user(argument) == user


@pytest.mark.parametrize(
    ("line", "is_response"),
    [(b"", True), (b"*", True), (b"QUJD", True), (b"QQ==", True), (b"=", False), (b"DELE 1", False), (b"Q\r", False)],
)
def test_is_sasl_response(line: bytes, *, is_response: bool) -> None:
    assert is_sasl_response(line) is is_response


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"+OK", Status.OK),
        (b"+OK hi", Status.OK),
        (b"+ok, hi", Status.OK),
        (b"-ERR", Status.ERROR),
        (b"-ERR [AUTH] no", Status.ERROR),
        (b"+", Status.CONTINUE),
        (b"+ OK", Status.CONTINUE),
        (b"+OKAY", Status.NONSENSE),
        (b"-ERROR", Status.NONSENSE),
        (b"OK", Status.NONSENSE),
        (b" +OK", Status.NONSENSE),
        (b"", Status.NONSENSE),
        (b"\x00\xff", Status.NONSENSE),
    ],
)
def test_status(line: bytes, expected: Status) -> None:
    assert status(line) is expected


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"-ERR [IN-USE] locked", b"IN-USE"),
        (b"-err  [sys/temp/x]", b"SYS/TEMP/X"),
        (b"-ERR locked [IN-USE]", None),
        (b"-ERR [two words]", None),
        (b"-ERR []", None),
        (b"-ERR", None),
    ],
)
def test_error_code(line: bytes, code: bytes | None) -> None:
    assert error_code(line) == code


def test_with_error_code() -> None:
    assert with_error_code(b"-ERR", b"AUTH") == b"-ERR [AUTH]"
    assert with_error_code(b"-ERR no", b"AUTH") == b"-ERR [AUTH] no"


@pytest.mark.parametrize(
    ("tail", "is_between"),
    [
        (b"+OK\r\n", True),
        (b"-ERR no\n", True),
        (b"1 120\r\n.\r\n", True),
        (b".\r\n", True),
        (b"+OK", False),
        (b"+OK 120 octets\r\nSubject: x\r\n", False),
        (b"..\r\n", False),
        (b"a.\r\n", False),
        (b"", False),
    ],
)
def test_is_between_responses(tail: bytes, *, is_between: bool) -> None:
    assert is_between_responses(tail) is is_between
