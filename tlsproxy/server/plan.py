"""What sessions are served by: one frozen value, built whole from a configuration and swapped whole on reload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tlsproxy.admission.base import TicketHolders
from tlsproxy.config.model import Config, ListenerConfig
from tlsproxy.core.kinds import ListenerTls, ProtocolName
from tlsproxy.core.log import Log
from tlsproxy.net.clocks.idle import IdleClock
from tlsproxy.net.plane import Plane
from tlsproxy.net.tls.certs import Certificate
from tlsproxy.net.tls.contexts import ServerTls
from tlsproxy.protocols.base import DialogueLimits, MailProtocol
from tlsproxy.protocols.registry import PROTOCOLS
from tlsproxy.server.smtp.budget import MailBudget
from tlsproxy.server.smtp.service import SmtpService, SmtpTools, make_smtp_service
from tlsproxy.server.way.way import Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything a session needs to know of the listener it came in by."""

    listener: str
    protocol: MailProtocol
    tls: ListenerTls
    server_tls: ServerTls
    way: Way
    limits: DialogueLimits
    idle_limit_s: float
    handshake_s: float
    login_s: float
    login_stressed_s: float
    backend_login_s: float
    backend_hold_s: float
    backend_retry_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What all sessions of a worker share."""

    plane: Plane
    idle_clock: IdleClock
    admission: TicketHolders
    log: Log
    budget: MailBudget


Plan = Mapping[str, Service | SmtpService]
"""All services, by listener name."""


def make_plan(
    config: Config, certificates: Sequence[Certificate], ways: Mapping[str, Way], tools: SmtpTools, old: Plan
) -> Plan:
    """Build the plan for a configuration.

    Args:
        config: Validated: every listener's backend exists.
        certificates: The loaded pairs, in the order of the configuration.
        ways: A way for each backend's name.
        tools: What SMTP sessions work with.
        old: The plan that is in force. Contexts that are the same are kept, and with them the keys of the session
            tickets, so that a reload ends nobody's resumption.

    Raises:
        CertificateError: OpenSSL does not take a pair under a listener's profile.
    """
    known = {service.server_tls.likeness: service.server_tls for service in old.values()}
    plan: dict[str, Service | SmtpService] = {}
    for listener in config.listener:
        protocol = PROTOCOLS.get(listener.protocol)
        likeness = (tuple(certificates), config.profile_of(listener), protocol.alpn if protocol is not None else None)
        if likeness not in known:
            known[likeness] = ServerTls(*likeness)
        server_tls, way = known[likeness], ways[listener.backend]
        plan[listener.name] = (
            make_smtp_service(config, listener, server_tls, way, tools)
            if protocol is None
            else _make_service(config, listener, protocol, server_tls, way)
        )
    return plan


def _make_service(
    config: Config, listener: ListenerConfig, protocol: MailProtocol, server_tls: ServerTls, way: Way
) -> Service:
    timeouts, is_imap = config.timeouts, listener.protocol is ProtocolName.IMAP
    return Service(
        listener=listener.name,
        protocol=protocol,
        tls=listener.tls,
        server_tls=server_tls,
        way=way,
        limits=DialogueLimits(
            line_bytes=config.limits.line_imap if is_imap else config.limits.line_pop3,
            sasl_line_bytes=config.limits.sasl_line,
            literal_bytes=config.limits.literal,
            total_bytes=config.limits.before_login,
            bad_commands=config.limits.bad_commands,
            failed_logins=config.limits.failed_logins,
        ),
        idle_limit_s=timeouts.idle_imap if is_imap else timeouts.idle_pop3,
        handshake_s=timeouts.tls_handshake,
        login_s=timeouts.login,
        login_stressed_s=timeouts.login_stressed,
        backend_login_s=timeouts.backend_login,
        backend_hold_s=timeouts.backend_hold,
        backend_retry_s=timeouts.backend_retry,
    )
