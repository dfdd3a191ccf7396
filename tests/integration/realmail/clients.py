"""Clients that Python brings along, opened the four ways in which a mail program reaches its server."""

import imaplib
import poplib
import socket
import ssl
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

from integration.realmail.backend import hang_up
from integration.realmail.site import Site

_HOST: Final = "127.0.0.1"
_TIMEOUT_S: Final = 60
# poplib refuses lines longer than RFC 1939 wants responses to be; mail has such lines all the same.
poplib._MAXLINE = 1 << 20  # type: ignore[attr-defined]  # not in the type stubs

IMAP_WAYS: Final = ("imaps", "imap")
POP3_WAYS: Final = ("pop3s", "pop3")


@contextmanager
def imap(site: Site, way: str) -> Iterator[imaplib.IMAP4]:
    """An IMAP client that is through with TLS; logs out at the end if the test did not."""
    port = site.ports[way]
    if way == "imaps":
        client: imaplib.IMAP4 = imaplib.IMAP4_SSL(_HOST, port, ssl_context=site.tls, timeout=_TIMEOUT_S)
    else:
        client = imaplib.IMAP4(_HOST, port, timeout=_TIMEOUT_S)
    try:
        if way == "imap":
            client.starttls(site.tls)
        yield client
    finally:
        hang_up(client)


@contextmanager
def pop3(site: Site, way: str) -> Iterator[poplib.POP3]:
    """A POP3 client that is through with TLS; says QUIT at the end if the test did not."""
    port = site.ports[way]
    if way == "pop3s":
        client: poplib.POP3 = poplib.POP3_SSL(_HOST, port, context=site.tls, timeout=_TIMEOUT_S)
    else:
        client = poplib.POP3(_HOST, port, timeout=_TIMEOUT_S)
    try:
        if way == "pop3":
            client.stls(site.tls)
        yield client
        if client.sock is not None:
            client.quit()
    finally:
        client.close()


class Wire:
    """A client that says exactly what the test writes; for what no library does."""

    def __init__(self, site: Site, way: str) -> None:
        self._site = site
        self._socket = socket.create_connection((_HOST, site.ports[way]), _TIMEOUT_S)
        self._received = bytearray()
        self._is_over = False
        self._inflate: zlib._Decompress | None = None
        self._deflate: zlib._Compress | None = None
        if way in {"imaps", "pop3s"}:
            self.wrap()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._socket.close()

    def wrap(self) -> None:
        """Start TLS now."""
        assert not self._received
        self._socket = self._site.tls.wrap_socket(self._socket, server_hostname="localhost")

    def compress(self) -> None:
        """From now on both directions are raw DEFLATE (RFC 4978 §4)."""
        assert not self._received
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def send(self, data: bytes) -> None:
        """Send bytes as they are, or compressed after ``compress``."""
        if self._deflate is not None:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._socket.sendall(data)

    def line(self) -> bytes:
        """The next line without its CRLF; empty at the end of the stream."""
        while (end := self._received.find(b"\r\n")) < 0:
            if not self._more():
                return bytes(self._received)
        line = bytes(self._received[:end])
        del self._received[: end + 2]
        return line

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._received) < size:
            assert self._more(), "the stream ended"
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def say(self, command: bytes) -> bytes:
        """Send a tagged IMAP command and return its tagged answer, whatever comes before."""
        self.send(command + b"\r\n")
        return self.until(command.split(b" ", 1)[0])

    def until(self, tag: bytes) -> bytes:
        """Read lines up to the one with the tag."""
        while not (line := self.line()).startswith(tag + b" "):
            assert not self._is_over, f"the stream ended before {tag!r}"
        return line

    def rest(self) -> bytes:
        """All lines until the other side hangs up."""
        while self._more():
            pass
        return bytes(self._received)

    def reset(self) -> None:
        """Hang up with an RST, as a phone that changes networks does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def timeout(self, seconds: float) -> None:
        """How long one read may take from now on."""
        self._socket.settimeout(seconds)

    def _more(self) -> bool:
        try:
            data = self._socket.recv(1 << 18)
        except (ssl.SSLEOFError, ConnectionResetError):
            data = b""
        self._is_over = not data
        self._received += self._inflate.decompress(data) if self._inflate is not None else data
        return bool(data)
