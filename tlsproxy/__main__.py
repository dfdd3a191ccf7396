"""``python -m tlsproxy`` and the ``tlsproxy`` program; must not hold a command."""

import os
from typing import Final

from tlsproxy.cli import app

_STANDARD_STREAMS: Final = (0, 1, 2)


def main() -> None:
    """Run one command and leave with its exit code."""
    _hold_standard_streams()
    app(prog_name="tlsproxy")


def _hold_standard_streams() -> None:
    """Keep the numbers of closed standard streams from becoming a client's: whatever is printed would reach it."""
    for fd in _STANDARD_STREAMS:
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest free number, which is this one


if __name__ == "__main__":
    main()
