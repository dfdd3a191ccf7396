"""A mail client that does what a step tells it and shows every line; passwords are shown as dots."""

import re
import socket
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from tlsproxy.core.text import printable
from tlsproxy.demo.screen import Screen

# Everything happens on this machine; what takes longer does not come.
_PATIENCE_S: Final = 10.0
_LINE_LIMIT_BYTES: Final = 64 * 1024
_ANSWER_LIMIT_LINES: Final = 2000
_HOST: Final = "127.0.0.1"
_NAME: Final = "localhost"
_PROMISED_BYTES: Final = re.compile(rb"\{([0-9]{1,9})\}\r\n\Z")


class StepError(Exception):
    """What should have happened did not; the text says what came instead."""


class Dialogue:
    """One connection, mostly to the proxy; a context manager that closes it."""

    def __init__(self, screen: Screen, port: int, trusted: ssl.SSLContext, *, is_tls: bool) -> None:
        """Connect.

        Args:
            screen: Where the lines are shown.
            port: A port on 127.0.0.1.
            trusted: Holds the authority that the proxy's certificate must come from.
            is_tls: Whether TLS comes before the first line.

        Raises:
            StepError: There is no connection, or no handshake.
        """
        self._screen = screen
        self._trusted = trusted
        try:
            self._socket = socket.create_connection((_HOST, port), _PATIENCE_S)
        except OSError as error:
            raise StepError(f"cannot connect to port {port}: {error}") from error
        self.port: int = self._socket.getsockname()[1]
        """Our own port, by which the proxy's log knows us."""
        self._reader = self._socket.makefile("rb")
        screen.event(f"connect to port {port}" + (", TLS at once" if is_tls else ", in clear"))
        if is_tls:
            self.start_tls()

    def __enter__(self) -> Self:
        """The connection stands already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._reader.close()
        self._socket.close()

    def start_tls(self) -> None:
        """Shake hands and verify the certificate; what was read ahead in clear is a failure.

        Raises:
            StepError: No handshake.
        """
        self._reader.close()
        try:
            tls = self._trusted.wrap_socket(self._socket, server_hostname=_NAME)
        except OSError as error:
            self._socket.close()
            raise StepError(f"the TLS handshake failed: {error}") from error
        self._socket = tls
        self._reader = tls.makefile("rb")
        cipher = tls.cipher()
        self._screen.event(f"{tls.version()}, {cipher[0] if cipher else '?'}, certificate verified for {_NAME}")

    def say(self, *lines: str, secret: str = "") -> None:
        """Send lines, all in one piece.

        Args:
            lines: Without their CRLF; a bare LF inside is shown escaped.
            secret: What is shown as dots.

        Raises:
            StepError: The connection is gone.
        """
        for line in lines:
            self._screen.client(printable(line.replace(secret, self._screen.dots) if secret else line))
        try:
            self._socket.sendall("".join(line + "\r\n" for line in lines).encode())
        except OSError as error:
            raise StepError(f"the connection broke: {error}") from error

    def expect(self, beginning: str) -> str:
        """Read one line that must begin so.

        Raises:
            StepError: Another line came, or none.
        """
        line = _shown(self._line())
        self._screen.server(line)
        if not line.startswith(beginning):
            raise StepError(f"expected a line that begins with {beginning}")
        return line

    def read_until(self, beginning: str) -> list[str]:
        """Read and show lines up to one that begins so; IMAP's literals are part of the lines before.

        Returns:
            All lines, the last one too, without line ends.

        Raises:
            StepError: The connection ended before, or there was no end.
        """
        return self._read(lambda line: line.startswith(beginning))

    def read_to_dot(self) -> list[str]:
        """Read and show lines up to the lone dot (RFC 1939 §3).

        Returns:
            All lines, the dot too, without line ends.

        Raises:
            StepError: The connection ended before, or there was no end.
        """
        return self._read(lambda line: line == ".")

    def _read(self, is_last: Callable[[str], bool]) -> list[str]:
        lines: list[str] = []
        literal_left_bytes = 0
        for _ in range(_ANSWER_LIMIT_LINES):
            raw = self._line()
            lines.append(_shown(raw))
            if literal_left_bytes > 0:
                literal_left_bytes -= len(raw)
                continue
            if is_last(lines[-1]):
                self._screen.server_block(lines[:-1])
                self._screen.server(lines[-1])
                return lines
            promise = _PROMISED_BYTES.search(raw)
            literal_left_bytes = int(promise[1]) if promise else 0
        raise StepError("the answer has no end")

    def expect_end(self) -> None:
        """The other side must close.

        Raises:
            StepError: It says something else, or nothing.
        """
        try:
            rest = self._reader.read(1)
        except ConnectionResetError:
            rest = b""
        except OSError as error:
            raise StepError("expected the end of the connection") from error
        if rest:
            raise StepError("expected the end of the connection, but more was said")
        self._screen.event("the proxy closes the connection")

    def _line(self) -> bytes:
        try:
            raw = self._reader.readline(_LINE_LIMIT_BYTES)
        except OSError as error:
            raise StepError(f"no answer: {error}") from error
        if not raw.endswith(b"\n"):
            raise StepError("the connection ended in place of an answer")
        return raw


def _shown(raw: bytes) -> str:
    """A line for the screen: no line end, and nothing that a terminal would obey."""
    return printable(raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace"))
