"""Messages that go through SMTP, in CRLF lines; each begins with a line of its own, by which it is found again."""

import random
from typing import Final

FIRST: Final = b"X-First: 1\r\n"
_DATE: Final = "Tue, 03 Mar 2026 10:00:00 +0000"


def message(name: str, body: bytes | None = None) -> bytes:
    """A message with all the fields that some servers would add.

    Args:
        name: For its subject and id; nobody else has it.
        body: What follows the empty line; by default what often goes wrong.
    """
    head = (
        f"Message-ID: <{name}@remote.test>\r\nDate: {_DATE}\r\nFrom: Sender <sender@remote.test>\r\n"
        f"To: {name}@example.org\r\nSubject: {name}\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    )
    return FIRST + head.encode() + (_AWKWARD if body is None else body)


_AWKWARD: Final = (
    "Grüße\r\n.\r\n..\r\n.x\r\n\r\n . \r\nFrom here on\r\n\tMAIL FROM:<x@y.test>\r\nDATA\r\nQUIT\r\n" + "x" * 998
).encode() + b"\r\nlast line\r\n"


def bodies(count: int) -> list[bytes]:
    """Random bodies, the same in every run: mostly dots and line ends of every kind, and any other byte."""
    dice = random.Random(4151)
    return [_body(dice) for _ in range(count)]


def _body(dice: random.Random) -> bytes:
    pieces = (b".", b"..", b"\r\n", b"\r\n.", b"\n", b"\r", b"\r\r\n", b" ", b"text", b"\t", "ü".encode())
    made = b""
    for _ in range(dice.randrange(60)):
        made += dice.choice(pieces) if dice.random() < 0.8 else bytes([dice.randrange(1, 256)])
    return made
