"""SMTP as between a client and an old server: commands, replies, content; without I/O (RFC 5321, 3207, 4954, 6409).

It never becomes a relay: every command is read and written anew to the end, so that its record is a short one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tlsproxy.core.kinds import ProtocolName
from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.replies import smtp_parting


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpProtocol:
    """What the floors above need to know of SMTP before a client of it is served; a ``Tongue``."""

    name: ProtocolName
    parting: Callable[[Reason, str], bytes]


SMTP: Final = SmtpProtocol(name=ProtocolName.SMTP, parting=smtp_parting)
