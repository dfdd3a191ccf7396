"""The machine: which cores do what, and how a report describes it."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_VERSION: Final = re.compile(r"\d+\.\d+[\w.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Who works where; with a single core, all on it."""

    proxy: tuple[int, ...]
    load: tuple[int, ...]

    @classmethod
    def divide(cls, wanted: int = 1) -> Self:
        """The last cores for the proxy, the others for load and backend.

        Args:
            wanted: Cores for the proxy; where there are not more than that, load shares them.
        """
        available = tuple(sorted(os.sched_getaffinity(0)))
        return cls(proxy=available[-wanted:], load=available[:-wanted] or available)


def describe() -> dict[str, str]:
    """Facts for a report: processor, cores, memory, kernel, OpenSSL, Python."""
    processor = _field(Path("/proc/cpuinfo"), "model name") or platform.machine()
    memory = int(_field(Path("/proc/meminfo"), "MemTotal").split()[0]) // 1024 // 1024
    return {
        "processor": processor,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory} GiB",
        "system": _system(),
        "kernel": platform.release(),
        "openssl": version_of("openssl", "version"),
    }


def version_of(program: str, flag: str) -> str:
    """A program's version, the first number that it prints, or an empty text."""
    path = shutil.which(program)
    if path is None:
        return ""
    answer = subprocess.run([path, flag], capture_output=True, text=True, check=False)
    found = _VERSION.search(answer.stdout + answer.stderr)
    return found[0] if found else ""


def _system() -> str:
    names = platform.freedesktop_os_release()
    return names.get("PRETTY_NAME", "Linux")


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
