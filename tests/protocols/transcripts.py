"""Dialogues written down as text files, read into values; must not drive anything.

The format is told in ``tests/transcripts/README.md``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from tlsproxy.core.kinds import ProtocolName
from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import (
    ClientIdentified,
    DialogueLimits,
    Hangup,
    LoggedIn,
    LoginFailed,
    PasswordExposed,
    StartTls,
)

ROOT: Final = Path(__file__).parents[1] / "transcripts"

Event = StartTls | Hangup | PasswordExposed | LoginFailed | LoggedIn | ClientIdentified


class Room(StrEnum):
    """Which dialogue a transcript belongs to."""

    GATE = "gate"
    LOGIN_IMPLICIT = "login-implicit"
    LOGIN_STARTTLS = "login-starttls"
    UPGRADE = "upgrade"


class Speaker(StrEnum):
    """Whose bytes come in."""

    CLIENT = "C"
    BACKEND = "<B"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One feed and all that must come of it."""

    speaker: Speaker | None
    """None only of the first step: what is said before anybody is heard."""
    heard: bytes
    to_client: bytes
    to_backend: bytes
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One file."""

    name: str
    title: str
    rfc: str
    room: Room
    outcome: str
    """A Reason's value, or starttls, logged_in, open."""
    limits: DialogueLimits
    steps: tuple[Step, ...]
    may_be_split: bool
    """False where the point of it is that bytes arrive together."""


class TranscriptError(ValueError):
    """A file that is no transcript; names the file and the line."""


def load_all(protocol: ProtocolName) -> list[Transcript]:
    """Read all transcripts of a protocol, sorted by name."""
    return [load(path) for path in sorted((ROOT / protocol).glob("*.txt"))]


