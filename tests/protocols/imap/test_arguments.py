"""Arguments: what may follow a name, token by token."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsproxy.protocols.imap.arguments import (
    ARGUMENTS,
    AuthenticateArguments,
    IdArguments,
    LoginArguments,
    NoArguments,
    is_base64,
)
from tlsproxy.protocols.imap.syntax import Token, TokenKind, tokens


def read(arguments: object, text: bytes) -> bool:
    return all(arguments.take(token) for token in tokens(text))  # type: ignore[attr-defined]  # a reader of any kind


def test_the_commands_that_reach_the_backend() -> None:
    assert set(ARGUMENTS) == {b"CAPABILITY", b"NOOP", b"LOGOUT", b"STARTTLS", b"ID", b"LOGIN", b"AUTHENTICATE"}


def test_no_arguments() -> None:
    nothing = NoArguments()
    assert nothing.is_complete
    assert not nothing.expects_string
    assert not read(nothing, b" x")


@pytest.mark.parametrize("text", [b" joe secret", b' "joe" ""', b' joe "se cret"', b" joe] +"])
def test_login(text: bytes) -> None:
    login = LoginArguments()
    assert read(login, text)
    assert login.is_complete
    assert login.user in {b"joe", b"joe]"}


@pytest.mark.parametrize(
    "text", [b"joe secret", b"  joe secret", b" joe  secret", b" joe secret ", b" (joe) secret", b' "joe"secret']
)
def test_login_malformed(text: bytes) -> None:
    assert not read(LoginArguments(), text)


STRINGS = st.lists(
    st.sampled_from([b" ", b"joe", b'"', b"\\", b"(", b"]", b"\0", b"\xfc", b'"joe"', b' "a\\"b" ']), max_size=9
)


@given(STRINGS.map(b"".join))
@example(b' "j\\\\oe" secret')
def test_login_at_one_look_is_login_token_by_token(text: bytes) -> None:
    by_token, at_once = LoginArguments(), LoginArguments()
    is_whole = read(by_token, text) and by_token.is_complete
    assert at_once.take_both(text) == at_once.is_complete == is_whole
    assert at_once.user == (by_token.user if is_whole else None)


def test_login_that_has_begun_is_not_taken_at_one_look() -> None:
    login = LoginArguments()
    assert login.take(Token(TokenKind.SPACE))
    assert not login.take_both(b" joe secret")
    assert login.expects_user


def test_login_expects_its_strings() -> None:
    login = LoginArguments()
    seen = []
    for token in tokens(b" joe secret"):
        seen.append((login.expects_string, login.expects_user, login.is_past_user))
        login.take(token)
    assert seen == [(False, False, False), (True, True, False), (False, False, False), (True, False, True)]
    assert not login.expects_string
    assert not login.take(Token(TokenKind.LITERAL, b"x"))


@pytest.mark.parametrize(
    ("text", "mechanism", "has_response", "user"),
    [
        (b" plain", b"PLAIN", False, None),
        (b" PLAIN =", b"PLAIN", False, None),
        (b" PLAIN AGpvZQBzZWNyZXQ=", b"PLAIN", True, b"joe"),
        (b" SCRAM-SHA-256 xxxx", b"SCRAM-SHA-256", True, None),
    ],
)
def test_authenticate(text: bytes, mechanism: bytes, *, has_response: bool, user: bytes | None) -> None:
    authenticate = AuthenticateArguments()
    assert authenticate.user is None
    assert read(authenticate, text)
    assert authenticate.is_complete
    assert (authenticate.mechanism, authenticate.has_response, authenticate.user) == (mechanism, has_response, user)


@pytest.mark.parametrize(
    "text", [b"PLAIN", b" pl@in", b' "PLAIN"', b" PLAIN \xff", b" PLAIN a=b", b" PLAIN ab ", b" " + b"X" * 21]
)
def test_authenticate_malformed(text: bytes) -> None:
    assert not read(AuthenticateArguments(), text)


def test_a_response_before_the_mechanism_is_harmless() -> None:
    authenticate = AuthenticateArguments()
    authenticate.see(b"AGpvZQBzZWNyZXQ=")
    assert authenticate.user is None


@pytest.mark.parametrize(
    ("text", "line", "client_id"),
    [
        (b" NIL", b"NIL", b""),
        (b" nil", b"NIL", b""),
        (b" ()", b"NIL", b""),
        (b' ("name" NIL)', b'("name" NIL)', b""),
        (b' ("name""x")', b'("name" "x")', b"x"),
        (b' (  "NAME"  "x"  "version" "" )', b'("NAME" "x" "version" "")', b"x"),
        (b' ("os" "o" "vendor" "v" "version" "1" "name" "n")', None, b"n 1 v o"),
        (b' ("X-a" "1" "x-b" NIL "xc" "2")', b'("xc" "2")', b""),
        (b' ("\xff" "1" "a" "\xff")', b'("a" NIL)', b""),
        (b' ("name" "' + b"x" * 1024 + b'")', None, b"x" * 80),
        (b" (" + b'"k" "v" ' * 30 + b")", None, b""),
    ],
)
def test_id(text: bytes, line: bytes | None, client_id: bytes) -> None:
    identity = IdArguments()
    assert read(identity, text)
    assert identity.is_complete
    assert not identity.expects_string
    assert identity.line() == (line or text.strip().replace(b" )", b")"))
    assert identity.client_id() == client_id


@pytest.mark.parametrize(
    "text",
    [
        b"NIL",
        b"  NIL",
        b' "x"',
        b" NIL ",
        b" NIL(",
        b" (NIL NIL)",
        b' ("name")',
        b' ("name" x)',
        b' (("name" "x"))',
        b' ("name" "x") ',
        b' ("' + b"k" * 31 + b'" "v")',
        b' ("k" "' + b"v" * 1025 + b'")',
        b" (" + b'"k" "v" ' * 31 + b")",
        b' ("k" \xff)',
    ],
)
def test_id_malformed(text: bytes) -> None:
    assert not read(IdArguments(), text)


@pytest.mark.parametrize("text", [b"", b" ", b" (", b' ("name" "x"'])
def test_id_incomplete(text: bytes) -> None:
    identity = IdArguments()
    assert read(identity, text)
    assert not identity.is_complete


@pytest.mark.parametrize(("response", "is_fine"), [(b"", True), (b"ab+/", True), (b"a=b", False), (b"*", False)])
def test_base64(response: bytes, *, is_fine: bool) -> None:
    assert is_base64(response) == is_fine
