"""A terminal lent to a program that will not work without one; what it paints is thrown away."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_on_terminal(argv: Sequence[str | Path], env: Mapping[str, str], folder: Path, deadline_s: float) -> int:
    """Run a program that nobody types at.

    Returns:
        Its exit code; it is killed when the deadline has passed.
    """
    ours, theirs = os.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        process = subprocess.Popen(
            argv, env=env, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        painter = threading.Thread(target=_discard, args=(ours,), daemon=True)
        painter.start()
        try:
            code = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        painter.join(deadline_s)
    return code


def _discard(terminal: int) -> None:
    # Reading fails with EIO when the last one at the other end has gone.
    with contextlib.suppress(OSError):
        while os.read(terminal, 1 << 16):
            pass
