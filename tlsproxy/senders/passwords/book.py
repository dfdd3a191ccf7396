"""The password file: a line ``user:hash`` for each user; must not show a hash, nor by its time who is in it."""

import codecs
import re
import secrets
import zlib
from collections.abc import Iterator, Mapping
from typing import Final, Self

from tlsproxy.core.errors import ConfigError, Mistake
from tlsproxy.senders.passwords.hashes import Argon2id, PasswordHash, Scrypt, hash_password, parse_hash

FILE_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""Some 40000 users; each worker holds a copy, and so many belong into an old server that is asked."""

# Nobody who has the wrong file reads more.
_MISTAKES: Final = 100
_USER_BYTES: Final = 256
_SALT_BYTES: Final = 16  # RFC 9106 §3.1
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_USE_OURS: Final = "write user:hash, as `tlsproxy hash-password --user USER` prints it"


class PasswordBook:
    """Every user's hash, in memory."""

    __slots__ = ("_decoys", "_hashes")

    def __init__(self, hashes: Mapping[bytes, PasswordHash]) -> None:
        """Take at least one user."""
        self._hashes = dict(hashes)
        self._decoys = tuple(self._hashes.values())

    def __len__(self) -> int:
        """How many users there are."""
        return len(self._hashes)

    def is_right(self, user: bytes, password: bytes) -> bool:
        """Whether the user exists and has this password; costs the same work if not.

        Args:
            user: Compared byte for byte.
            password: Hashed as it is.
        """
        known = self._hashes.get(user)
        # Where costs differ within the file, a stranger has those of some user, and the same ones at every try.
        found = known or self._decoys[zlib.crc32(user) % len(self._decoys)]
        return found.is_of(password) and known is not None

    def as_json(self) -> dict[str, str]:
        """For the way to the workers; holds the hashes."""
        return {user.decode("latin-1"): found.encode() for user, found in self._hashes.items()}

    @classmethod
    def from_json(cls, given: Mapping[str, str]) -> Self:
        """The same again."""
        return cls({user.encode("latin-1"): parse_hash(text.encode("ascii")) for user, text in given.items()})


def parse_book(data: bytes) -> PasswordBook:
    """Read a password file; empty lines, and lines that begin with ``#``, mean nothing.

    Args:
        data: What stands in the file; of a longer one, a byte more than FILE_LIMIT_BYTES is enough.

    Raises:
        ConfigError: With every mistake in it, named by line; none shows what stands there.
    """
    if len(data) > FILE_LIMIT_BYTES:
        raise ConfigError([_mistake(f"the file is larger than {FILE_LIMIT_BYTES // 1024 // 1024} MiB")])
    hashes: dict[bytes, PasswordHash] = {}
    lines: dict[bytes, int] = {}
    mistakes: list[Mistake] = []
    for number, text in _lines(data):
        try:
            user, found = _parse_line(text, lines)
            hashes[user], lines[user] = found, number
        except ValueError as error:
            mistakes.append(_mistake(str(error), number))
    if not hashes and not mistakes:
        mistakes.append(_mistake(f"there is no user in the file, so that nobody could log in; {_USE_OURS}"))
    if mistakes:
        raise ConfigError(mistakes[:_MISTAKES])
    return PasswordBook(hashes)


def check_user(user: bytes) -> None:
    """See that a user's name can stand in the file.

    Raises:
        ValueError: It cannot; the text says why.
    """
    if not user or len(user) > _USER_BYTES:
        raise ValueError(f"a user's name is 1 to {_USER_BYTES} bytes long")
    if _CONTROL.search(user) or b":" in user or user.startswith(b"#") or user != user.strip(b" "):
        raise ValueError(
            "a user's name has no colon and no control character, no # at its beginning, no blank at either end"
        )


def password_line(user: bytes | None, password: bytes, *, is_argon2: bool = False) -> bytes:
    """Make a line for the file, or the hash alone where no user is given.

    Args:
        user: Whose line it is.
        password: As clients will send it.
        is_argon2: Whether to make an Argon2id hash, not one of scrypt.

    Raises:
        ValueError: The user or the password cannot be used, or there is no Argon2id on this machine.
    """
    if user is not None:
        check_user(user)
    if not password or _CONTROL.search(password):
        raise ValueError("a password is not empty and has no control character")
    cost = Argon2id() if is_argon2 else Scrypt()
    encoded = hash_password(password, secrets.token_bytes(_SALT_BYTES), cost).encode().encode("ascii")
    return encoded if user is None else user + b":" + encoded


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that mean something, with their numbers; an editor's mark at the beginning is none of the user's."""
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        text = line.rstrip(b" \t\r")
        if text and not text.startswith(b"#"):
            yield number, text


def _parse_line(text: bytes, known: Mapping[bytes, int]) -> tuple[bytes, PasswordHash]:
    user, colon, encoded = text.partition(b":")
    if not colon:
        raise ValueError(f"there is no colon; {_USE_OURS}")
    check_user(user)
    if user in known:
        raise ValueError(f"the user stands in line {known[user]}, too; remove one of the two")
    return user, parse_hash(encoded)


def _mistake(hint: str, line: int | None = None) -> Mistake:
    return Mistake(key=f"line {line}" if line else "", value="", hint=hint)
