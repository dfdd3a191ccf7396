"""An SMTP client that says exactly what the test writes; for what no real sender does."""

import socket
import ssl
import struct
import time
from base64 import b64encode
from collections.abc import Iterable
from typing import Final, Self

from integration.realmail.backend import Account

_TIMEOUT_S: Final = 30
_DRIP_S: Final = 0.002


class Talk:
    """One connection; use as a context manager, which hangs up."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str | None = None) -> None:
        """Connect, and say nothing yet.

        Args:
            port: Where to.
            host: Where to.
            source: The address that it is to come from.
        """
        self._socket = socket.create_connection((host, port), _TIMEOUT_S, (source, 0) if source else None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.close()

    def close(self) -> None:
        """Hang up in the middle of whatever it is."""
        self._file.close()
        self._socket.close()

    def reset(self) -> None:
        """Hang up with an RST, as a phone that changes networks does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def hello(self, name: str = "client.test") -> bytes:
        """Greeting and EHLO; returns what the server can do."""
        assert self.reply().startswith(b"220")
        return self.say(f"EHLO {name}")

    def starttls(self, context: ssl.SSLContext, name: str = "client.test") -> bytes:
        """TLS, and EHLO again."""
        assert self.say("STARTTLS").startswith(b"220")
        self._file.close()
        self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._file = self._socket.makefile("rb")
        return self.say(f"EHLO {name}")

    def log_in(self, account: Account) -> None:
        """AUTH PLAIN in one line."""
        words = f"\0{account.user}\0{account.password}".encode()
        assert self.say(f"AUTH PLAIN {b64encode(words).decode()}").startswith(b"235")

    def open(self, recipient: str, sender: str = "sender@remote.test") -> None:
        """An envelope that is taken, up to the 354."""
        assert self.say(f"MAIL FROM:<{sender}>").startswith(b"250")
        assert self.say(f"RCPT TO:<{recipient}>").startswith(b"250")
        assert self.say("DATA").startswith(b"354")

    def deliver(self, recipient: str, content: bytes, end: bytes = b".\r\n") -> bytes:
        """A whole message, stuffed already; returns the reply to it."""
        self.open(recipient)
        self.send(content + end)
        return self.reply()

    def say(self, line: str) -> bytes:
        """Send a command and return the whole reply to it."""
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def drip(self, pieces: Iterable[bytes]) -> None:
        """Send each piece in a packet of its own."""
        for piece in pieces:
            self._socket.sendall(piece)
            time.sleep(_DRIP_S)  # the other side has read it by then; if not, it sees two at once, and no harm is done

    def reply(self) -> bytes:
        """The next reply with all its lines; empty at the end of the stream."""
        lines = b""
        while True:
            line = self._file.readline()
            lines += line
            if not line or line[3:4] != b"-":
                return lines

    def rest(self) -> bytes:
        """Everything until the other side hangs up."""
        return self._file.read()
