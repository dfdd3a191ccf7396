"""Argon2id (RFC 9106) by way of cryptography, where it and its OpenSSL are new enough; loaded only when it is used."""

import threading
from typing import Final

# cryptography hands each lane to a thread of OpenSSL's, and two such calls at once wait for each other for ever
# (seen with cryptography 50.0, OpenSSL 4.0).
_ONE_AT_A_TIME: Final = threading.Lock()


def is_available() -> bool:
    """Whether Argon2id can be computed here: cryptography from 44 on, OpenSSL from 3.2 on."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - most files need none of it
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415 - same

        try:
            Argon2id(salt=bytes(8), length=16, iterations=1, lanes=1, memory_cost=8)
        except UnsupportedAlgorithm:
            return False
    except ImportError:
        return False
    return True


def derive(password: bytes, salt: bytes, size: int, *, memory_kib: int, passes: int, lanes: int) -> bytes:
    """Compute a tag of ``size`` bytes; call it only where ``is_available``."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415 - see above

    with _ONE_AT_A_TIME:
        return Argon2id(salt=salt, length=size, iterations=passes, lanes=lanes, memory_cost=memory_kib).derive(password)
