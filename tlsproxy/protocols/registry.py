"""The protocols by name; the only place that knows all of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tlsproxy.core.kinds import ProtocolName
from tlsproxy.protocols.base import MailProtocol
from tlsproxy.protocols.imap import IMAP
from tlsproxy.protocols.pop3 import POP3

PROTOCOLS: Final[Mapping[ProtocolName, MailProtocol]] = MappingProxyType({p.name: p for p in (IMAP, POP3)})
