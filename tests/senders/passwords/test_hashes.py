"""Password hashes: known answers, what is refused, and that nothing of them is shown."""

import base64
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsproxy.senders.passwords import argon2
from tlsproxy.senders.passwords.hashes import Argon2id, PasswordHash, Scrypt, hash_password, parse_hash

needs_argon2 = pytest.mark.skipif(not argon2.is_available(), reason="no Argon2id in this OpenSSL")

SALT = b"0123456789abcdef"
CHEAP = Scrypt(ln=4)


def phc(head: str, salt: bytes = SALT, digest: bytes = b"d" * 32) -> bytes:
    values = (base64.b64encode(value).rstrip(b"=").decode() for value in (salt, digest))
    return "$".join((head, *values)).encode()


def test_scrypt_of_the_rfc() -> None:
    # RFC 7914 §12, the third vector; N=1024, r=8, p=16.
    digest = bytes.fromhex(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
        "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
    )
    assert Scrypt(ln=10, r=8, p=16).derive(b"password", b"NaCl", 64) == digest


@needs_argon2
def test_argon2id_of_the_reference_implementation() -> None:
    # Version 0x13 in the tests of the reference implementation: t=2, m=2^8, p=2, "password", "somesalt".
    found = parse_hash(
        phc(
            "$argon2id$v=19$m=256,t=2,p=2",
            b"somesalt",
            bytes.fromhex("6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"),
        )
    )
    assert found.is_of(b"password")
    assert not found.is_of(b"Password")


@needs_argon2
def test_argon2id_with_lanes_in_many_threads() -> None:
    """Without a lock two of them wait for each other for ever."""
    made = hash_password(b"secret", SALT, Argon2id(m=1024, t=1, p=4))
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(made.is_of, [b"secret"] * 16, timeout=60))


@pytest.mark.parametrize("cost", [CHEAP, pytest.param(Argon2id(m=64, t=1), marks=needs_argon2)])
@given(password=st.binary(max_size=20), other=st.binary(max_size=20))
@settings(max_examples=20)
def test_hash_and_back(cost: Scrypt | Argon2id, password: bytes, other: bytes) -> None:
    made = hash_password(password, SALT, cost)
    found = parse_hash(made.encode().encode())
    assert found == made
    assert found.is_of(password)
    assert found.is_of(other) is (other == password)


def test_the_usual_costs() -> None:
    assert hash_password(b"x", SALT, Scrypt()).encode().startswith("$scrypt$ln=15,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$")


@pytest.mark.parametrize(("ln", "r", "p"), [(15, 1, 1), (1, 1, 16), (13, 8, 16), (2, 999, 1)])
def test_whatever_is_taken_can_be_computed(ln: int, r: int, p: int) -> None:
    assert parse_hash(phc(f"$scrypt$ln={ln},r={r},p={p}")).is_of(b"x") is False


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (b"", "is missing"),
        (b"secret", "is missing"),
        (b"$scrypt$ln=15,r=8,p=1$c2FsdA", "is missing"),
        (b"$scrypt$r=8,ln=15,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "is missing"),
        (b"$2y$05$abcdefgh", "only scrypt and Argon2id"),
        (b"$6$abc$def", "only scrypt and Argon2id"),
        (b"$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "only scrypt and Argon2id"),
        (b"$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "only scrypt and Argon2id"),
        (b"{SHA512-CRYPT}$6$abc$def", "only scrypt and Argon2id"),
        (phc("$scrypt$ln=0,r=8,p=1"), "make no hash"),
        (phc("$scrypt$ln=16,r=1,p=1"), "make no hash"),
        (phc("$scrypt$ln=4,r=0,p=1"), "make no hash"),
        (phc("$scrypt$ln=4,r=8,p=0"), "make no hash"),
        (phc("$scrypt$ln=4,r=8,p=17"), "make no hash"),
        (phc("$scrypt$ln=18,r=8,p=1"), "more than 128 MiB"),
        (phc("$scrypt$ln=99,r=999,p=1"), "more than 128 MiB"),
        (phc("$scrypt$ln=17,r=8,p=9"), "or too long"),
        (phc("$argon2id$v=19$m=64,t=0,p=1"), "make no hash"),
        (phc("$argon2id$v=19$m=64,t=1,p=0"), "make no hash"),
        (phc("$argon2id$v=19$m=15,t=1,p=2"), "make no hash"),
        (phc("$argon2id$v=19$m=2097152,t=1,p=4"), "more than 128 MiB"),
        (phc("$argon2id$v=19$m=65536,t=17,p=4"), "or too long"),
        (phc("$scrypt$ln=4,r=8,p=1", b"short"), "the salt is damaged: it is not 8 to 64 bytes"),
        (phc("$scrypt$ln=4,r=8,p=1", digest=b"short"), "the hash is damaged: it is not 16 to 64 bytes"),
        (b"$scrypt$ln=4,r=8,p=1$abcde$abcde", "the salt is damaged"),
    ],
)
def test_what_cannot_be_used(text: bytes, hint: str) -> None:
    with pytest.raises(ValueError, match=hint) as caught:
        parse_hash(text)
    assert not any(part in str(caught.value) for part in text.decode().split("$")[3:])


def test_argon2id_that_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.kdf.argon2", None)
    assert not argon2.is_available()
    with pytest.raises(ValueError, match="cryptography from version 44 on, with OpenSSL from 3"):
        parse_hash(phc("$argon2id$v=19$m=64,t=1,p=1"))


@needs_argon2
def test_argon2id_that_openssl_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - where there is one
    from cryptography.hazmat.primitives.kdf import argon2 as theirs  # noqa: PLC0415 - same

    def refuse(**_: object) -> None:
        raise UnsupportedAlgorithm("old")

    monkeypatch.setattr(theirs, "Argon2id", refuse)
    assert not argon2.is_available()


def test_nothing_secret_is_shown() -> None:
    made = hash_password(b"secret", SALT, CHEAP)
    assert repr(made) == "PasswordHash(cost=Scrypt(ln=4, r=8, p=1))"


@given(st.binary(max_size=80) | st.from_regex(rb"\$(scrypt|argon2id)\$.*", fullmatch=True))
def test_any_bytes_are_a_hash_or_a_mistake(text: bytes) -> None:
    try:
        found = parse_hash(text)
    except ValueError:
        return
    assert isinstance(found, PasswordHash)
