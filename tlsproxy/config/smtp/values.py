"""The types of SMTP's keys: how each is read from a TOML value; must not know any section.

As in ``config.values``, every refusal is a ValueError whose text is for the administrator.
"""

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator, PlainSerializer, PlainValidator

from tlsproxy.config.units import TcpAddress, format_size, parse_bind, parse_size
from tlsproxy.config.values import Count, SecondsOrZero, read_text

# RFC 5321 §4.5.3.1.7 and §4.5.3.1.8: what every server has to take.
_LEAST_MESSAGE_BYTES: Final = 64 * 1024
_LEAST_RECIPIENTS: Final = 100
# Beyond it the sizes of old servers, counted in 32 bits with a sign, turn negative.
_LARGEST_MESSAGE_BYTES: Final = 2**31 - 2**20
_LONGEST_CACHE_S: Final = 60.0
# RFC 1035 §3.2.1 and §4.2.
_DNS_PORT: Final = 53
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# RFC 5321 §4.1.2; the top label is not all digits (RFC 3696 §2), so that no address is taken for a name.
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}$)(?:{_LABEL}\.)*(?!\d+$){_LABEL}", re.ASCII)
# RFC 5321 §4.1.2, Dot-string; a quoted local part is nobody's postmaster.
_LOCAL_PART: Final = re.compile(r"(?=.{1,64}$)[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)


def _read_domain(value: object) -> str:
    """Read a mail domain; it comes out in lower case and without a final dot."""
    return read_text(value, _parse_domain, '"example.org"')


def _parse_domain(text: str) -> str:
    domain = text.lower().removesuffix(".")
    if not domain.isascii():
        raise ValueError('write the domain in its ASCII form, which begins with "xn--"')
    if not _DOMAIN.fullmatch(domain):
        raise ValueError('write a domain as "example.org"')
    return domain


def _read_hostname(value: object) -> str:
    """Read our own name, which other servers look up."""
    name = read_text(value, _parse_domain, '"mx.example.org"')
    if "." not in name:
        raise ValueError(f'other mail servers look this name up; write it in full, as "{name}.example.org"')
    return name


def _read_suffix(value: object) -> str:
    """Read the end of host names; it comes out without a leading dot."""
    return read_text(value, lambda text: _parse_domain(text.removeprefix(".")), '"example.org"')


def _read_recipient(value: object) -> str:
    """Read a recipient: a local part that stands for every local domain, or an address; lower case."""
    return read_text(value, _parse_recipient, '"postmaster"')


def _parse_recipient(text: str) -> str:
    local, at, domain = text.lower().rpartition("@") if "@" in text else (text.lower(), "", "")
    if not _LOCAL_PART.fullmatch(local):
        raise ValueError('write a recipient as "postmaster", for all local domains, or "postmaster@example.org"')
    return local + at + (_parse_domain(domain) if at else "")


def _read_message_size(value: object) -> int:
    """Read how large a message may be; a plain number is bytes."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    size = value if isinstance(value, int) and is_number else read_text(value, parse_size, '"25MB"')
    if size < _LEAST_MESSAGE_BYTES:
        raise ValueError('must be at least "64KiB", which RFC 5321 §4.5.3.1.7 asks every server to take')
    if size > _LARGEST_MESSAGE_BYTES:
        raise ValueError(f'must be at most "{format_size(_LARGEST_MESSAGE_BYTES)}"')
    return size


def _judge_recipients(number: int) -> int:
    """RFC 5321 §4.5.3.1.8: senders count on a hundred."""
    if number < _LEAST_RECIPIENTS:
        raise ValueError(f"must be at least {_LEAST_RECIPIENTS}, which RFC 5321 §4.5.3.1.8 asks every server to take")
    return number


def _judge_cache(seconds: float) -> float:
    """A password that was changed must not go on being right."""
    if seconds > _LONGEST_CACHE_S:
        raise ValueError('must be at most "60s": so long does a withdrawn password go on being right')
    return seconds


def _read_name_server(value: object) -> TcpAddress:
    """Read where a name server is; the port is that of DNS unless it is written."""
    if isinstance(value, TcpAddress):
        return value
    return read_text(value, parse_name_server, '"127.0.0.1"')


def parse_name_server(text: str) -> TcpAddress:
    """Read ``127.0.0.1``, ``127.0.0.1:5353`` or ``[::1]:5353``.

    Raises:
        ValueError: It is none of these.
    """
    try:
        return TcpAddress(str(ipaddress.ip_address(text)), _DNS_PORT)
    except ValueError:
        pass  # not an address alone
    try:
        address = parse_bind(text)
    except ValueError:
        address = None
    if not isinstance(address, TcpAddress) or address.ip is None or not address.port:
        raise ValueError('write the address of a name server, as "127.0.0.1", "127.0.0.1:5353" or "[::1]:5353"')
    return address


Domain = Annotated[str, PlainValidator(_read_domain)]
Hostname = Annotated[str, PlainValidator(_read_hostname)]
Suffix = Annotated[str, PlainValidator(_read_suffix)]
Recipient = Annotated[str, PlainValidator(_read_recipient)]
MessageSizeBytes = Annotated[int, PlainValidator(_read_message_size), PlainSerializer(format_size)]
RecipientCount = Annotated[Count, AfterValidator(_judge_recipients)]
CacheSeconds = Annotated[SecondsOrZero, AfterValidator(_judge_cache)]
NameServer = Annotated[TcpAddress, PlainValidator(_read_name_server), PlainSerializer(str)]
