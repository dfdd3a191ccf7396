"""Where the demo's proxy listens, and its whole configuration; starts nothing."""

import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

from tlsproxy.demo.certificates import DemoCertificates
from tlsproxy.demo.mailserver import MailServer

_HOST: Final = "127.0.0.1"
_CONFIG: Final = """\
[tls]
certificates = [{{ chain = "{chain}", key = "{key}" }}]

[[listener]]
protocol = "imap"
tls = "implicit"
bind = ["127.0.0.1:{imaps}"]
[[listener]]
protocol = "imap"
tls = "starttls"
bind = ["127.0.0.1:{imap}"]
[[listener]]
protocol = "pop3"
tls = "implicit"
bind = ["127.0.0.1:{pop3s}"]
[[listener]]
protocol = "pop3"
tls = "starttls"
bind = ["127.0.0.1:{pop3}"]
[[listener]]
protocol = "smtp"
role = "submission"
tls = "implicit"
bind = ["127.0.0.1:{submissions}"]
[[listener]]
protocol = "smtp"
role = "submission"
tls = "starttls"
bind = ["127.0.0.1:{submission}"]
[[listener]]
protocol = "smtp"
role = "mx"
tls = "starttls"
bind = ["127.0.0.1:{smtp}"]

[smtp]
hostname = "mail.old.example"
mx.local_domains = ["old.example"]
# The old IMAP server judges passwords; the SMTP server knows none.
submission.auth = "imap"

[backend.imap]
address = "127.0.0.1:{backend_imap}"
[backend.pop3]
address = "127.0.0.1:{backend_pop3}"
[backend.smtp]
# It takes mail from anybody to anywhere, so tlsproxy alone should reach it.
address = "127.0.0.1:{backend_smtp}"

[limits]
# Connections at once from one address; the default is 100.
per_address = {cap}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the proxy listens on 127.0.0.1."""

    imaps: int
    imap: int
    pop3s: int
    pop3: int
    submissions: int
    submission: int
    smtp: int


# The well-known ports with a thousand before them, which nobody needs a privilege for.
_PREFERRED: Final = Ports(imaps=1993, imap=1143, pop3s=1995, pop3=1110, submissions=1465, submission=1587, smtp=1025)


def choose_ports(*, is_preferring: bool = True) -> Ports:
    """The preferred ports where they are free, else any that are."""
    probes: dict[str, socket.socket] = {}
    try:
        for name, port in asdict(_PREFERRED).items():
            probe = _bound(port) if is_preferring else None
            probes[name] = probe or socket.create_server((_HOST, 0))
        return Ports(**{name: probe.getsockname()[1] for name, probe in probes.items()})
    finally:
        for probe in probes.values():
            probe.close()


def _bound(port: int) -> socket.socket | None:
    with suppress(OSError):
        return socket.create_server((_HOST, port))
    return None


def configuration(ports: Ports, files: DemoCertificates, old: MailServer, *, cap: int) -> str:
    """The whole configuration file.

    Args:
        ports: Where to listen.
        files: What to show clients.
        old: The old server, up already.
        cap: Connections at once from one address.
    """
    return _CONFIG.format(
        **asdict(ports),
        chain=files.chain,
        key=files.key,
        backend_imap=old.imap_port,
        backend_pop3=old.pop3_port,
        backend_smtp=old.smtp_port,
        cap=cap,
    )
