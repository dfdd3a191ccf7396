"""What SMTP sessions are served by: one frozen value for each listener, as ``server.plan`` builds it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tlsproxy.config.model import BackendConfig, Config, ListenerConfig, MxConfig, SmtpConfig
from tlsproxy.core.kinds import (
    BackendIdentity,
    BackendLogin,
    BareNewline,
    EarlyTalker,
    ListenerTls,
    Mode,
    SmtpRole,
)
from tlsproxy.net.tls.contexts import ServerTls
from tlsproxy.protocols.base import Tongue
from tlsproxy.protocols.smtp import SMTP
from tlsproxy.protocols.smtp.settings import DialogueSettings
from tlsproxy.senders.local import ExemptRecipients, KnownClients, LocalDomains, Recipients
from tlsproxy.senders.names import Lookup, LookupFailedError, Record, RecordType
from tlsproxy.senders.policy import IDENTITY_KEYS, SPF_KEYS, Check, settings_for
from tlsproxy.server.judges.base import PasswordJudge
from tlsproxy.server.smtp.delivering.knowledge import Knowledge
from tlsproxy.server.smtp.delivering.places import Places
from tlsproxy.server.smtp.desks.mx import MxRules
from tlsproxy.server.smtp.desks.questions import Checks
from tlsproxy.server.smtp.desks.submission import SubmissionRules
from tlsproxy.server.way.way import Way


async def _asks_nobody(name: str, record_type: RecordType) -> Sequence[Record]:
    raise LookupFailedError(f"{record_type} of {name}: there is no name server to ask here")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpTools:
    """What SMTP sessions work with that a process has only one of; the supervisor, which serves nobody, has none."""

    lookup: Lookup = _asks_nobody
    """Asks the DNS."""
    judge: PasswordJudge | None = None
    """Judges passwords; None where the old SMTP server does."""
    knowledge: Mapping[str, Knowledge] = field(default_factory=dict)
    """What old servers can do, by the backend's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpService:
    """Everything a session needs to know of the listener it came in by."""

    listener: str
    protocol: Tongue = SMTP
    tls: ListenerTls
    server_tls: ServerTls
    way: Way
    role: SmtpRole
    hostname: str
    dialogue: DialogueSettings
    """The bounds of the dialogue; each session adds its id."""
    max_message_bytes: int
    bare_newline: BareNewline
    early_talker: EarlyTalker
    greet_delay_s: float
    command_s: float
    stressed_s: float
    """How long a client may wait with a command when connections are scarce."""
    introduction_s: float
    """How long the old server may take until it knows the client."""
    data_s: float
    final_reply_s: float
    handshake_s: float
    login_s: float
    login_stressed_s: float
    backend_hold_s: float
    backend_retry_s: float
    identity: BackendIdentity
    is_identity_required: bool
    backend_login: BackendLogin
    tools: SmtpTools
    places: Places
    """Who may have how many connections to the old server."""
    rules: MxRules | SubmissionRules
    """What the desk goes by."""


def make_smtp_service(
    config: Config, listener: ListenerConfig, server_tls: ServerTls, way: Way, tools: SmtpTools
) -> SmtpService:
    """Build what an SMTP listener serves by.

    Args:
        config: Validated: the tables that the listener's role needs are there.
        listener: The listener.
        server_tls: Its certificates.
        way: The way to its backend.
        tools: What this process has.
    """
    smtp, backend, timeouts = config.smtp, config.backend[listener.backend], config.timeouts
    if smtp is None or listener.role is None:
        raise ValueError("an SMTP listener without its tables")  # the configuration's rules see to it
    return SmtpService(
        listener=listener.name,
        tls=listener.tls,
        server_tls=server_tls,
        way=way,
        role=listener.role,
        hostname=smtp.hostname,
        dialogue=_dialogue(config, smtp, listener),
        max_message_bytes=smtp.max_message_size,
        bare_newline=smtp.bare_newline,
        early_talker=smtp.early_talker if listener.role is SmtpRole.MX else EarlyTalker.OFF,
        greet_delay_s=smtp.greet_delay,
        command_s=smtp.command_timeout,
        stressed_s=min(smtp.command_timeout, timeouts.login_stressed),
        introduction_s=timeouts.backend_login,
        data_s=smtp.data_timeout,
        final_reply_s=smtp.data_reply_timeout,
        handshake_s=timeouts.tls_handshake,
        login_s=timeouts.login,
        login_stressed_s=timeouts.login_stressed,
        backend_hold_s=timeouts.backend_hold,
        backend_retry_s=timeouts.backend_retry,
        identity=backend.identity,
        is_identity_required=backend.identity_required,
        backend_login=backend.login,
        tools=tools,
        places=_places(smtp.mx if listener.role is SmtpRole.MX else None),
        rules=_rules(smtp, listener.role, backend, tools.lookup),
    )


