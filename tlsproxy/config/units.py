"""How an administrator writes durations, sizes, rates and addresses; pure values that must not resolve a name.

Each ``parse_*`` raises ValueError with a text for the person who wrote the value: what would be right, in our words.
Each ``format_*`` and ``__str__`` writes what its parser reads back as the same value.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

_UNIT_MS: Final = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION: Final = re.compile(r"(?:(\d{1,7})h)?(?:(\d{1,7})m(?!s))?(?:(\d{1,7})s)?(?:(\d{1,7})ms)?", re.ASCII)
# Every timer we keep is shorter; a longer one is a slip of the unit.
_LONGEST_MS: Final = 30 * 24 * 3_600_000
_SIZE: Final = re.compile(r"(\d{1,12}) ?([A-Za-z]*)", re.ASCII)
# Without the "i" a power of ten, as IEC 80000-13 has it.
_SIZE_UNIT_BYTES: Final = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "kib": 1024,
    "m": 1000**2,
    "mb": 1000**2,
    "mib": 1024**2,
    "g": 1000**3,
    "gb": 1000**3,
    "gib": 1024**3,
}
_RATE: Final = re.compile(r"(\d{1,9}) ?/ ?(\S+)", re.ASCII)
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+", re.ASCII)
_DESCRIPTOR_NAME: Final = re.compile(r"[A-Za-z0-9_.@-]{1,255}", re.ASCII)
_HIGHEST_PORT: Final = 65_535
_PORT_DIGITS: Final = 5
# sizeof(sun_path) on Linux, less the closing NUL (unix(7)).
_UNIX_PATH_LIMIT_BYTES: Final = 107


@dataclass(frozen=True, slots=True)
class Rate:
    """So many events in so much time."""

    count: int
    period_s: float

    def __str__(self) -> str:
        """``120/1m``."""
        return f"{self.count}/{format_duration(self.period_s)}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port; the host is a numeric address without brackets, or a name."""

    host: str
    port: int

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an address, None where it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        """``192.0.2.1:993``, ``[2001:db8::1]:993`` or ``mail.example.org:993``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket in the file system."""

    path: str

    def __str__(self) -> str:
        """``unix:/run/old-mail/imap.sock``."""
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A listening socket that systemd opened and passes by name (sd_listen_fds_with_names(3))."""

    name: str

    def __str__(self) -> str:
        """``fd:imaps``."""
        return f"fd:{self.name}"


BindAddress = TcpAddress | InheritedSocket
BackendAddress = TcpAddress | UnixAddress


def parse_duration(text: str) -> float:
    """Read ``500ms``, ``10s``, ``1m`` or ``1h30m``.

    Args:
        text: Whole numbers with units, the largest unit first.

    Returns:
        Seconds.

    Raises:
        ValueError: Not a duration, or longer than 30 days.
    """
    found = _DURATION.fullmatch(text)
    if not found or not text:
        if text.isascii() and text.isdecimal():
            raise ValueError(f'a unit is missing; write "{text}s" for seconds or "{text}m" for minutes')
        raise ValueError('write a duration as "500ms", "10s", "5m" or "1h30m"')
    total_ms = sum(int(number or 0) * size for number, size in zip(found.groups(), _UNIT_MS.values(), strict=True))
    if total_ms > _LONGEST_MS:
        raise ValueError('too long; at most "720h" (30 days)')
    return total_ms / 1000


def format_duration(seconds: float) -> str:
    """Write seconds, exact to the millisecond, as ``parse_duration`` reads them."""
    rest_ms = round(seconds * 1000)
    parts: list[str] = []
    for unit, size_ms in _UNIT_MS.items():
        number, rest_ms = divmod(rest_ms, size_ms)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int:
    """Read ``512B``, ``64KiB``, ``25M`` or ``25MB``.

    Args:
        text: A whole number with a unit; KiB is 1024 bytes, K and KB are 1000.

    Returns:
        Bytes.

    Raises:
        ValueError: Not a size.
    """
    found = _SIZE.fullmatch(text)
    unit = _SIZE_UNIT_BYTES.get(found[2].lower()) if found else None
    if not found or unit is None:
        raise ValueError('write a size as "512B", "64KiB" or "25MB"')
    return int(found[1]) * unit


def format_size(size_bytes: int) -> str:
    """Write bytes with the largest unit that is exact, as ``parse_size`` reads them."""
    units = (unit for unit in ("GiB", "GB", "MiB", "MB", "KiB", "KB") if size_bytes >= _SIZE_UNIT_BYTES[unit.lower()])
    exact = (unit for unit in units if size_bytes % _SIZE_UNIT_BYTES[unit.lower()] == 0)
    unit = next(exact, "B")
    return f"{size_bytes // _SIZE_UNIT_BYTES[unit.lower()]}{unit}"


def parse_rate(text: str) -> Rate:
    """Read ``120/1m``: so many in so much time.

    Raises:
        ValueError: Not a rate, or a count or period of nothing.
    """
    found = _RATE.fullmatch(text)
    if not found:
        raise ValueError('write a rate as "120/1m" (120 in one minute), or "none" for unlimited')
    try:
        # "120/m" and "120/h" are what other programs write.
        period_s = parse_duration(found[2] if found[2][0].isdecimal() else f"1{found[2]}")
    except ValueError as error:
        raise ValueError(f'the time behind the "/": {error}') from error
    count = int(found[1])
    if not count or not period_s:
        raise ValueError('nobody could connect; write a rate as "120/1m", or "none" for unlimited')
    return Rate(count, period_s)


def parse_bind(text: str) -> BindAddress:
    """Read where to listen: ``0.0.0.0:993``, ``[::]:993``, ``name:993`` or ``fd:NAME``.

    Port 0 lets the system choose one.

    Raises:
        ValueError: Not such an address.
    """
    kind, _, rest = text.partition(":")
    if kind == "fd":
        if not _DESCRIPTOR_NAME.fullmatch(rest):
            raise ValueError('write "fd:NAME" with the FileDescriptorName= of the systemd socket unit')
        return InheritedSocket(rest)
    if kind == "unix":
        raise ValueError('mail clients come over TCP; write "0.0.0.0:993", or "fd:NAME" for a socket of systemd')
    if kind == "*":
        raise ValueError(f'write two addresses: "0.0.0.0:{rest}" for IPv4 and "[::]:{rest}" for IPv6')
    return _parse_tcp(text, lowest_port=0)


def parse_backend(text: str) -> BackendAddress:
    """Read where the old mail server is: ``127.0.0.1:1143``, ``[::1]:1143``, ``name:1143`` or ``unix:/path``.

    Raises:
        ValueError: Not such an address.
    """
    kind, _, path = text.partition(":")
    if kind != "unix":
        return _parse_tcp(text, lowest_port=1)
    if not path or "\0" in path or len(path.encode("utf-8", "surrogatepass")) > _UNIX_PATH_LIMIT_BYTES:
        raise ValueError(f'write "unix:/path" with a path of 1 to {_UNIX_PATH_LIMIT_BYTES} bytes')
    return UnixAddress(path)


def _parse_tcp(text: str, *, lowest_port: int) -> TcpAddress:
    """Read host and port; raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(_without_colon(text))
    if not (port.isascii() and port.isdecimal() and len(port) <= _PORT_DIGITS):
        raise ValueError(f'what stands behind the last ":" must be a port, {lowest_port} to {_HIGHEST_PORT}')
    if not lowest_port <= int(port) <= _HIGHEST_PORT:
        raise ValueError(f"the port must be {lowest_port} to {_HIGHEST_PORT}")
    return TcpAddress(_parse_host(host, port), int(port))


def _without_colon(text: str) -> str:
    """What would be right where host or port is missing."""
    if text.isdecimal():
        return f'the host is missing; write "127.0.0.1:{text}", or "0.0.0.0:{text}" for every IPv4 address'
    return f'the port is missing; write "{text}:143"' if text else 'write an address as "127.0.0.1:143"'


def _parse_host(host: str, port: str) -> str:
    """Read a numeric address or a name; raises ValueError."""
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError('what stands in "[ ]" is no IPv6 address') from None
    if ":" in host:
        raise ValueError(f'an IPv6 address stands in brackets; write "[{host}]:{port}"')
    if host.replace(".", "").isdecimal():
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f'"{host}" is no IPv4 address; write four numbers from 0 to 255, as 192.0.2.1') from None
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(f'"{host}" is no host; write an address or a name before the ":"')
    return host
