"""The DNS for those who judge senders: a stub resolver's answers, cached and shared; must not judge what they mean.

Whoever imports this pays for dnspython, half a second and 20 MB, so only what needs it may: an MX listener.
"""

from tlsproxy.net.dns.resolver import Resolver, Tally

__all__ = ["Resolver", "Tally"]