def load(path: Path) -> Transcript:
    """Read one file."""
    return parse(path.name, path.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Transcript:
    """Read a transcript.

    Args:
        name: The file's name, for messages.
        text: Its content.

    Raises:
        TranscriptError: The text is no transcript.
    """
    reading = _Reading(name)
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            reading.take(line)
        except ValueError as error:
            raise TranscriptError(f"{name}:{number}: {error}") from error
    try:
        return reading.transcript()
    except ValueError as error:
        raise TranscriptError(f"{name}: {error}") from error


_HEADER: Final = re.compile(r"# ?([a-z]+): (.+)")
_SPOKEN: Final = re.compile(r"(C|S|>B|<B)([:|])(?: (.*))?")
_EVENT: Final = re.compile(r"!: (\S+)(?: (.+))?")
_ESCAPE: Final = re.compile(rb"\\(r|n|\\|x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)
_ONCE: Final = ("title", "rfc", "room", "outcome", "drive")
_LIMITS: Final = {
    "line_bytes": 8192,
    "sasl_line_bytes": 12288,
    "literal_bytes": 4096,
    "total_bytes": 65536,
    "bad_commands": 3,
    "failed_logins": 3,
}


@dataclass(slots=True)
class _Draft:
    speaker: Speaker | None = None
    heard: bytes = b""
    to_client: bytes = b""
    to_backend: bytes = b""
    events: list[Event] = field(default_factory=list)

    @property
    def has_result(self) -> bool:
        return bool(self.to_client or self.to_backend or self.events)

    def finished(self) -> Step:
        return Step(
            speaker=self.speaker,
            heard=self.heard,
            to_client=self.to_client,
            to_backend=self.to_backend,
            events=tuple(self.events),
        )


class _Reading:
    """The state of reading one file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._header: dict[str, str] = {}
        self._limits = dict(_LIMITS)
        self._drafts: list[_Draft] = []

    def take(self, line: str) -> None:
        if not line.strip():
            return
        if line.startswith("#"):
            self._take_header(line)
        elif found := _SPOKEN.fullmatch(line):
            self._take_spoken(found[1], unescaped(found[3] or "") + (b"\r\n" if found[2] == ":" else b""))
        elif found := _EVENT.fullmatch(line):
            self._draft().events.append(_event(found[1], found[2] or ""))
        else:
            raise ValueError(f"not a line of a transcript: {line!r}")

    def _take_header(self, line: str) -> None:
        if self._drafts:
            return  # a comment between what is said
        found = _HEADER.fullmatch(line)
        if found is None:
            raise ValueError(f"not a header: {line!r}")
        key, value = found[1], found[2].strip()
        if key == "limit":
            self._take_limit(value)
        elif key in _ONCE and key not in self._header:
            self._header[key] = value
        else:
            raise ValueError(f"unknown or repeated header: {key}")

    def _take_limit(self, value: str) -> None:
        name, _, number = value.partition("=")
        if name not in self._limits:
            raise ValueError(f"unknown limit: {name}")
        self._limits[name] = int(number)

    def _take_spoken(self, who: str, data: bytes) -> None:
        match who:
            case "S":
                self._draft().to_client += data
            case ">B":
                self._draft().to_backend += data
            case _:
                self._take_heard(Speaker(who), data)

    def _take_heard(self, speaker: Speaker, data: bytes) -> None:
        last = self._drafts[-1] if self._drafts else None
        if last is None or last.speaker is not speaker or last.has_result:
            last = _Draft(speaker)
            self._drafts.append(last)
        last.heard += data

    def _draft(self) -> _Draft:
        if not self._drafts:
            self._drafts.append(_Draft())
        return self._drafts[-1]

    def transcript(self) -> Transcript:
        if missing := {"title", "rfc", "room", "outcome"} - self._header.keys():
            raise ValueError(f"header is missing: {', '.join(sorted(missing))}")
        if self._header.get("drive", "whole") != "whole":
            raise ValueError("drive can only be whole")
        steps = tuple(draft.finished() for draft in self._drafts)
        outcome = _outcome(steps)
        if outcome != self._header["outcome"]:
            raise ValueError(f"outcome is {self._header['outcome']} in the header and {outcome} in the dialogue")
        return Transcript(
            name=self._name,
            title=self._header["title"],
            rfc=self._header["rfc"],
            room=Room(self._header["room"]),
            outcome=outcome,
            limits=DialogueLimits(**self._limits),
            steps=steps,
            may_be_split="drive" not in self._header and outcome != Reason.STARTTLS_INJECTION,
        )


def unescaped(text: str) -> bytes:
    r"""Text to bytes: ``\r``, ``\n``, ``\xNN``, ``\\``; all else as UTF-8."""

    def byte(found: re.Match[bytes]) -> bytes:
        match found[1]:
            case b"r":
                return b"\r"
            case b"n":
                return b"\n"
            case b"\\":
                return b"\\"
            case code if len(code) == len("xNN"):
                return bytes.fromhex(code[1:].decode("ascii"))
            case other:
                raise ValueError(f"unknown escape: {other!r}")

    return _ESCAPE.sub(byte, text.encode())


def _event(word: str, rest: str) -> Event:
    words = rest.split(" ") if rest else []
    match word, words:
        case "starttls", []:
            return StartTls()
        case "hangup", [reason]:
            return Hangup(Reason(reason))
        case "exposed", [user, mechanism]:
            return PasswordExposed(user=_user(user), mechanism=mechanism)
        case "failed", [user, mechanism, ("credential" | "other") as kind]:
            return LoginFailed(user=_user(user), mechanism=mechanism, is_credential=kind == "credential")
        case "loggedin", [user, mechanism]:
            return LoggedIn(user=_user(user), mechanism=mechanism)
        case "identified", [_, *_]:
            return ClientIdentified(unescaped(rest))
        case _:
            raise ValueError(f"not an event: {word} {rest}")


def _user(text: str) -> bytes | None:
    return None if text == "-" else unescaped(text)


def _outcome(steps: Sequence[Step]) -> str:
    for event in _last_first(steps):
        match event:
            case Hangup(reason):
                return reason.value
            case StartTls():
                return "starttls"
            case LoggedIn():
                return "logged_in"
            case _:
                pass
    return "open"


def _last_first(steps: Sequence[Step]) -> Iterator[Event]:
    for step in reversed(steps):
        yield from reversed(step.events)
