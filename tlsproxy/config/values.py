"""The types of the configuration's keys: how each is read from a TOML value; must not know any section.

Every function refuses with a ValueError whose text is for the administrator. Relative paths are resolved against
the validation context's ``folder``, which is the folder of the file.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import PlainSerializer, PlainValidator, ValidationInfo

from tlsproxy.config.units import (
    BackendAddress,
    BindAddress,
    InheritedSocket,
    Rate,
    TcpAddress,
    UnixAddress,
    format_duration,
    format_size,
    parse_backend,
    parse_bind,
    parse_duration,
    parse_rate,
    parse_size,
)
from tlsproxy.core.addresses import Network

FOLDER: Final = "folder"
"""The key of the validation context that holds the folder of relative paths."""

UNLIMITED: Final = "none"
AUTO: Final = "auto"
# Fits the counters of every table and a C int.
_HIGHEST_COUNT: Final = 1_000_000_000
# One Python integer of memory for each line being read: more is no mail client but a flood.
_LARGEST_BUFFER_BYTES: Final = 16 * 1024 * 1024
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
# What useradd(8) takes on Debian.
_RUN_AS: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}(:[a-z_][a-z0-9_-]{0,31})?", re.ASCII)
_MOST_WORKERS: Final = 256

_Value = TypeVar("_Value")


def _is_whole(value: object) -> bool:
    """Whether a TOML value is an integer; Python counts true as 1."""
    return isinstance(value, int) and not isinstance(value, bool)


def read_text(value: object, parse: Callable[[str], _Value], example: str) -> _Value:
    """Read a value that is written in quotes.

    Args:
        value: What the file holds.
        parse: Reads the text; raises ValueError.
        example: What would be right, in its quotes.

    Raises:
        ValueError: Not a text, or not one that can be parsed.
    """
    if not isinstance(value, str):
        raise ValueError(f"write it in quotes, as {example}")  # noqa: TRY004 - pydantic collects ValueError alone
    return parse(value)


def _read_duration(value: object) -> float:
    """Read a duration, which may be nothing."""
    return read_text(str(value) if _is_whole(value) else value, parse_duration, '"10s"')


def _read_positive_duration(value: object) -> float:
    """Read a duration that has to be something."""
    seconds = _read_duration(value)
    if not seconds:
        raise ValueError('a deadline of nothing would end every connection; write a duration as "10s"')
    return seconds


def _read_size(value: object) -> int:
    """Read a size; a plain number is bytes."""
    size = value if isinstance(value, int) and _is_whole(value) else read_text(value, parse_size, '"64KiB"')
    if not 1 <= size <= _LARGEST_BUFFER_BYTES:
        raise ValueError('must be from "1B" to "16MiB"')
    return size


def _read_count(value: object) -> int:
    """Read a number of things of which there is at least one."""
    if not isinstance(value, int) or not _is_whole(value):
        raise ValueError("write a whole number without quotes, as 100")
    if value < 1:
        raise ValueError("must be at least 1")
    if value > _HIGHEST_COUNT:
        raise ValueError(f"must be at most {_HIGHEST_COUNT}")
    return value


def _read_cap(value: object) -> int | None:
    """Read a cap; only the word none takes it away."""
    if value is None or value == UNLIMITED:
        return None
    if _is_whole(value) and value == 0:
        raise ValueError('0 would let nobody in; write "none" for unlimited')
    if isinstance(value, str):
        raise ValueError('write a whole number without quotes, or "none" for unlimited')  # noqa: TRY004 - as above
    return _read_count(value)


def _read_rate(value: object) -> Rate | None:
    """Read a rate; only the word none takes it away."""
    if value is None or value == UNLIMITED:
        return None
    if isinstance(value, Rate):
        return value
    if _is_whole(value):
        raise ValueError(f'the time is missing; write "{value}/1m" for {value} a minute, or "none" for unlimited')
    return read_text(value, parse_rate, '"120/1m"')


def _read_network(value: object) -> Network:
    """Read a network or a single address."""
    if isinstance(value, Network):
        return value
    return read_text(value, _parse_network, '"192.0.2.0/24"')


def _parse_network(text: str) -> Network:
    """Read ``192.0.2.0/24``, ``2001:db8::/32`` or one address."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError('write a network as "192.0.2.0/24" or "2001:db8::/32", or one address') from None
    if str(network.network_address) != str(ipaddress.ip_address(text.partition("/")[0])):
        raise ValueError(f'the address has bits behind its prefix; write "{network}", or the address')
    return network


