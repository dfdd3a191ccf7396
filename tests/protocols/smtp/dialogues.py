"""SMTP's dialogues as text files, and a player for them; the format is told in ``tests/transcripts/README.md``."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from protocols.transcripts import ROOT, TranscriptError, unescaped

from tlsproxy.core.kinds import SmtpRole
from tlsproxy.protocols.smtp.conversation import Conversation, DialogueSettings
from tlsproxy.protocols.smtp.reply import Reply, ReplyReader
from tlsproxy.protocols.smtp.steps import (
    Credentials,
    Data,
    Hangup,
    Hello,
    Injection,
    Mail,
    PasswordExposed,
    Rcpt,
    Step,
)
from tlsproxy.protocols.smtp.syntax import Extension

SETTINGS: Final = DialogueSettings(hostname=b"mx.example", mechanisms=(b"PLAIN", b"LOGIN"), ref=b"(id R7)")
END: Final = re.compile(rb"(?:^|\r\n)\.\r\n")


class Room(StrEnum):
    """Where a client has come in."""

    MX = "mx"
    SUBMISSION = "submission"
    SUBMISSION_TLS = "submission-tls"


@dataclass(slots=True)
class Turn:
    """One feed, what must come of it, and what the runner says to that."""

    heard: bytes = b""
    said: bytes = b""
    steps: list[str] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """One file."""

    name: str
    room: Room
    outcome: str
    """A Reason's value, or starttls, or open."""
    settings: DialogueSettings
    turns: tuple[Turn, ...]
    """The first one is the greeting."""
    may_be_split: bool


def load_all() -> list[Dialogue]:
    return [parse(path.name, path.read_text("utf-8")) for path in sorted((ROOT / "smtp").glob("*.txt"))]


_LINE: Final = re.compile(r"([CS!R])([:|])(?: (.*))?")


def parse(name: str, text: str) -> Dialogue:
    header: dict[str, str] = {}
    settings = SETTINGS
    turns = [Turn()]
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            key, colon, value = line.removeprefix("# ").partition(": ")
            if key == "setting":
                settings = _set(settings, value)
            elif colon and len(turns) == 1:
                header[key] = value
        elif line:
            _take(turns, line, f"{name}:{number}")
    if missing := {"title", "rfc", "room", "outcome"} - header.keys():
        raise TranscriptError(f"{name}: header is missing: {', '.join(sorted(missing))}")
    outcome = _outcome(turns)
    if outcome != header["outcome"]:
        raise TranscriptError(f"{name}: outcome is {header['outcome']} in the header and {outcome} in the dialogue")
    return Dialogue(
        name=name,
        room=Room(header["room"]),
        outcome=outcome,
        settings=settings,
        turns=tuple(turns),
        may_be_split="drive" not in header,
    )


def _set(settings: DialogueSettings, text: str) -> DialogueSettings:
    name, _, value = text.partition("=")
    values: dict[str, Any] = {name: value == "true" if value in {"true", "false"} else int(value)}
    return replace(settings, **values)


def _take(turns: list[Turn], line: str, where: str) -> None:
    found = _LINE.fullmatch(line)
    if found is None:
        raise TranscriptError(f"{where}: not a line of a dialogue: {line!r}")
    said = unescaped(found[3] or "") + (b"" if found[2] == "|" else b"\r\n")
    match found[1]:
        case "C":
            if turns[-1].said or turns[-1].steps or len(turns) == 1:
                turns.append(Turn())
            turns[-1].heard += said
        case "S":
            turns[-1].said += said
        case "!":
            turns[-1].steps.append(found[3])
        case _:
            turns[-1].answers.append(said)


def _outcome(turns: list[Turn]) -> str:
    last = turns[-1].steps[-1] if turns[-1].steps else ""
    if last.startswith("hangup "):
        return last.removeprefix("hangup ")
    return "starttls" if last == "starttls" else "open"


class Player:
    """A conversation and a runner that says what stands in the file."""

    def __init__(self, dialogue: Dialogue) -> None:
        role = SmtpRole.MX if dialogue.room is Room.MX else SmtpRole.SUBMISSION
        is_tls = dialogue.room is Room.SUBMISSION_TLS
        self.conversation = Conversation(role, dialogue.settings, is_tls=is_tls)
        self._answers: deque[bytes] = deque()
        self._content = bytearray()
        self._is_content = False
        self._said = bytearray()

    def play(self, pieces: list[bytes], answers: list[bytes]) -> tuple[list[str], bytes]:
        """Feed the pieces; the steps that came, and all that was said."""
        self._answers.extend(answers)
        self._said.clear()
        steps: list[str] = []
        for piece in pieces:
            self.conversation.feed(piece)
            steps.extend(self._steps())
            self._said += self.conversation.take_output()
        assert not self._answers
        return steps, bytes(self._said)

    def _steps(self) -> Iterator[str]:
        while True:
            if self._is_content:
                self._content += self.conversation.rest()
                end = END.search(self._content)
                if end is None:
                    return
                yield f"content {end.end()}"
                self.conversation.feed(bytes(self._content[end.end() :]))
                self._content.clear()
                self._is_content = False
                self.conversation.data_done(self._reply())
            step = self.conversation.next()
            if step is None:
                return
            yield told(step)
            self._act(step)

    def _act(self, step: Step) -> None:
        match step:
            case Hangup() | PasswordExposed() | Injection():
                return
            case Hello() if self._answers[0].startswith(b"offer"):
                offered = self._answers.popleft().strip().removeprefix(b"offer").split(b",")
                self.conversation.offer([line.strip() for line in offered])
            case _:
                reply = self._reply()
                if isinstance(step, Credentials) and reply.is_positive:
                    self.conversation.authenticated(step.user)
                self.conversation.answer(reply)
                self._is_content = isinstance(step, Data) and reply.is_intermediate
        if self._answers and self._answers[0] == b"handshake\r\n":
            self._answers.popleft()
            self._said += self.conversation.take_output()
            self.conversation.tls_started()

    def _reply(self) -> Reply:
        reader = ReplyReader()
        reader.feed(self._answers.popleft())
        reply = reader.take()
        assert isinstance(reply, Reply)
        return reply


def told(step: Step) -> str:  # noqa: PLR0911 - one line for each kind
    match step:
        case Hello():
            return f"{'ehlo' if step.is_esmtp else 'helo'} {step.name.decode()}"
        case Credentials():
            return f"credentials {step.mechanism} {step.user.decode()} {step.password.decode()}"
        case Mail():
            return "mail " + step.sender.encode(frozenset(Extension), 0)[len("MAIL FROM:") : -2].decode()
        case Rcpt():
            routed = "routed " if step.recipient.is_routed else ""
            return f"rcpt {routed}" + step.recipient.encode(frozenset(Extension))[len("RCPT TO:") : -2].decode()
        case PasswordExposed():
            return f"exposed {step.user.decode() if step.user else '-'} {step.mechanism}"
        case Hangup():
            return f"hangup {step.reason}"
        case _:
            return type(step).__name__.lower()
