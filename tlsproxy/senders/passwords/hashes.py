"""One password's hash in PHC string format: read, checked, computed and written; must not show a salt or a digest.

The format is the Password Hashing Competition's: ``$scrypt$ln=15,r=8,p=1$SALT$HASH`` and
``$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH``, both values in base64 without padding.
"""

import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from tlsproxy.senders.passwords import argon2

_VALUES: Final = rb"\$([A-Za-z0-9+/]{1,128})\$([A-Za-z0-9+/]{1,128})"
_SCRYPT: Final = re.compile(rb"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,3}),p=([0-9]{1,3})" + _VALUES)
_ARGON2ID: Final = re.compile(rb"\$argon2id\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,4}),p=([0-9]{1,3})" + _VALUES)
# crypt(5), and the {SCHEME} of Dovecot and LDAP.
_FOREIGN: Final = re.compile(rb"\$(?:1|2[abxy]?|5|6|7|y|gy|sha1|md5)\$|\{|\$argon2[id]\$|\$argon2id\$(?!v=19)")

_SALT_BYTES: Final = range(8, 65)
_DIGEST_BYTES: Final = range(16, 65)
# A guess costs us the same as a login: two at once must fit into a small machine, and each be done in about a second.
_MEMORY_KIB: Final = 128 * 1024
_WORK_KIB: Final = 1024 * 1024  # memory, times how often it is gone over
_PARALLELISM: Final = range(1, 17)
_BLOCK_BYTES: Final = 128  # of scrypt, times r (RFC 7914 §2)
_LANE_KIB: Final = 8  # the least that Argon2 has for a lane (RFC 9106 §3.1)

_USE_OURS: Final = "make one with `tlsproxy hash-password`"
_TOO_COSTLY: Final = "the hash takes more than 128 MiB of memory, or too long, for each login; " + _USE_OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrypt:
    """scrypt (RFC 7914) and what it costs."""

    ln: int = 15
    """The cost N as a power of two."""
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be computed, or not at every login.

        Raises:
            ValueError: The numbers are out of bounds.
        """
        # RFC 7914 §6: N is more than 1 and less than 2^(128 * r / 8).
        if not (self.r and 0 < self.ln < 16 * self.r and self.p in _PARALLELISM):
            raise ValueError("the numbers behind $scrypt$ make no hash; " + _USE_OURS)
        memory_kib = (_BLOCK_BYTES * self.r << self.ln) // 1024
        if memory_kib > _MEMORY_KIB or memory_kib * self.p > _WORK_KIB:
            raise ValueError(_TOO_COSTLY)

    def derive(self, password: bytes, salt: bytes, size: int) -> bytes:
        """Compute a digest of ``size`` bytes."""
        # What OpenSSL counts: N blocks, p more, and two to work in.
        memory_bytes = _BLOCK_BYTES * self.r * ((1 << self.ln) + self.p + 2)
        n = 1 << self.ln
        return hashlib.scrypt(password, salt=salt, n=n, r=self.r, p=self.p, maxmem=memory_bytes, dklen=size)

    def __str__(self) -> str:
        """The head of a PHC string."""
        return f"$scrypt$ln={self.ln},r={self.r},p={self.p}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2id:
    """Argon2id, version 1.3 (RFC 9106), and what it costs."""

    m: int = 19456
    """Memory in KiB."""
    t: int = 2
    """Passes over it."""
    p: int = 1
    """Lanes."""

    def __post_init__(self) -> None:
        """Refuse what cannot be computed, or not at every login.

        Raises:
            ValueError: The numbers are out of bounds, or there is no Argon2id on this machine.
        """
        if not (self.t and self.p in _PARALLELISM and self.m >= _LANE_KIB * self.p):
            raise ValueError("the numbers behind $argon2id$ make no hash; " + _USE_OURS)
        if self.m > _MEMORY_KIB or self.m * self.t > _WORK_KIB:
            raise ValueError(_TOO_COSTLY)
        if not argon2.is_available():
            raise ValueError(
                "Argon2id needs the Python package cryptography from version 44 on, with OpenSSL from 3.2 on; upgrade, "
                "or make a scrypt hash with `tlsproxy hash-password`"
            )

    def derive(self, password: bytes, salt: bytes, size: int) -> bytes:
        """Compute a digest of ``size`` bytes."""
        return argon2.derive(password, salt, size, memory_kib=self.m, passes=self.t, lanes=self.p)

    def __str__(self) -> str:
        """The head of a PHC string."""
        return f"$argon2id$v=19$m={self.m},t={self.t},p={self.p}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHash:
    """What is known of one password."""

    cost: Scrypt | Argon2id
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def is_of(self, password: bytes) -> bool:
        """Whether it is the hash of this password; takes a tenth of a second, and lets other threads run meanwhile."""
        return hmac.compare_digest(self.cost.derive(password, self.salt, len(self.digest)), self.digest)

    def encode(self) -> str:
        """The PHC string."""
        return f"{self.cost}${_unpadded(self.salt)}${_unpadded(self.digest)}"


def hash_password(password: bytes, salt: bytes, cost: Scrypt | Argon2id) -> PasswordHash:
    """Make the hash of a password.

    Args:
        password: As clients will send it.
        salt: 16 random bytes.
        cost: The function and its numbers.
    """
    return PasswordHash(cost=cost, salt=salt, digest=cost.derive(password, salt, 32))


def parse_hash(text: bytes) -> PasswordHash:
    """Read a PHC string.

    Raises:
        ValueError: It is none, or none that can be used here; the text tells why without showing it.
    """
    if found := _SCRYPT.fullmatch(text):
        ln, r, p = (int(number) for number in found.groups()[:3])
        cost: Scrypt | Argon2id = Scrypt(ln=ln, r=r, p=p)
    elif found := _ARGON2ID.fullmatch(text):
        m, t, p = (int(number) for number in found.groups()[:3])
        cost = Argon2id(m=m, t=t, p=p)
    elif _FOREIGN.match(text):
        raise ValueError("only scrypt and Argon2id hashes can be used, in PHC format; " + _USE_OURS)
    else:
        raise ValueError("a $scrypt$ or $argon2id$ hash is missing behind the colon; " + _USE_OURS)
    return PasswordHash(
        cost=cost, salt=_decoded(found[4], "salt", _SALT_BYTES), digest=_decoded(found[5], "hash", _DIGEST_BYTES)
    )


def _decoded(text: bytes, what: str, sizes: range) -> bytes:
    try:
        value = binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        value = b""
    if len(value) not in sizes:
        raise ValueError(f"the {what} is damaged: it is not {sizes[0]} to {sizes[-1]} bytes in base64; {_USE_OURS}")
    return value


def _unpadded(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).rstrip(b"=").decode("ascii")