def _read_bind(value: object) -> BindAddress:
    """Read where to listen."""
    if isinstance(value, TcpAddress | InheritedSocket):
        return value
    if _is_whole(value):
        raise ValueError(f'the host is missing; write "0.0.0.0:{value}" for IPv4, "[::]:{value}" for IPv6')
    return read_text(value, parse_bind, '"0.0.0.0:993"')


def _read_backend(value: object, info: ValidationInfo) -> BackendAddress:
    """Read where the old mail server is."""
    if isinstance(value, TcpAddress | UnixAddress):
        return value
    if _is_whole(value):
        raise ValueError(f'the host is missing; write "127.0.0.1:{value}"')
    address = read_text(value, parse_backend, '"127.0.0.1:1143"')
    if isinstance(address, UnixAddress):
        return parse_backend(f"unix:{_anchored(Path(address.path), info)}")
    return address


def _read_path(value: object, info: ValidationInfo) -> Path:
    """Read the path of a file."""
    if isinstance(value, Path):
        return _anchored(value, info)
    text = read_text(value, str, '"/etc/tlsproxy/mail.pem"')
    if not text or "\0" in text:
        raise ValueError('write the path of a file, as "/etc/tlsproxy/mail.pem"')
    return _anchored(Path(text), info)


def _read_log_file(value: object, info: ValidationInfo) -> str:
    """Read a path, or nothing for standard output."""
    return str(_read_path(value, info)) if value != "" else ""


def _anchored(path: Path, info: ValidationInfo) -> Path:
    """A path of the file as one that holds from anywhere."""
    context: object = info.context
    folder = context.get(FOLDER) if isinstance(context, Mapping) else None
    return folder / path if isinstance(folder, Path) else path


def _read_name(value: object) -> str:
    """Read a name that can stand in a log field, a metric's label and a variable."""
    name = read_text(value, str, '"imaps"')
    if not _NAME.fullmatch(name):
        raise ValueError('a name is lower-case letters, digits, "-" and "_", beginning with a letter or digit')
    return name


def _read_server_name(value: object) -> str | None:
    """Read the name on the backend's certificate."""
    if value is None:
        return None
    address = read_text(value, lambda text: parse_backend(f"{text}:1"), '"mail.example.org"')
    if not isinstance(address, TcpAddress):
        raise ValueError('write the name on its certificate, as "mail.example.org"')  # noqa: TRY004 - as above
    return address.host


def _read_flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("write true or false, without quotes")  # noqa: TRY004 - as above
    return value


def _read_workers(value: object) -> int | Literal["auto"]:
    """Read how many processes serve connections."""
    if value == AUTO:
        return "auto"
    if not isinstance(value, int) or not _is_whole(value) or not 1 <= value <= _MOST_WORKERS:
        raise ValueError(f'write "auto", or a number from 1 to {_MOST_WORKERS}')
    return value


def _read_run_as(value: object) -> str:
    """Read ``USER`` or ``USER:GROUP``; whether there is such a user is seen at start."""
    text = read_text(value, str, '"tlsproxy"')
    if text and not _RUN_AS.fullmatch(text):
        raise ValueError('write a user\'s name, as "tlsproxy", or a user and a group, as "tlsproxy:ssl-cert"')
    return text


def _write_cap(value: object) -> object:
    """Write a cap or a rate as it is read."""
    if value is None:
        return UNLIMITED
    return value if isinstance(value, int) else str(value)


Seconds = Annotated[float, PlainValidator(_read_positive_duration), PlainSerializer(format_duration)]
SecondsOrZero = Annotated[float, PlainValidator(_read_duration), PlainSerializer(format_duration)]
SizeBytes = Annotated[int, PlainValidator(_read_size), PlainSerializer(format_size)]
Count = Annotated[int, PlainValidator(_read_count)]
Cap = Annotated[int | None, PlainValidator(_read_cap), PlainSerializer(_write_cap)]
RateCap = Annotated[Rate | None, PlainValidator(_read_rate), PlainSerializer(_write_cap)]
NetworkValue = Annotated[Network, PlainValidator(_read_network), PlainSerializer(str)]
BindValue = Annotated[BindAddress, PlainValidator(_read_bind), PlainSerializer(str)]
BackendValue = Annotated[BackendAddress, PlainValidator(_read_backend), PlainSerializer(str)]
FilePath = Annotated[Path, PlainValidator(_read_path), PlainSerializer(str)]
LogFile = Annotated[str, PlainValidator(_read_log_file)]
Name = Annotated[str, PlainValidator(_read_name)]
ServerName = Annotated[str | None, PlainValidator(_read_server_name)]
Flag = Annotated[bool, PlainValidator(_read_flag)]
RunAs = Annotated[str, PlainValidator(_read_run_as)]
Workers = Annotated[int | Literal["auto"], PlainValidator(_read_workers)]
