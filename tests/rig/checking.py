"""What the tests of ``tlsproxy check`` share: configurations, findings, and servers that say one thing."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from tlsproxy.config.model import Config
from tlsproxy.operate.findings import Finding

NOW = datetime.now(UTC)
Talk = Callable[[socket.socket], None]


def config_of(files: dict[str, str], address: str, **parts: Any) -> Config:
    listener = [{"protocol": "imap", "bind": ["127.0.0.1:0"]}]
    raw = {"tls": {"certificates": [files]}, "listener": listener, "backend": {"imap": {"address": address}}}
    return Config.model_validate(raw | parts)


def about(findings: list[Finding], subject: str) -> list[tuple[str, str]]:
    return [(finding.level.value, finding.text) for finding in findings if finding.subject == subject]


@contextmanager
def server(say: Talk) -> Iterator[str]:
    """A server on loopback that does one thing with its one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def _serve() -> None:
            connection, _ = listener.accept()
            # The client may leave with our words unread, or dislike our certificate.
            with connection, suppress(ConnectionError, ssl.SSLError):
                connection.settimeout(5)
                say(connection)

        thread = threading.Thread(target=_serve)
        thread.start()
        host, port = listener.getsockname()
        yield f"{host}:{port}"
        thread.join()


def until_closed(connection: socket.socket) -> None:
    while connection.recv(100):
        pass


def says(*parts: bytes) -> Talk:
    def _say(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        until_closed(connection)

    return _say
