"""IMAP before login (RFC 3501, RFC 9051): the only thing others may take from here is the record."""

from typing import Final

from tlsproxy.core.kinds import ProtocolName
from tlsproxy.protocols.base import MailProtocol
from tlsproxy.protocols.imap.backend_side.proof import ImapProof
from tlsproxy.protocols.imap.backend_side.upgrade import ImapUpgrade
from tlsproxy.protocols.imap.gate import ImapGate
from tlsproxy.protocols.imap.login import ImapLogin
from tlsproxy.protocols.imap.responses import is_between_responses
from tlsproxy.protocols.replies import imap_parting

IMAP: Final = MailProtocol(
    name=ProtocolName.IMAP,
    implicit_port=993,  # RFC 8314
    starttls_port=143,  # RFC 9051 §2.1
    alpn="imap",
    make_gate=ImapGate,
    make_login=ImapLogin,
    make_upgrade=ImapUpgrade,
    make_proof=ImapProof,
    parting=imap_parting,
    is_between_responses=is_between_responses,
    farewell=b"LOGOUT",  # RFC 3501 §6.1.3
    has_goodbye=True,
)
