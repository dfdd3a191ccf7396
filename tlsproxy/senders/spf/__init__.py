"""SPF, Sender Policy Framework (RFC 7208): whether a client may send mail for a domain; asks through a parameter."""

from tlsproxy.senders.spf.evaluation import check_host
from tlsproxy.senders.spf.result import SpfResult, SpfVerdict

__all__ = ["SpfResult", "SpfVerdict", "check_host"]
