"""A folder that a server takes for the whole machine, with users of its own: for those that have paths built in.

Entering it needs root, and so do the servers that are kept there.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest
from integration.realmail.backend import require
from integration.realmail.daemon import reachable_folder

_NULL: Final = os.makedev(1, 3)


def make_jail(name: str, unpacked: Path, programs: Iterable[str], users: Mapping[str, int]) -> Path:
    """Make the folder, with programs, the libraries that they need, and users.

    Args:
        name: For the folder's name.
        unpacked: Where ``fetch-servers`` has put the server.
        programs: Paths below that, or of this machine where there is none below.
        users: Names and numbers; there is a group of the same name and number for each, root and nobody go without
            saying.
    """
    found = {program: _found(unpacked, program) for program in programs}
    require(*found.values())
    if os.geteuid():
        pytest.skip(f"{name} starts as root alone")
    jail = reachable_folder(name)
    for program, path in found.items():
        _copy(path, jail / program)
        for library in _libraries(unpacked, path):
            _copy(library, jail / library.relative_to(unpacked if library.is_relative_to(unpacked) else "/"))
    for folder in ("dev", "etc", "tmp", "var"):
        (jail / folder).mkdir(exist_ok=True)
    (jail / "tmp").chmod(0o1777)
    os.mknod(jail / "dev/null", stat.S_IFCHR, _NULL)
    (jail / "dev/null").chmod(0o666)
    everybody = {"root": 0, "nobody": 65534, **users}
    passwd = "".join(f"{user}:x:{number}:{number}::/:/bin/false\n" for user, number in everybody.items())
    (jail / "etc/passwd").write_text(passwd)
    (jail / "etc/group").write_text("".join(f"{user}:x:{number}:\n" for user, number in everybody.items()))
    (jail / "etc/hosts").write_text("127.0.0.1 localhost\n")
    return jail


def own_folder(path: Path, user: int, mode: int = 0o755) -> None:
    """Make a folder in a jail that belongs to one of its users."""
    path.mkdir(parents=True)
    path.chmod(mode)
    os.chown(path, user, user)


def _found(unpacked: Path, program: str) -> Path:
    path = unpacked / program
    return path if path.exists() or not Path("/", program).exists() else Path("/", program)


def _libraries(unpacked: Path, program: Path) -> list[Path]:
    folders = [
        folder for lib in ("usr/lib", "lib") for folder in (unpacked / lib, *(unpacked / lib).glob("*-linux-gnu*"))
    ]
    own = ":".join(map(str, folders))
    told = subprocess.run(["ldd", program], env={"LD_LIBRARY_PATH": own}, capture_output=True, text=True, check=True)
    return [Path(word) for word in told.stdout.split() if word.startswith("/")]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source, target)
