"""The real program, started as an administrator starts it, its log read as it is written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from rig.pki import Pki

WITHIN_S: Final = 20.0

Line = dict[str, Any]


def config_text(pki: Pki, address: str, more: str = "", *, chain: Path | None = None, key: Path | None = None) -> str:
    return f"""
[tls]
certificates = [{{ chain = "{chain or pki.chain}", key = "{key or pki.key}" }}]
[[listener]]
protocol = "imap"
bind = ["127.0.0.1:0"]
[[listener]]
protocol = "imap"
tls = "starttls"
bind = ["127.0.0.1:0"]
[[listener]]
protocol = "pop3"
tls = "starttls"
bind = ["127.0.0.1:0"]
[[listener]]
protocol = "pop3"
bind = ["127.0.0.1:0"]
[backend.imap]
address = "{address}"
[backend.pop3]
address = "{address}"
{more}
"""


class Program:
    """``python -m tlsproxy run -c FILE`` in a process of its own; use as a context manager."""

    def __init__(
        self,
        folder: Path,
        config: str,
        environment: dict[str, str] | None = None,
        command: Sequence[str | Path] = (sys.executable, "-m", "tlsproxy"),
    ) -> None:
        self.config_file = folder / "tlsproxy.toml"
        self.config_file.write_text(config)
        self.log_file = folder / "log.jsonl"
        self._command = command
        self._environment = {**os.environ, **(environment or {})}
        self._lines: list[Line] = []
        self._read_bytes = 0
        self.ports: dict[str, int] = {}
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        with self._output() as log:
            command = [*self._command, "run", "-c", self.config_file]
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        try:
            self.wait("server.started")
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise
        for line in self.lines("listener.started"):
            self.ports[line["listener"]] = int(line["address"].rpartition(":")[2])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    def _output(self) -> IO[bytes]:
        """Where it is to write; ends up in the log file."""
        return self.log_file.open("wb")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def lines(self, event: str) -> list[Line]:
        with self.log_file.open("rb") as log:
            log.seek(self._read_bytes)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        for raw in whole.splitlines():
            try:
                self._lines.append(json.loads(raw))
            except ValueError:
                raise AssertionError(f"not a log line: {raw!r} in {self.log_file.read_text()}") from None
        self._read_bytes += len(whole)
        return [line for line in self._lines if line["event"] == event]

    def wait(self, event: str, count: int = 1) -> list[Line]:
        """The event's lines, as soon as there are ``count`` of them."""
        until = time.monotonic() + WITHIN_S
        while len(found := self.lines(event)) < count:
            if self.process.poll() is not None and len(self.lines(event)) < count:
                raise AssertionError(f"it ended without {event}: {self.log_file.read_text()}")
            if time.monotonic() > until:
                raise AssertionError(f"no {count} x {event} in {self.log_file.read_text()}")
            _nap()
        return found

    def ends(self) -> int:
        """Its exit code, as soon as it ends."""
        return self.process.wait(WITHIN_S)


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < until, "it did not come about in time"
        _nap()


def _nap() -> None:
    time.sleep(0.01)  # between two looks at another process; every wait has a deadline
