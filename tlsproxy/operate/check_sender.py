"""What ``tlsproxy check-sender`` tells: every check of one sender, and what would follow; must not print."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tlsproxy.config.model import Config, DnsConfig, MxConfig
from tlsproxy.config.smtp.values import parse_name_server
from tlsproxy.core.addresses import client_from
from tlsproxy.core.errors import ConfigError, Mistake
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.syntax import Extension, Path, parse_hello, parse_mail
from tlsproxy.senders.explain import Row, explain
from tlsproxy.senders.identity import HelloResult, IpAddress, Iprev
from tlsproxy.senders.judgement import judge
from tlsproxy.senders.local import Skip
from tlsproxy.senders.spf import SpfResult
from tlsproxy.senders.wording import Facts, clean
from tlsproxy.server.smtp.desks.questions import Checks, ask_hello, ask_names, ask_spf
from tlsproxy.server.smtp.service import make_checks
from tlsproxy.server.smtp.tools import make_resolver

# Without a configuration; which domains are local plays no part in these checks.
_STANDARD: Final = MxConfig(local_domains=("example.org",))
_REF: Final = "check"
_GAP: Final = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Whom to check."""

    ip: IpAddress
    hello: bytes
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, as the JSON form has it."""

    ip: str
    helo: str
    mail_from: str
    """The address, empty for the null sender."""
    is_accepted: bool
    """By the configuration, or by the standard profile where there is none."""
    remarks: tuple[str, ...]
    reverse_dns: Iprev
    helo_relaxed: HelloResult
    helo_exact: HelloResult
    spf: SpfResult
    spf_helo: SpfResult | None
    """None for the null sender, where it is the same."""
    rows: tuple[Row, ...]


def read_sender(ip: str, hello: str, mail_from: str) -> Sender:
    """Read the arguments as a session would read them.

    Args:
        ip: The client's address.
        hello: What it says in HELO or EHLO.
        mail_from: The sender's address, with or without angle brackets; empty for the null sender.

    Raises:
        ConfigError: What cannot be read, each with the reason.
    """
    mistakes: list[Mistake] = []
    try:
        address = client_from(ip).ip
    except ValueError:
        mistakes.append(Mistake(key="IP", value=f'"{clean(ip)}"', hint='write an address, as "192.0.2.7"'))
    name = parse_hello(hello.encode("utf-8", "replace"))
    if isinstance(name, Reply):
        mistakes.append(Mistake(key="HELO", value=f'"{clean(hello)}"', hint=_refused(name)))
    bracketed = mail_from if mail_from.startswith("<") else f"<{mail_from}>"
    mail = parse_mail(f"FROM:{bracketed} SMTPUTF8".encode("utf-8", "replace"), frozenset({Extension.SMTPUTF8}))
    if isinstance(mail, Reply):
        mistakes.append(Mistake(key="MAILFROM", value=f'"{clean(mail_from)}"', hint=_refused(mail)))
    if mistakes or isinstance(name, Reply) or isinstance(mail, Reply):
        raise ConfigError(mistakes)
    return Sender(ip=address, hello=name, path=mail.path)


def examine_sender(sender: Sender, config: Config | None, servers: Sequence[str]) -> Report:
    """Make every check of a sender that an MX listener can make.

    Args:
        sender: Whom to check.
        config: Whose settings and deadlines hold; None for the standard profile and the defaults.
        servers: Name servers to ask instead of the configured ones.

    Raises:
        ConfigError: There is no name server to ask, or one is not written as it should be.
    """
    return asyncio.run(_examine(sender, config, _dns(config, servers)))


def told(report: Report) -> list[str]:
    """The report as lines for a person."""
    actions = {row.subject: row.actions for row in report.rows}
    columns = list(report.rows[0].actions)
    verdicts = [[row.subject, row.verdict, row.detail] for row in report.rows if row.verdict]
    table = [["", *columns]]
    table += [[subject, *(action.partition(":")[0] for action in by.values())] for subject, by in actions.items()]
    lines = [f"{report.ip}, HELO {report.helo}, MAIL FROM <{report.mail_from}>", *report.remarks, ""]
    lines += [*_aligned(verdicts), *_quoted(report), "", *_aligned(table)]
    replies = _replies(report.rows[-1])
    return [*lines, *([""] if replies else []), *replies]


async def _examine(sender: Sender, config: Config | None, dns: DnsConfig) -> Report:
    smtp = config.smtp if config is not None else None
    mx = smtp.mx if smtp is not None else None
    hostname = smtp.hostname if smtp is not None else ""
    checks = make_checks(hostname, mx or _STANDARD, make_resolver(dns).look_up)
    ip, hello, domain = sender.ip, sender.hello, sender.path.domain
    names = asyncio.create_task(ask_names(checks, ip))
    relaxed, exact, spf, spf_hello = await asyncio.gather(
        ask_hello(checks, ip, hello, names, None, is_relaxed=True),
        ask_hello(checks, ip, hello, names, None, is_relaxed=False),
        ask_spf(checks, ip, hello, domain=domain or hello, sender=sender.path.address, names=names),
        ask_spf(checks, ip, hello, domain=hello, sender=b"postmaster@" + hello, names=names),
    )
    facts = Facts(ip=ip, hello=hello, domain=domain, ref=_REF)
    own = spf_hello if domain else None
    own_word = relaxed if checks.settings.is_relaxed else exact
    judgement = judge(names.result(), own_word, spf, own, settings=checks.settings, facts=facts)
    skip = checks.clients.skip(ip)
    return Report(
        ip=str(ip),
        helo=clean(hello),
        mail_from=clean(sender.path.address),
        is_accepted=skip is not None or judgement.reply is None,
        remarks=tuple(_remarks(checks, ip, names.result(), skip, is_configured=config is None or mx is not None)),
        reverse_dns=names.result(),
        helo_relaxed=relaxed,
        helo_exact=exact,
        spf=spf,
        spf_helo=own,
        rows=explain(
            iprev=names.result(),
            hello_relaxed=relaxed,
            hello_exact=exact,
            spf=spf,
            spf_hello=own,
            facts=facts,
            configured=checks.settings if mx is not None else None,
        ),
    )


def _dns(config: Config | None, servers: Sequence[str]) -> DnsConfig:
    dns = config.dns if config is not None else DnsConfig()
    if not servers:
        return dns
    try:
        return dns.model_copy(update={"servers": tuple(map(parse_name_server, servers))})
    except ValueError as error:
        raise ConfigError([Mistake(key="--dns", value="", hint=str(error))]) from error


def _refused(answer: Reply) -> str:
    return f"a session would be told: {answer.code} {clean(answer.text)}"


def _remarks(checks: Checks, ip: IpAddress, names: Iprev, skip: Skip | None, *, is_configured: bool) -> list[str]:
    remarks: list[str] = []
    if not is_configured:
        remarks.append("The configuration has no [smtp.mx]; what the profiles would do is shown.")
    if skip is not None:
        why = "is a private address" if skip is Skip.PRIVATE else "is among [smtp.mx] exempt_networks"
        remarks.append(f"{ip} {why}: it is not checked, and accepted; this is what checks would find.")
    if checks.clients.is_forwarder(ip, names.names):
        remarks.append(f"{ip} is one of [smtp.mx] trusted_forwarders: SPF is not checked.")
    return remarks


def _quoted(report: Report) -> list[str]:
    """What a domain says of its own fail."""
    explanation = report.spf.explanation
    return [f"{clean(report.spf.domain)} says: {clean(explanation, len(explanation))}"] if explanation else []


def _replies(row: Row) -> list[str]:
    """Each reply once, with who would give it."""
    givers: dict[str, list[str]] = {}
    for name, action in row.actions.items():
        _, colon, reply = action.partition(": ")
        if colon:
            givers.setdefault(reply, []).append(name)
    return [f"{', '.join(names)}: {reply}" for reply, names in givers.items()]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_GAP.join(map(str.ljust, row, widths)).rstrip() for row in rows]
