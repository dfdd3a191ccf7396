"""What a log line looks like, for machines and for people; must not do I/O and must not raise on any value."""

import json
import traceback
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePath
from typing import Final

import orjson

from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LogLevel
from tlsproxy.core.summary import readable
from tlsproxy.core.text import printable

_CONSOLE_VALUE_LIMIT_CHARS: Final = 1000
_MESSAGE_LIMIT_CHARS: Final = 200
_FRAMES_LIMIT: Final = 12  # the innermost ones: where it happened
_EXCEPTIONS_LIMIT: Final = 6  # causes and members of groups in all
# Even if JSON doubles each byte the line fits in 4096, which a pipe with several writers does not tear (pipe(7)).
_EXCEPTION_LIMIT_BYTES: Final = 1536
_GAP: Final = b" ... "
_COLOURS: Final = {LogLevel.DEBUG: "2", LogLevel.INFO: "32", LogLevel.WARNING: "33", LogLevel.ERROR: "31"}
_KIB: Final = 1024

Fields = Mapping[str, object]


def json_line(fields: Fields) -> bytes:
    """One line of JSON, keys in the order given; wire bytes readable, unknown objects by their type alone."""
    try:
        return orjson.dumps(fields, default=_plain, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # numbers over 64 bits, lone surrogates, keys that are no str
        text = json.dumps({str(key): value for key, value in fields.items()}, default=_plain, skipkeys=True)
        return text.encode("ascii") + b"\n"


def console_line(fields: Fields, *, is_coloured: bool) -> bytes:
    """One line for a person: time, level, event, session, then what tells most; what is unknown is left out.

    Args:
        fields: ``ts``, ``level`` and ``event``, then the event's own.
        is_coloured: Whether the terminal understands colours.
    """
    known = {key: value for key, value in fields.items() if value is not None}
    time, level, event = str(known.pop("ts"))[11:23], LogLevel(str(known.pop("level"))), str(known.pop("event"))
    head = f"{level:<7}", f"{event:<20}"
    if is_coloured:
        head = f"\x1b[{_COLOURS[level]}m{head[0]}\x1b[0m", f"\x1b[1m{head[1]}\x1b[0m"
    words = [time, *head, _text(known.pop("session", ""))]
    words += _closed(known) if event == Event.SESSION_CLOSED else _client(known)
    if event != Event.SESSION_CLOSED:
        words += [f"{key}={_text(value)}" for key, value in known.items()]
    return (" ".join(word for word in words if word).rstrip() + "\n").encode()


def exception_text(error: BaseException) -> str:
    """An exception on one line: type, message cut to 200 characters, where; its causes and members behind it.

    Returns:
        ``ValueError: odd (at session.py:90 run > relay.py:33 pump) < OSError: … (at …)``; no local variables. At most
        1536 bytes: what is longer keeps its head and its tail.
    """
    told: list[str] = []
    waiting = [error]
    seen: set[int] = set()
    while waiting and len(told) < _EXCEPTIONS_LIMIT:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        told.append(_exception(one))
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
        cause = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if cause:
            waiting.append(cause)
    return _cut(" < ".join(told).encode(errors="backslashreplace")).decode(errors="ignore")


def _cut(text: bytes) -> bytes:
    if len(text) <= _EXCEPTION_LIMIT_BYTES:
        return text
    half = (_EXCEPTION_LIMIT_BYTES - len(_GAP)) // 2
    return text[:half] + _GAP + text[-half:]


def _exception(error: BaseException) -> str:
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)][-_FRAMES_LIMIT:]
    where = " > ".join(f"{PurePath(code.co_filename).name}:{line} {code.co_name}" for code, line in frames)
    message = printable(str(error)[:_MESSAGE_LIMIT_CHARS])
    name = type(error).__name__
    return (f"{name}: {message}" if message else name) + (f" (at {where})" if where else "")


def _plain(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return readable(bytes(value)) or ""
    if isinstance(value, PurePath | IPv4Address | IPv6Address):
        return str(value)
    return f"<{type(value).__name__}>"  # a repr could hold anything


def _client(known: dict[str, object]) -> list[str]:
    """``192.0.2.1:49152``, taken out of the fields."""
    ip, port = known.pop("client_ip", None), known.pop("client_port", None)
    if ip is None:
        return []
    return [f"[{_text(ip)}]:{port}" if ":" in str(ip) else f"{_text(ip)}:{port}"]


def _closed(known: dict[str, object]) -> list[str]:
    """Who, user, TLS, how it ended, how much, how long; then what went wrong."""
    words = [
        *_client(known),
        _text(known.get("listener", "")),
        f"user={_text(known['user'])}" if "user" in known else "",
        _text(known.get("tls_version", "")),
        f"{_text(known.get('phase'))}/{_text(known.get('reason'))}",
        f"↓{_size(known.get('bytes_to_client'))} ↑{_size(known.get('bytes_from_client'))}",
        f"{_text(known.get('duration'))}s",
    ]
    return words + [f"{key}={_text(known[key])}" for key in ("tls_error", "backend_error") if key in known]


def _size(count: object) -> str:
    if not isinstance(count, int) or count < _KIB:
        return f"{count or 0}B"
    size = float(count)
    for unit in ("KiB", "MiB"):
        size /= _KIB
        if size < _KIB:
            return f"{size:.1f}{unit}"
    return f"{size / _KIB:.1f}GiB"


def _text(value: object) -> str:
    """A value for a person: nothing in it can move the cursor or begin a line."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value}"
        case list() | tuple():
            return ",".join(map(_text, value))
        case dict():
            return ",".join(f"{_text(key)}:{_text(part)}" for key, part in value.items())
        case str():
            text = printable(str(value)[:_CONSOLE_VALUE_LIMIT_CHARS])
            # Quoted whenever it could be taken for more than one value, and what would end the quotation escaped.
            return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"' if set(text) & {" ", '"', "="} else text
    return _text(_plain(value))
