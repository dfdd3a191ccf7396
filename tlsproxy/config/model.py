"""The configuration as one frozen value; must not read files or know how mistakes are told.

Attributes are the TOML keys. This is the module to import the configuration's types from.
"""

from typing import Any, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tlsproxy.config import rules
from tlsproxy.config.limits import Limits, Timeouts
from tlsproxy.config.sections import BackendConfig, CertificateFiles, ListenerConfig, Section, TlsSection
from tlsproxy.config.smtp.dns import DnsConfig
from tlsproxy.config.smtp.mx import IdentityChecks, MxConfig, SpfChecks, TrustedForwarders
from tlsproxy.config.smtp.submission import SubmissionConfig
from tlsproxy.config.smtp.table import SmtpConfig
from tlsproxy.config.units import BackendAddress, BindAddress, InheritedSocket, Rate, TcpAddress, UnixAddress
from tlsproxy.config.values import LogFile, Name, RunAs, Workers
from tlsproxy.core.kinds import ListenerTls, LogFormat, LogLevel, LoopKind, ProtocolName, SmtpRole, TlsProfile

__all__ = [
    "BackendAddress",
    "BackendConfig",
    "BindAddress",
    "CertificateFiles",
    "Config",
    "DnsConfig",
    "IdentityChecks",
    "InheritedSocket",
    "Limits",
    "ListenerConfig",
    "LogConfig",
    "MxConfig",
    "Rate",
    "Section",
    "ServerConfig",
    "SmtpConfig",
    "SpfChecks",
    "SubmissionConfig",
    "TcpAddress",
    "Timeouts",
    "TlsSection",
    "TrustedForwarders",
    "UnixAddress",
]

RULES_BROKEN: Final = "rules_broken"
"""The pydantic error type that carries the mistakes of ``rules`` in its context, as ``mistakes``."""


class LogConfig(Section):
    """The log: one line for each connection that ends, and for what an administrator should know."""

    format: LogFormat = Field(
        default=LogFormat.JSON,
        description="json: one object a line, for programs and ban tools. console: coloured text for people.",
    )
    file: LogFile = Field(
        default="",
        description=(
            "A file to append to; it is opened anew on reload, for logrotate. Empty is standard output, which "
            "systemd and Docker collect."
        ),
    )
    level: LogLevel = Field(
        default=LogLevel.INFO,
        description=(
            "The least grave lines that are written: debug, info, warning or error. info has every connection's end "
            "and every failed login, which ban tools need."
        ),
    )


class ServerConfig(Section):
    """The process itself."""

    workers: Workers = Field(
        default="auto",
        description=(
            'Processes that serve connections. "auto" is one for each core: TLS is what costs, and two on one core '
            "only take turns."
        ),
    )
    run_as: RunAs = Field(
        default="",
        description=(
            'Started as root: the user ("tlsproxy") or user and group ("tlsproxy:mail") that the workers run as, '
            "which talk to strangers. Empty is whoever started it, as under the systemd unit, which has a user of its "
            "own."
        ),
        examples=["tlsproxy"],
    )
    loop: LoopKind = Field(
        default=LoopKind.AUTO,
        description=(
            "Event loop: auto takes selector, tlsproxy's own on asyncio, in which a byte on its way meets the least "
            "Python; uvloop is for comparison and for kernels without epoll."
        ),
    )


class Config(Section):
    """The whole file."""

    tls: TlsSection
    listener: tuple[ListenerConfig, ...] = ()
    backend: dict[Name, BackendConfig] = Field(default_factory=dict)
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    log: LogConfig = LogConfig()
    server: ServerConfig = ServerConfig()
    dns: DnsConfig = DnsConfig()
    smtp: SmtpConfig | None = None

    def profile_of(self, listener: ListenerConfig) -> TlsProfile:
        """The listener's own TLS profile, or the common one."""
        return listener.profile or self.tls.profile

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the file holds
        """Add the well-known listeners where none is written."""
        return with_listeners(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _judge(self) -> Self:
        """What takes several sections to see."""
        mistakes = rules.broken(dict(enumerate(self.listener)), self.backend, self.smtp)
        if mistakes:
            lines = "; ".join(map(str, mistakes))
            raise PydanticCustomError(RULES_BROKEN, "{lines}", {"lines": lines, "mistakes": mistakes})
        return self


def with_listeners(data: dict[str, Any]) -> dict[str, Any]:  # Any: whatever the file holds
    """Without a listener, each backend with a protocol's name gets those on the well-known ports.

    For IMAP and POP3 these are implicit TLS and STARTTLS, for SMTP those of the roles whose tables are written.

    Args:
        data: The file as read, or the arguments of ``Config``.

    Returns:
        The same, or a copy with the key ``listener``.
    """
    backends = data.get("backend")
    if data.get("listener") or not isinstance(backends, dict):
        return data
    kinds = [
        (protocol, role, tls)
        for protocol in ProtocolName
        if protocol in backends
        for role in (_roles(data.get("smtp")) if protocol is ProtocolName.SMTP else (None,))
        for tls in ((ListenerTls.STARTTLS,) if role is SmtpRole.MX else ListenerTls)
    ]
    return {**data, "listener": [{"protocol": protocol, "role": role, "tls": tls} for protocol, role, tls in kinds]}


def _roles(smtp: object) -> list[SmtpRole]:
    """The roles whose tables are written below [smtp]."""
    table = dict(smtp) if isinstance(smtp, dict | SmtpConfig) else {}
    return [role for role in SmtpRole if table.get(role) is not None]
