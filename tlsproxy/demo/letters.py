"""Five letters that differ in what mail programs find hard; texts for people, no logic."""

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

_FIRST_SENT: Final = datetime(2003, 4, 1, 9, 30, tzinfo=UTC)
# The smallest GIF there is: one transparent pixel.
_PIXEL: Final = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


def letters() -> list[bytes]:
    """The mailbox's first contents.

    Returns:
        RFC 5322 messages with CRLF line ends, the same bytes every time.
    """
    makers = (_welcome, _umlauts, _dots, _picture, _long)
    return [_sent(make(), number) for number, make in enumerate(makers, start=1)]


def _sent(letter: EmailMessage, number: int) -> bytes:
    """The letter as it goes on the wire."""
    letter["To"] = "Demo <demo@localhost>"
    letter["Date"] = format_datetime(_FIRST_SENT + timedelta(days=number, hours=number))
    letter["Message-ID"] = f"<letter-{number}@old.example>"
    multiparts = (part for part in letter.walk() if part.is_multipart())
    for depth, part in enumerate(multiparts):
        part.set_boundary(f"part-{depth}-of-letter-{number}")
    return letter.as_bytes(policy=SMTP)


def _letter(sender: str, subject: str, text: str) -> EmailMessage:
    letter = EmailMessage(policy=SMTP)
    letter["From"] = sender
    letter["Subject"] = subject
    letter.set_content(text)
    return letter


def _welcome() -> EmailMessage:
    return _letter(
        "The old server <postmaster@old.example>",
        "Welcome",
        "I have served this mailbox since before TLS was common.\n"
        "Nobody may change me, and nobody has to: a proxy stands in front of me now.\n",
    )


def _umlauts() -> EmailMessage:
    return _letter(
        "Jörg Müller <joerg@old.example>",
        "Grüße aus Köln und 東京",
        "Schöne Grüße! Наилучшие пожелания. よろしくお願いします。\n",
    )


def _dots() -> EmailMessage:
    return _letter(
        "Dot <dot@old.example>",
        "Lines that begin with a dot",
        "POP3 ends a message with a lone dot, so these need care:\n.\n..\n...three\n. and a space\n",
    )


def _picture() -> EmailMessage:
    letter = _letter("Gallery <art@old.example>", "A picture in two dresses", "See the picture attached.\n")
    letter.add_alternative("<p>See the <b>picture</b> attached.</p>\n", subtype="html")
    letter.add_attachment(_PIXEL, maintype="image", subtype="gif", filename="pixel.gif")
    return letter


def _long() -> EmailMessage:
    lines = (f"{number:4d}  One line of many, to see that a long letter arrives whole." for number in range(1, 401))
    return _letter("List <list@old.example>", "A long one " + "with a long subject " * 8, "\n".join(lines) + "\n")
