"""The tables that say who is connected with whom: [tls], [[listener]], [backend.NAME]; must not read files.

What one table can judge alone is judged here, what takes several in ``rules``.
"""

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tlsproxy.config.units import UnixAddress
from tlsproxy.config.values import BackendValue, BindValue, FilePath, Flag, Name, ServerName
from tlsproxy.core.kinds import BackendTls, ListenerTls, ProtocolName, TlsProfile

# RFC 8314 §3.2, §3.3 and RFC 9051 §2.1, RFC 1939 §3.
_PORTS: Final = {
    (ProtocolName.IMAP, ListenerTls.IMPLICIT): 993,
    (ProtocolName.IMAP, ListenerTls.STARTTLS): 143,
    (ProtocolName.POP3, ListenerTls.IMPLICIT): 995,
    (ProtocolName.POP3, ListenerTls.STARTTLS): 110,
}


class Section(BaseModel):
    """What all tables of the file have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CertificateFiles(Section):
    """One certificate and its key."""

    chain: FilePath = Field(
        description="PEM file: the certificate first, then the intermediate ones, as certbot's fullchain.pem.",
        examples=["/etc/tlsproxy/mail.pem"],
    )
    key: FilePath = Field(
        description="PEM file: the certificate's private key, without a passphrase, readable by tlsproxy alone.",
        examples=["/etc/tlsproxy/mail.key"],
    )


class TlsSection(Section):
    """What mail clients meet when they ask for TLS."""

    certificates: tuple[CertificateFiles, ...] = Field(
        min_length=1,
        description=(
            "Certificates with their keys. The one whose own names hold the name that the client asks for is shown; "
            "the first is for clients that ask for none."
        ),
        examples=[[{"chain": "/etc/tlsproxy/mail.pem", "key": "/etc/tlsproxy/mail.key"}]],
    )
    profile: TlsProfile = Field(
        default=TlsProfile.INTERMEDIATE,
        description=(
            "Mozilla's server-side profile. intermediate is TLS 1.2 and 1.3 and reaches every mail client of the "
            "last ten years; modern is TLS 1.3 alone; old goes down to TLS 1.0, for devices that know nothing "
            "better."
        ),
    )


class ListenerConfig(Section):
    """One kind of connection that clients can make.

    Without any [[listener]], each backend called imap or pop3 gets two: implicit TLS and STARTTLS on the well-known
    ports.
    """

    name: Name = Field(
        default="",
        description=(
            "How logs call it. By default the protocol, with an s behind it for implicit TLS: imaps, imap, pop3s, pop3."
        ),
    )
    protocol: ProtocolName = Field(description="The protocol spoken here: imap or pop3.", examples=["imap"])
    tls: ListenerTls = Field(
        default=ListenerTls.IMPLICIT,
        description=(
            "implicit: TLS from the first byte, which RFC 8314 recommends. starttls: plaintext until the client "
            "asks for TLS; no login is let through before."
        ),
    )
    bind: tuple[BindValue, ...] = Field(
        default=(),
        min_length=1,
        description=(
            'Where to listen: "ADDRESS:PORT", "[IPv6]:PORT", or "fd:NAME" for a socket that systemd passes. By '
            "default every address of the machine, IPv4 and IPv6, on the well-known port: 993, 143, 995 or 110."
        ),
    )
    backend: Name = Field(
        default="",
        description="The [backend.NAME] that serves it. By default the backend with the protocol's name.",
    )
    profile: TlsProfile | None = Field(
        default=None,
        description="A TLS profile of its own, as on an extra port for old devices. By default that of [tls].",
        examples=["old"],
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the file holds
        """Name, address and backend follow from protocol and TLS."""
        try:
            protocol = ProtocolName(data["protocol"])
            tls = ListenerTls(data.get("tls", ListenerTls.IMPLICIT))
        except (KeyError, TypeError, ValueError, AttributeError):
            return data
        port = _PORTS[protocol, tls]
        return {
            "name": f"{protocol}s" if tls is ListenerTls.IMPLICIT else str(protocol),
            "bind": (f"0.0.0.0:{port}", f"[::]:{port}"),
            "backend": str(protocol),
            **data,
        }


class BackendConfig(Section):
    """The old mail server; [backend.imap] and [backend.pop3] may be the same machine."""

    address: BackendValue = Field(
        description='"HOST:PORT", "[IPv6]:PORT" or "unix:/path". All addresses of a name are tried in turn.',
        examples=["127.0.0.1:1143"],
    )
    tls: BackendTls = Field(
        default=BackendTls.OFF,
        description=(
            "off: plaintext, for a server on this machine or a trusted wire. implicit or starttls: TLS to the "
            "server, for one that is reached over a network."
        ),
    )
    verify: Flag = Field(
        default=True,
        description=(
            "With TLS: whether the server's certificate must be trusted and bear its name. Set false only where an "
            "attacker cannot stand between: passwords go this way."
        ),
    )
    ca: FilePath | None = Field(
        default=None,
        description=(
            "With TLS: PEM file of the authorities that are trusted; a self-signed certificate may stand here itself. "
            "By default those of the system."
        ),
        examples=["/etc/tlsproxy/old-mail-ca.pem"],
    )
    server_name: ServerName = Field(
        default=None,
        description="With TLS: the name that the server's certificate must bear. By default the host of the address.",
        examples=["mail.example.org"],
    )
    legacy_tls: Flag = Field(
        default=False,
        description=(
            "With TLS: accept TLS 1.0, weak ciphers and short keys from this server, for one that knows nothing "
            "better. Off by default because its passwords can then be read with some effort."
        ),
    )

    @model_validator(mode="after")
    def _judge(self) -> Self:
        """Keys without effect make an administrator believe in protection that is not there."""
        if self.tls is BackendTls.OFF:
            keys = {
                "verify": not self.verify,
                "ca": self.ca,
                "server_name": self.server_name,
                "legacy_tls": self.legacy_tls,
            }
            idle = " and ".join(key for key, is_set in keys.items() if is_set)
            if idle:
                raise ValueError(
                    f'{idle} would have no effect while tls is "off"; write tls = "implicit" or "starttls"'
                )
        elif not self.verify:
            if self.ca:
                raise ValueError("ca has no effect while verify is false; remove one of them")
        elif isinstance(self.address, UnixAddress) and not self.server_name:
            raise ValueError("a unix socket has no name; set server_name to the name on the server's certificate")
        return self
