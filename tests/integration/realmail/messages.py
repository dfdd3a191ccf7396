"""Two hundred odd messages, the same in every run: what mail looks like when nobody tidies it up."""

import base64
import random
from typing import Final

COUNT: Final = 200
BIG_BYTES: Final = 20 * 1024 * 1024

_LINE: Final = bytes(range(33, 127)).replace(b".", b"")


def varied() -> list[bytes]:
    """The mailbox: every message in CRLF lines, each kind many times with other contents."""
    dice = random.Random(2449)
    kinds = (_plain, _dots, _eight_bit, _long_lines, _empty_body, _headers_alone, _multipart, _many_headers, _lookalike)
    return [_headers(number) + kinds[number % len(kinds)](dice) for number in range(COUNT)]


def big() -> bytes:
    """One message of 20 MiB, less than a line short, in lines of every length up to 76."""
    dice = random.Random(20)
    block = b"".join(_text(dice, dice.randrange(77)) + b"\r\n" for _ in range(2000))
    head = _headers(COUNT) + b"\r\n"
    body = block * (BIG_BYTES // len(block) + 1)
    return head + body[: body.rindex(b"\r\n", 0, BIG_BYTES - len(head)) + 2]


def _headers(number: int) -> bytes:
    return (
        f"Message-ID: <{number}@messages.test>\r\n"
        f"From: Sender {number} <sender{number}@messages.test>\r\n"
        "To: user@messages.test\r\n"
        "Date: Tue, 03 Mar 2026 10:00:00 +0000\r\n"
        f"Subject: message {number}\r\n"
    ).encode()


def _text(dice: random.Random, length: int) -> bytes:
    return bytes(dice.choices(_LINE, k=length))


def _plain(dice: random.Random) -> bytes:
    lines = [_text(dice, dice.randrange(76)) for _ in range(dice.randrange(1, 60))]
    return b"\r\n" + b"\r\n".join(lines) + b"\r\n"


def _dots(dice: random.Random) -> bytes:
    """Lines that POP3 has to stuff, the terminator itself among them, also as the first and the last line."""
    lines = [b".", b"..", b"...", b".x", b". ", b"x.", b""]
    dice.shuffle(lines)
    return b"\r\n.\r\n" + b"\r\n".join(lines) + b"\r\n.\r\n"


def _eight_bit(dice: random.Random) -> bytes:
    """Every byte value that a line may hold, and UTF-8 in a header."""
    everything = bytes(value for value in range(1, 256) if value not in b"\r\n")
    head = "X-Gruß: Größe über Äpfel\r\n\r\n".encode()
    return head + everything + b"\r\n" + "日本語 ünï\r\n".encode() * dice.randrange(1, 20)


def _long_lines(dice: random.Random) -> bytes:
    return b"\r\n" + _text(dice, 998) + b"\r\n" + _text(dice, dice.randrange(4000, 9000)) + b"\r\n"


def _empty_body(_dice: random.Random) -> bytes:
    return b"\r\n"


def _headers_alone(dice: random.Random) -> bytes:
    """Blank lines at the end, many of them."""
    return b"\r\n" + b"\r\n" * dice.randrange(1, 9)


def _multipart(dice: random.Random) -> bytes:
    """Text and an attachment in base64, inside one another."""
    blob = dice.randbytes(dice.randrange(1, 60_000))
    return (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="=_outer"\r\n\r\npreamble\r\n--=_outer\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + "Grüße\r\n.\r\n".encode()
        + b"--=_outer\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(blob).replace(b"\n", b"\r\n")
        + b"--=_outer--\r\nepilogue\r\n"
    )


def _many_headers(dice: random.Random) -> bytes:
    folded = (f"X-Header-{number}: {'a' * dice.randrange(60)}\r\n\tfolded\r\n" for number in range(150))
    return "".join(folded).encode() + b"\r\nbody\r\n"


def _lookalike(_dice: random.Random) -> bytes:
    """A body full of what servers say, to catch a proxy that listens after the login."""
    return (
        b"\r\n* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN]\r\n* BYE bye\r\n+OK\r\n-ERR [AUTH]\r\n"
        b"a1 OK done\r\n* CAPABILITY IMAP4rev1 STARTTLS\r\n+ go ahead\r\nSTLS\r\n)\r\n{10}\r\n"
    )
