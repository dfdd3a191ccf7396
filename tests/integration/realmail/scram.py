"""A SCRAM-SHA-256 client (RFC 5802, RFC 7677) without channel binding; for tests, so it checks all that it is told."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable

Exchange = Callable[[bytes], bytes]
"""Sends one client message, base64 included, and returns the server's, base64 removed."""


def login(user: str, password: str, exchange: Exchange) -> None:
    """Play the dialogue and check the server's signature.

    Raises:
        AssertionError: The server does not know the password either.
    """
    first = f"n={user},r={secrets.token_hex(12)}".encode()
    challenge = exchange(base64.b64encode(b"n,," + first))
    fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    without_proof = b"c=biws,r=" + fields[b"r"]
    signed = b",".join((first, challenge, without_proof))
    client_key = _hmac(salted, b"Client Key")
    signature = _hmac(hashlib.sha256(client_key).digest(), signed)
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    final = exchange(base64.b64encode(without_proof + b",p=" + base64.b64encode(proof)))
    assert base64.b64decode(final.removeprefix(b"v=")) == _hmac(_hmac(salted, b"Server Key"), signed)


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")