def _dialogue(config: Config, smtp: SmtpConfig, listener: ListenerConfig) -> DialogueSettings:
    settings = DialogueSettings(
        hostname=smtp.hostname.encode("ascii"),
        line_bytes=config.limits.line_smtp,
        sasl_line_bytes=config.limits.sasl_line,
        max_recipients=smtp.max_recipients,
        max_errors=smtp.max_errors,
        is_strict_sync=smtp.strict_sync,
        requires_tls=bool(listener.require_tls),
    )
    if listener.role is SmtpRole.MX or smtp.submission is None:
        return settings
    return replace(
        settings,
        mechanisms=tuple(each.encode("ascii") for each in smtp.submission.mechanisms),
        max_auth_failures=smtp.submission.max_auth_failures,
    )


def _rules(smtp: SmtpConfig, role: SmtpRole, backend: BackendConfig, lookup: Lookup) -> MxRules | SubmissionRules:
    mx, adds_received = smtp.mx, backend.identity is BackendIdentity.NONE
    if role is SmtpRole.MX and mx is not None:
        recipients = Recipients(
            domains=LocalDomains.read(mx.local_domains), exempt=ExemptRecipients.read(mx.exempt_recipients)
        )
        checks = make_checks(smtp.hostname, mx, lookup)
        return MxRules(checks=checks, recipients=recipients, reject_at=smtp.reject_at, adds_received=adds_received)
    if smtp.submission is not None:
        return SubmissionRules(
            sender_login=smtp.submission.sender_login,
            domains=LocalDomains.read(mx.local_domains) if mx is not None else None,
            backend_login=backend.login,
            adds_received=adds_received,
        )
    raise ValueError("an SMTP listener without its tables")  # the configuration's rules see to it


def _places(mx: MxConfig | None) -> Places:
    """Users are known by name and are not counted."""
    return Places(None, KnownClients()) if mx is None else Places(mx.deliveries_per_address, known_clients(mx))


def known_clients(mx: MxConfig) -> KnownClients:
    """The clients of whom less is asked."""
    return KnownClients(
        exempt=mx.exempt_networks,
        forwarders=mx.trusted_forwarders.networks,
        forwarder_names=mx.trusted_forwarders.ptr_suffixes,
    )


def make_checks(hostname: str, mx: MxConfig, lookup: Lookup) -> Checks:
    """Build what is checked of clients.

    Args:
        hostname: Our own name.
        mx: What is asked of them.
        lookup: Asks the DNS.
    """
    modes: dict[Check, Mode] = {}
    for keys, section in ((IDENTITY_KEYS, mx.identity), (SPF_KEYS, mx.spf)):
        modes |= {check: mode for key, check in keys.items() if (mode := getattr(section, key)) is not None}
    return Checks(
        lookup=lookup,
        settings=settings_for(
            mx.profile,
            modes,
            is_relaxed=mx.is_relaxed,
            is_dry_run=mx.dry_run,
            has_explanation=mx.spf.explanation,
        ),
        clients=known_clients(mx),
        hostname=hostname,
        identity_s=mx.identity.deadline,
        spf_s=mx.spf.deadline,
    )
