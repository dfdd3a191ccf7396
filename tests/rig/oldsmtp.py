"""A scripted old SMTP server for one question at a time, in a thread of its own; takes what it is told to take."""

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

GREETING: Final = b"220 old.example ESMTP\r\n"
_WITHIN_S: Final = 10.0


class OldSmtp:
    """Use as a context manager; each connection has a thread.

    ``is_open``: whether it takes mail for foreign domains. ``answers``: what it says to a verb in place of the usual.
    ``offers``: the lines of its EHLO. ``greeting``: what it says first; nothing before the bytes that ``first_words``
    takes, where it stands for a server that wants a PROXY header.
    """

    def __init__(self, *, offers: Sequence[bytes] = (b"PIPELINING",), is_open: bool = False) -> None:
        self.offers = offers
        self.is_open = is_open
        self.answers: dict[bytes, bytes] = {}
        self.greeting = GREETING
        self.first_words: Callable[[socket.socket], bytes] | None = None
        self.heard: list[bytes] = []
        self.heard_first: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for thread in self._threads:
            thread.join(_WITHIN_S)
        self._listener.close()

    def verbs(self) -> list[bytes]:
        """The commands that were heard, without their arguments."""
        return [line.partition(b" ")[0] for line in self.heard]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(_WITHIN_S)
            if self.first_words is not None:
                self.heard_first.append(self.first_words(connection))
            connection.sendall(self.greeting)
            with connection.makefile("rb") as lines:
                is_content = False
                for line in lines:
                    if is_content and line != b".\r\n":
                        continue
                    answer = b"250 2.0.0 taken\r\n" if is_content else self._answer(line.strip())
                    is_content = answer.startswith(b"354")
                    connection.sendall(answer)

    def _answer(self, line: bytes) -> bytes:
        self.heard.append(line)
        verb = line.split(b" ")[0].upper()
        is_denied = verb == b"RCPT" and not self.is_open and not line.lower().endswith(b"@example.org>")
        usual = {
            b"EHLO": _lines([b"old.example", *self.offers]),
            b"XCLIENT": GREETING,
            b"RCPT": b"554 5.7.1 relay access denied\r\n" if is_denied else b"250 2.1.5 ok\r\n",
            b"DATA": b"354 go on\r\n",
            b"QUIT": b"221 bye\r\n",
        }
        return self.answers.get(verb) or usual.get(verb, b"250 ok\r\n")


def _lines(texts: Sequence[bytes]) -> bytes:
    *most, last = texts
    return b"".join(b"250-%b\r\n" % text for text in most) + b"250 %b\r\n" % last
