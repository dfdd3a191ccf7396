"""The password file: who is in it, and every mistake at once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.errors import ConfigError
from tlsproxy.senders.passwords import argon2
from tlsproxy.senders.passwords.book import FILE_LIMIT_BYTES, PasswordBook, check_user, parse_book, password_line
from tlsproxy.senders.passwords.hashes import PasswordHash, Scrypt, hash_password

ANNA = hash_password(b"secret", b"salt of anna", Scrypt(ln=4)).encode().encode()
BERT = hash_password(b"geheim", b"salt of bert", Scrypt(ln=5)).encode().encode()


def mistakes(data: bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_book(data)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_a_file() -> None:
    book = parse_book(b"\xef\xbb\xbfanna:" + ANNA + b"\r\n\n# bert\nb\xc3\xa9rt@example.org:" + BERT + b" ")
    assert len(book) == 2
    for same in (book, PasswordBook.from_json(json.loads(json.dumps(book.as_json())))):
        assert same.is_right(b"anna", b"secret")
        assert same.is_right(b"b\xc3\xa9rt@example.org", b"geheim")
        assert not same.is_right(b"anna", b"geheim")
        assert not same.is_right(b"Anna", b"secret")


def test_an_unknown_user_costs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    book = parse_book(b"anna:" + ANNA + b"\nbert:" + BERT)
    asked: list[str] = []

    def is_of(found: PasswordHash, _password: bytes) -> bool:
        asked.append(str(found.cost))
        return True  # even if it happens to be that other user's password

    monkeypatch.setattr(PasswordHash, "is_of", is_of)
    strangers = [b"stranger %d" % number for number in range(50)]
    assert not any(book.is_right(stranger, b"x") for stranger in strangers * 2)
    assert asked[:50] == asked[50:], "the same at every try"
    assert set(asked) == {str(Scrypt(ln=4)), str(Scrypt(ln=5))}


def test_every_mistake_at_once() -> None:
    data = b"\n".join(
        [
            b"anna:" + ANNA,
            b"nothing",
            b":" + ANNA,
            b" bert:" + BERT,
            b"anna:" + BERT,
            b"carl:{PLAIN}x",
            b"d\x01:" + ANNA,
        ]
    )
    assert mistakes(data) == [
        "line 2: there is no colon; write user:hash, as `tlsproxy hash-password --user USER` prints it",
        "line 3: a user's name is 1 to 256 bytes long",
        "line 4: a user's name has no colon and no control character, no # at its beginning, no blank at either end",
        "line 5: the user stands in line 1, too; remove one of the two",
        "line 6: only scrypt and Argon2id hashes can be used, in PHC format; make one with `tlsproxy hash-password`",
        "line 7: a user's name has no colon and no control character, no # at its beginning, no blank at either end",
    ]


@pytest.mark.parametrize("data", [b"", b"\n# nobody\n\n"])
def test_nobody(data: bytes) -> None:
    [told] = mistakes(data)
    assert told.startswith("there is no user in the file")


def test_bounds() -> None:
    assert mistakes(b"#" * (FILE_LIMIT_BYTES + 1)) == ["the file is larger than 4 MiB"]
    assert len(mistakes(b"x\n" * 5000)) == 100


@pytest.mark.parametrize("user", [b"", b"x" * 257, b"a:b", b"#a", b"a\n", b" a", b"a ", b"\x7f"])
def test_names_that_cannot_stand_in_a_file(user: bytes) -> None:
    with pytest.raises(ValueError, match="a user's name"):
        check_user(user)


def test_a_line_is_made() -> None:
    line = password_line(b"anna", b"gr\xc3\xbcn")
    assert line.startswith(b"anna:$scrypt$ln=15,r=8,p=1$")
    assert parse_book(line).is_right(b"anna", b"gr\xc3\xbcn")
    assert password_line(b"anna", b"gr\xc3\xbcn") != line, "another salt"
    assert password_line(None, b"x").startswith(b"$scrypt$")


@pytest.mark.skipif(not argon2.is_available(), reason="no Argon2id in this OpenSSL")
def test_a_line_is_made_with_argon2() -> None:
    line = password_line(b"anna", b"secret", is_argon2=True)
    assert line.startswith(b"anna:$argon2id$v=19$m=19456,t=2,p=1$")
    assert parse_book(line).is_right(b"anna", b"secret")


@pytest.mark.parametrize(
    ("user", "password", "hint"),
    [(b"a:b", b"x", "a user's name"), (b"", b"x", "a user's name"), (None, b"", "empty"), (None, b"\0", "control")],
)
def test_no_line_is_made(user: bytes | None, password: bytes, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        password_line(user, password)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_a_book_or_mistakes_that_show_nothing(before: bytes, after: bytes) -> None:
    try:
        parse_book(before + ANNA + after)
    except ConfigError as error:
        assert ANNA.rpartition(b"$")[2].decode() not in str(error)  # noqa: PT017 - most are mistakes, not all
