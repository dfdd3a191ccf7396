"""Clients with private addresses send unchecked, and that is told, but not of each of them."""

import smtplib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from rig.oldsmtp import OldSmtp
from rig.pki import Pki
from rig.program import Program
from rig.recorder import Recorder

from tlsproxy.core.addresses import Peer
from tlsproxy.core.events import Event
from tlsproxy.core.kinds import RejectAt, SmtpRole
from tlsproxy.protocols.smtp import SMTP
from tlsproxy.protocols.smtp.syntax import parse_mail
from tlsproxy.senders.local import ExemptRecipients, KnownClients, LocalDomains, Recipients
from tlsproxy.senders.policy import Mode, PolicySettings
from tlsproxy.server.chronicle import Chronicle
from tlsproxy.server.smtp.desks.client_facts import ClientFacts
from tlsproxy.server.smtp.desks.mx import MxDesk, MxRules
from tlsproxy.server.smtp.desks.questions import Checks
from tlsproxy.server.smtp.desks.sparing import Sparing
from tlsproxy.server.smtp.notes import Notes


def test_the_first_is_told_and_then_one_a_minute() -> None:
    sparing = Sparing()
    assert sparing.count(5.0) == 1
    assert [sparing.count(now) for now in (5.0, 6.0, 64.9)] == [0, 0, 0]
    assert sparing.count(65.0) == 4
    assert sparing.count(300.0) == 1


async def _asked(name: str, record_type: object) -> tuple[()]:
    return ()


def _rules() -> MxRules:
    off = dict.fromkeys(PolicySettings().modes, Mode.OFF)
    checks = Checks(
        lookup=_asked,
        settings=PolicySettings(modes=off),
        clients=KnownClients(exempt=(ip_network("10.9.0.0/16"),)),
        hostname="mx.example",
        identity_s=1.0,
        spf_s=1.0,
    )
    recipients = Recipients(domains=LocalDomains.read(["example.org"]), exempt=ExemptRecipients.read([]))
    return MxRules(checks=checks, recipients=recipients, reject_at=RejectAt.RCPT, adds_received=True)


class _Served:
    listener = "smtp"
    protocol = SMTP

    class way:  # noqa: N801 - a stand-in
        name = "smtp"


async def _send(rules: MxRules, ip: str, log: Recorder, mails: int = 1) -> None:
    served: Any = _Served
    peer = Peer(ip_address(ip), 49152)
    notes = Notes(log, Chronicle(log, served, peer, lambda: 0.0, "7F3A9C"), SmtpRole.MX)
    facts = ClientFacts(peer=peer, destination=Peer(ip_address("192.0.2.2"), 25), ref="7F3A9C", receiver="mx.example")
    desk = MxDesk(rules, facts, notes)
    desk.arrived()
    desk.heard(b"app.example.org")
    for _ in range(mails):
        mail: Any = parse_mail(b"FROM:<a@example.org>", frozenset())
        assert await desk.sender(mail) is None
    desk.close()


async def test_who_is_told_of() -> None:
    log, rules = Recorder(), _rules()
    await _send(rules, "192.0.2.7", log)
    await _send(rules, "10.9.0.1", log)
    assert log.lines(Event.SENDER_UNCHECKED) == [], "checked, and exempt by somebody's will"
    await _send(rules, "10.0.0.1", log, mails=2)
    await _send(rules, "10.0.0.2", log)
    (line,) = log.lines(Event.SENDER_UNCHECKED)
    assert (line["level"], line["client_ip"], line["listener"]) == ("warning", "10.0.0.1", "smtp")
    assert (line["reason"], line["count"]) == ("private", 1)
    assert "exempt_networks" in line["hint"]
    await _send(_rules(), "10.0.0.2", log)
    assert len(log.lines(Event.SENDER_UNCHECKED)) == 2, "each listener for itself"


@pytest.mark.timeout(60)
def test_the_real_program_tells_it(rig_pki: Pki, tmp_path: Path) -> None:
    with OldSmtp() as old:
        config = f"""
[tls]
certificates = [{{ chain = "{rig_pki.chain}", key = "{rig_pki.key}" }}]
[[listener]]
protocol = "smtp"
role = "mx"
bind = ["127.0.0.1:0"]
[smtp]
hostname = "mx.example.org"
[smtp.mx]
local_domains = ["example.org"]
[dns]
servers = ["127.0.0.1:9"]
[backend.smtp]
address = "{old.address}"
[server]
workers = 1
"""
        with Program(tmp_path, config) as program:
            for _ in range(2):
                with smtplib.SMTP("127.0.0.1", program.ports["smtp"], "app.example.org", 10) as client:
                    client.sendmail("a@example.org", ["joe@example.org"], b"Subject: hi\r\n\r\nhi\r\n")
            program.wait("session.closed", 2)
            (line,) = program.wait("sender.unchecked")
            assert (line["level"], line["client_ip"], line["reason"]) == ("warning", "127.0.0.1", "private")
            assert line["count"] == 1
