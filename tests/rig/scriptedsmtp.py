"""An old SMTP server that does what its script says, and takes down what it is told; in threads of its own."""

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from rig.peers import WITHIN_S, Peer

Deed = Callable[["Visitor"], None]
Turn = bytes | Deed
"""What is done when something is said: bytes are sent; anything else is done."""

EXTENSIONS: Final = (b"PIPELINING", b"SIZE 0", b"8BITMIME", b"DSN", b"ENHANCEDSTATUSCODES")
DEFAULTS: Final[dict[str, Turn]] = {
    "GREETING": b"220 old.example ESMTP\r\n",
    "EHLO": b"".join(b"250-%b\r\n" % line for line in (b"old.example", *EXTENSIONS)) + b"250 SMTPUTF8\r\n",
    "HELO": b"250 old.example\r\n",
    "MAIL": b"250 2.1.0 sender fine\r\n",
    "RCPT": b"250 2.1.5 recipient fine\r\n",
    "DATA": b"354 go\r\n",
    "CONTENT": b"",
    "DOT": b"250 2.0.0 queued as 4711\r\n",
    "RSET": b"250 2.0.0 reset\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
}


class OverError(Exception):
    """The server hangs up."""


class Visitor(Peer):
    """One connection, as the server sees it."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.said: list[bytes] = []
        """Its lines, without their ends."""
        self.mail = b""
        self.recipients: list[bytes] = []
        self.contents: list[bytes] = []
        """Of messages that were ended."""
        self.torn = b""
        """What came of a message that was not."""
        self.is_gone = False

    def command(self) -> bytes:
        """The next line, noted; empty at the end."""
        line = self.line()
        if line:
            self.said.append(line.removesuffix(b"\r\n"))
        return line

    def content(self) -> bytes:
        """Up to the end of the message, which is not part of it."""
        heard = bytearray(b"\r\n") + self._heard
        while (end := heard.find(b"\r\n.\r\n")) < 0:
            try:
                data = self.sock.recv(1 << 20)
            except OSError:
                data = b""
            if not data:
                self.torn = bytes(heard[2:])
                raise OverError
            heard += data
        self._heard = bytes(heard[end + 5 :])
        return bytes(heard[2 : end + 2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A message that the server has taken."""

    mail: bytes
    recipients: tuple[bytes, ...]
    content: bytes


def hang_up(_visitor: Visitor) -> None:
    raise OverError


def break_off(visitor: Visitor) -> None:
    """Close with RST."""
    visitor.reset()
    raise OverError


def say_nothing(visitor: Visitor) -> None:
    """Until the other side has enough."""
    while visitor.sock.recv(65536):
        pass
    raise OverError


def after(event: threading.Event, data: bytes) -> Deed:
    """Answer when the test says so."""

    def answer(visitor: Visitor) -> None:
        assert event.wait(WITHIN_S)
        visitor.send(data)

    return answer


def then(*turns: Turn) -> Deed:
    """One thing behind the other."""

    def act(visitor: Visitor) -> None:
        for turn in turns:
            visitor.send(turn) if isinstance(turn, bytes) else turn(visitor)

    return act


@dataclass(slots=True)
class Script:
    """What is done at each command: a turn for ever, or a list of turns of which the last stays."""

    turns: dict[str, Turn | list[Turn]] = field(default_factory=dict)

    def __setitem__(self, key: str, turn: Turn | list[Turn]) -> None:
        self.turns[key] = turn

    def next(self, key: str) -> Turn:
        turn = self.turns.get(key, DEFAULTS.get(key, b"500 5.5.1 what?\r\n"))
        if isinstance(turn, list):
            return turn.pop(0) if len(turn) > 1 else turn[0]
        return turn


class OldSmtp:
    """Use as a context manager; ``script`` may be changed while it runs."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.script = Script()
        self.visitors: list[Visitor] = []
        self.messages: list[Delivered] = []
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._accept)]
        self._failures: list[BaseException] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        for visitor in self.visitors:
            with suppress(OSError):
                visitor.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WITHIN_S)
        for visitor in self.visitors:
            visitor.close()
        assert not self._failures, self._failures

    def close(self) -> None:
        """Nobody is accepted any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def wait(self, is_so: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, WITHIN_S), "the old server waited in vain"

    def wait_gone(self, count: int) -> Sequence[Visitor]:
        """All visitors, once so many of them are gone."""
        self.wait(lambda: sum(visitor.is_gone for visitor in self.visitors) >= count)
        return self.visitors

    def said(self, number: int = -1) -> list[bytes]:
        """What one visitor said; the first one only asks what the server can do."""
        return self.visitors[number].said

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            visitor = Visitor(sock)
            thread = threading.Thread(target=self._receive, args=(visitor,))
            with self._changed:
                self.visitors.append(visitor)
                self._threads.append(thread)
            thread.start()

    def _receive(self, visitor: Visitor) -> None:
        try:
            self._talk(visitor)
        except (OverError, OSError):
            pass
        except BaseException as error:  # noqa: BLE001 - told when the test ends
            self._failures.append(error)
        finally:
            with suppress(OSError):
                visitor.close()
            with self._changed:
                visitor.is_gone = True
                self._changed.notify_all()

    def _talk(self, visitor: Visitor) -> None:
        self._act(visitor, "GREETING")
        while line := visitor.command():
            verb = line.split(b" ")[0].strip().decode("latin-1").upper()
            if verb == "MAIL":
                visitor.mail, visitor.recipients = line.strip(), []
            elif verb == "RCPT":
                visitor.recipients.append(line.strip())
            done = self._act(visitor, verb)
            if verb == "DATA" and isinstance(done, bytes) and done.startswith(b"354"):
                self._take(visitor)
            elif verb == "QUIT":
                return

    def _take(self, visitor: Visitor) -> None:
        self._act(visitor, "CONTENT")
        content = visitor.content()
        with self._changed:
            visitor.contents.append(content)
            self._changed.notify_all()
        answer = self.script.next("DOT")
        if isinstance(answer, bytes) and answer.startswith(b"250"):
            with self._changed:
                told = tuple(visitor.recipients)
                self.messages.append(Delivered(mail=visitor.mail, recipients=told, content=content))
                self._changed.notify_all()
        then(answer)(visitor)

    def _act(self, visitor: Visitor, key: str) -> Turn:
        turn = self.script.next(key)
        with self._changed:
            self._changed.notify_all()
        then(turn)(visitor)
        return turn
