"""What an examination comes to: one finding for each thing that was looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How good a finding is; a problem keeps tlsproxy from serving, a warning wants a look."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was examined."""

    level: Level
    subject: str
    """A key path, or what was looked at."""
    text: str


def ok(subject: str, text: str) -> Finding:
    """Something that is as it should be."""
    return Finding(level=Level.OK, subject=subject, text=text)


def warning(subject: str, text: str) -> Finding:
    """Something that works and yet wants a look."""
    return Finding(level=Level.WARNING, subject=subject, text=text)


def problem(subject: str, text: str) -> Finding:
    """Something that does not work."""
    return Finding(level=Level.PROBLEM, subject=subject, text=text)
