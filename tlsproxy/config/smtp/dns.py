"""[dns]: whom the checks of [smtp.mx] ask; must not ask."""

from typing import Final

from pydantic import Field

from tlsproxy.config.sections import Section
from tlsproxy.config.smtp.values import NameServer
from tlsproxy.config.values import Count, Seconds

_HOUR_S: Final = 3600.0


class DnsConfig(Section):
    """The name servers that the checks of [smtp.mx] ask; nothing else in tlsproxy asks them."""

    servers: tuple[NameServer, ...] = Field(
        default=(),
        description=(
            'Addresses of resolvers, with a port if it is not 53: ["127.0.0.1", "[::1]:5353"]. Best is one that '
            "validates, on this machine, as unbound. By default those of /etc/resolv.conf."
        ),
    )
    timeout: Seconds = Field(
        default=2.0,
        description="How long one question waits for its answer. What takes longer counts as a temporary error.",
    )
    cache_entries: Count = Field(
        default=10_000,
        description="Answers that each worker remembers, about 1 KiB each; the one unused for longest goes first.",
    )
    max_ttl: Seconds = Field(
        default=_HOUR_S,
        description="The longest that an answer is remembered, whatever its zone says: a mended record counts by then.",
    )
