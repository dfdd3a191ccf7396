"""POP3 before login (RFC 1939, 2449, 2595, 3206, 5034): the record that the floors above see."""

from typing import Final

from tlsproxy.core.kinds import ProtocolName
from tlsproxy.protocols.base import MailProtocol
from tlsproxy.protocols.pop3.gate import Pop3Gate
from tlsproxy.protocols.pop3.login import Pop3Login
from tlsproxy.protocols.pop3.proof import Pop3Proof
from tlsproxy.protocols.pop3.syntax import is_between_responses
from tlsproxy.protocols.pop3.upgrade import Pop3Upgrade
from tlsproxy.protocols.replies import pop3_parting

POP3: Final = MailProtocol(
    name=ProtocolName.POP3,
    implicit_port=995,
    starttls_port=110,
    alpn="pop3",
    make_gate=Pop3Gate,
    make_login=Pop3Login,
    make_upgrade=Pop3Upgrade,
    make_proof=Pop3Proof,
    parting=pop3_parting,
    is_between_responses=is_between_responses,
    farewell=b"QUIT",  # RFC 1939 §6
    has_goodbye=False,
)
