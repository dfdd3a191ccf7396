"""What is known of one connection when it ends; must never hold a secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tlsproxy.core.addresses import Peer
from tlsproxy.core.kinds import LoginResult
from tlsproxy.core.outcome import Outcome, Phase
from tlsproxy.core.text import printable

SCHEMA_VERSION: Final = 1
_TEXT_LIMIT_CHARS: Final = 80

FieldValue = str | int | float | bool | None | Mapping[str, float]


@dataclass(slots=True, kw_only=True)
class Summary:
    """The facts of one connection, gathered while it lives; written as one line when it ends."""

    session: str
    listener: str
    protocol: str
    client: Peer
    tls_version: str | None = None
    tls_cipher: str | None = None
    tls_sni: str | None = None
    tls_alpn: str | None = None
    tls_resumed: bool | None = None
    tls_error: str | None = None
    user: bytes | None = None
    mechanism: str | None = None
    login: LoginResult = LoginResult.NONE
    login_attempts: int = 0
    client_id: bytes | None = None
    backend: str | None = None
    """The backend's name in the configuration."""
    backend_address: str | None = None
    backend_error: str | None = None
    source_port: int | None = None
    """Our own port towards the backend: the only join with an old server's log."""
    bytes_from_client: int = 0
    bytes_to_client: int = 0
    bytes_from_backend: int = 0
    bytes_to_backend: int = 0
    seconds: dict[Phase, float] = field(default_factory=dict)

    def as_fields(self, outcome: Outcome) -> dict[str, FieldValue]:
        """The fields of ``session.closed`` for an outcome; every key is always there, null where unknown.

        Returns:
            Field names to JSON values; ``seconds`` maps each phase that was entered to its length.
        """
        return {
            "schema": SCHEMA_VERSION,
            "session": self.session,
            "listener": self.listener,
            "protocol": self.protocol,
            "client_ip": str(self.client.ip),
            "client_port": self.client.port,
            "phase": outcome.phase,
            "reason": outcome.reason,
            "side": outcome.side,
            "user": readable(self.user),
            "mechanism": self.mechanism,
            "login": self.login,
            "login_attempts": self.login_attempts,
            "client_id": readable(self.client_id),
            "tls_version": self.tls_version,
            "tls_cipher": self.tls_cipher,
            "tls_sni": self.tls_sni,
            "tls_alpn": self.tls_alpn,
            "tls_resumed": self.tls_resumed,
            "tls_error": self.tls_error,
            "backend": self.backend,
            "backend_address": self.backend_address,
            "backend_error": self.backend_error,
            "source_port": self.source_port,
            "bytes_from_client": self.bytes_from_client,
            "bytes_to_client": self.bytes_to_client,
            "bytes_from_backend": self.bytes_from_backend,
            "bytes_to_backend": self.bytes_to_backend,
            "seconds": {str(phase): round(length, 4) for phase, length in self.seconds.items()},
            "duration": round(sum(self.seconds.values()), 4),
        }


def readable(data: bytes | None) -> str | None:
    """Wire bytes as text for a log: UTF-8 where it is, escaped where not, controls escaped, cut to 80 characters."""
    if data is None:
        return None
    return printable(data.decode("utf-8", "backslashreplace")[:_TEXT_LIMIT_CHARS])[:_TEXT_LIMIT_CHARS]
