"""From names to dnspython's and from its records to ours; must not ask."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

import dns.exception
import dns.name
import dns.rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from tlsproxy.senders.names import MailExchange, Record


def wire_name(name: str) -> dns.name.Name | None:
    """The name label by label, for a text may hold what dnspython's own syntax takes for an escape."""
    try:
        return dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])
    except (UnicodeEncodeError, dns.exception.DNSException):  # an empty or long label, or a long name
        return None


def records_of(answer: Iterable[dns.rdata.Rdata]) -> Iterator[Record]:
    """Our records for dnspython's; one whose name cannot be written is left out."""
    for rdata in answer:
        match rdata:
            case A():
                yield IPv4Address(rdata.address)
            case AAAA():
                yield IPv6Address(rdata.address)
            case TXT():
                yield b"".join(rdata.strings)
            case MX() if (name := _text(rdata.exchange)) is not None:
                yield MailExchange(rdata.preference, name)
            case PTR() if name := _text(rdata.target):
                yield name
            case _:
                continue


def _text(name: dns.name.Name) -> str | None:
    """The name without its final dot; None where a label holds what text cannot, such as a dot."""
    labels = name.labels[:-1]
    text = b".".join(labels).decode("latin-1")
    is_writable = text.isascii() and text.isprintable() and not any(b"." in label for label in labels)
    return text if is_writable else None
