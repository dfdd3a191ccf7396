"""The tables that say who is connected with whom: [tls], [[listener]], [backend.NAME]; must not read files.

What one table can judge alone is judged here, what takes several in ``rules``.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tlsproxy.config.units import UnixAddress
from tlsproxy.config.values import BackendValue, BindValue, FilePath, Flag, Name, ServerName
from tlsproxy.core.kinds import (
    BackendIdentity,
    BackendLogin,
    BackendTls,
    ListenerTls,
    ProtocolName,
    SmtpRole,
    TlsProfile,
)

# RFC 8314 §3.2, §3.3 and RFC 9051 §2.1, RFC 1939 §3, RFC 5321 §4.5.4.2, RFC 6409 §3.1.
_WELL_KNOWN: Final = {
    (ProtocolName.IMAP, None, ListenerTls.IMPLICIT): ("imaps", 993),
    (ProtocolName.IMAP, None, ListenerTls.STARTTLS): ("imap", 143),
    (ProtocolName.POP3, None, ListenerTls.IMPLICIT): ("pop3s", 995),
    (ProtocolName.POP3, None, ListenerTls.STARTTLS): ("pop3", 110),
    (ProtocolName.SMTP, SmtpRole.MX, ListenerTls.STARTTLS): ("smtp", 25),
    (ProtocolName.SMTP, SmtpRole.SUBMISSION, ListenerTls.IMPLICIT): ("submissions", 465),
    (ProtocolName.SMTP, SmtpRole.SUBMISSION, ListenerTls.STARTTLS): ("submission", 587),
}


def _as_many(value: object) -> object:
    """One address may stand without the brackets of a list."""
    return (value,) if isinstance(value, str) else value


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
    ports. One called smtp gets those of the tables [smtp.mx] and [smtp.submission] that are written.
    """

    name: Name = Field(
        default="",
        description=(
            "How logs call it. By default the protocol, with an s behind it for implicit TLS: imaps, imap, pop3s, "
            "pop3, submissions, submission; smtp for role mx."
        ),
    )
    protocol: ProtocolName = Field(description="The protocol spoken here: imap, pop3 or smtp.", examples=["imap"])
    role: SmtpRole | None = Field(
        default=None,
        description=(
            "SMTP, which always needs it: mx for mail from other servers, to your own domains alone; submission for "
            "users, who log in and send to anywhere."
        ),
        examples=["mx"],
    )
    tls: ListenerTls = Field(
        default=ListenerTls.IMPLICIT,
        description=(
            "implicit: TLS from the first byte, which RFC 8314 recommends. starttls: plaintext until the client "
            "asks for TLS; no login is let through before. With role mx always starttls, since other servers know no "
            "implicit TLS."
        ),
    )
    bind: Annotated[tuple[BindValue, ...], BeforeValidator(_as_many)] = Field(
        default=(),
        min_length=1,
        description=(
            'Where to listen: "ADDRESS:PORT", "[IPv6]:PORT", or "fd:NAME" for a socket that systemd passes. By '
            "default every address of the machine, IPv4 and IPv6, on the well-known port: 993, 143, 995 or 110; for "
            "SMTP 25 (mx), 465 or 587."
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
    require_tls: Flag | None = Field(
        default=None,
        description=(
            "Role mx: refuse mail that comes without TLS. By default false: some servers still know no TLS, and their "
            "mail would be lost. Users always need TLS."
        ),
        examples=[True],
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the file holds
        """Name, address and backend follow from protocol and TLS."""
        try:
            protocol = ProtocolName(data["protocol"])
            role = None if data.get("role") is None else SmtpRole(data["role"])
            usual = ListenerTls.STARTTLS if role is SmtpRole.MX else ListenerTls.IMPLICIT
            tls = ListenerTls(data.get("tls", usual))
            name, port = _WELL_KNOWN[protocol, role, tls]
        except (KeyError, TypeError, ValueError, AttributeError):
            return data
        return {
            "name": name,
            "tls": tls,
            "bind": (f"0.0.0.0:{port}", f"[::]:{port}"),
            "backend": str(protocol),
            **({"require_tls": False} if role is SmtpRole.MX else {}),
            **data,
        }

    @model_validator(mode="after")
    def _judge(self) -> Self:
        """The role is SMTP's, and nobody else's."""
        problems: list[str] = []
        if self.protocol is ProtocolName.SMTP and self.role is None:
            problems.append(
                'protocol "smtp" needs a role, since what holds for strangers and for users is not the same; write '
                'role = "mx" for mail from other servers, role = "submission" for that of your users'
            )
        if self.protocol is not ProtocolName.SMTP and self.role is not None:
            problems.append(f'role is for protocol "smtp" alone, where "{self.protocol}" has but one; remove it')
        elif self.role is SmtpRole.MX and self.tls is ListenerTls.IMPLICIT:
            problems.append('other servers know no implicit TLS (RFC 3207); write tls = "starttls", or leave tls out')
        if self.role is not SmtpRole.MX and self.require_tls is not None:
            problems.append('require_tls is for role "mx" alone, since users never get in without TLS; remove it')
        if problems:
            raise ValueError("; ".join(problems))
        return self


class BackendConfig(Section):
    """The old mail server; [backend.imap], [backend.pop3] and [backend.smtp] may be the same machine."""

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
    identity: BackendIdentity = Field(
        default=BackendIdentity.NONE,
        description=(
            "SMTP: how the server is told who the client is. xclient: Postfix, with tlsproxy in "
            "smtpd_authorized_xclient_hosts. proxy-v1 or proxy-v2: Exim, OpenSMTPD (v2 alone), Postfix. none: it sees "
            "tlsproxy as every client, and must not relay for it; the client then stands in a Received header."
        ),
    )
    identity_required: Flag = Field(
        default=True,
        description=(
            "With identity: refuse mail for now (451) if the server does not take it. Set false only where the server "
            "gives no rights to tlsproxy's own address."
        ),
    )
    login: BackendLogin = Field(
        default=BackendLogin.NONE,
        description=(
            "SMTP, role submission: how the server is told that a user has logged in. replay, the safest: by AUTH with "
            "the user's own password, so that the server decides itself. xclient: by name, with identity xclient. "
            "none: not at all, for a port that relays for whoever comes and that only tlsproxy can reach."
        ),
    )

    @model_validator(mode="after")
    def _judge(self) -> Self:
        """Keys without effect make an administrator believe in protection that is not there."""
        problems = [*self._tls_problems(), *self._smtp_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _tls_problems(self) -> Iterator[str]:
        if self.tls is BackendTls.OFF:
            keys = {
                "verify": not self.verify,
                "ca": self.ca,
                "server_name": self.server_name,
                "legacy_tls": self.legacy_tls,
            }
            idle = " and ".join(key for key, is_set in keys.items() if is_set)
            if idle:
                yield f'{idle} would have no effect while tls is "off"; write tls = "implicit" or "starttls"'
        elif not self.verify:
            if self.ca:
                yield "ca has no effect while verify is false; remove one of them"
        elif isinstance(self.address, UnixAddress) and not self.server_name:
            yield "a unix socket has no name; set server_name to the name on the server's certificate"

    def _smtp_problems(self) -> Iterator[str]:
        if self.login is BackendLogin.XCLIENT and self.identity is not BackendIdentity.XCLIENT:
            yield 'login = "xclient" goes with the client\'s address; write identity = "xclient", or login = "replay"'
        if not self.identity_required and self.identity is BackendIdentity.NONE:
            yield 'identity_required has no effect while identity is "none"; remove it, or write identity'
