"""Which refusals are told and written down one by one, and which are only counted: a flood must not fill the log.

Must not do I/O or read a clock.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tlsproxy.admission.rates import RateTable
from tlsproxy.core.addresses import Client
from tlsproxy.core.outcome import Reason

# An office that comes back from a power cut is told and written down to the last device; so is a program that tries
# once a second. What comes on top is a flood, of which the next thousand lines tell no more than the first.
_PER_ADDRESS: Final = 60
_PER_ADDRESS_BURST: Final = 2000
_PERIOD_S: Final = 60.0
# All addresses together: at once what the log takes without dropping, and then a hundredth of a core.
_IN_ALL_PER_S: Final = 200
_IN_ALL_BURST: Final = 8000
_ADDRESSES: Final = 4096
_EVERYBODY: Final = b""
# So long is an address not asked after whose budget is used up: it has a new line a second at best.
_LOOK_PERIOD_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """Refusals that were only counted."""

    client_ip: IPv4Address | IPv6Address | None
    """Whose: one of the address's, for an IPv6 /64; None for all addresses that had no room in the book."""
    counts: Mapping[Reason, int]


class RefusalBook:
    """The budget of refusals that are told and written down, and the count of all others."""

    __slots__ = ("_by_address", "_in_all", "_pages")

    def __init__(self) -> None:
        self._in_all = RateTable(count=_IN_ALL_PER_S, period_s=1.0, burst=_IN_ALL_BURST, capacity=1)
        self._by_address = RateTable(
            count=_PER_ADDRESS, period_s=_PERIOD_S, burst=_PER_ADDRESS_BURST, capacity=_ADDRESSES
        )
        self._pages: dict[bytes, _Page] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be told by ``shed``."""
        return not self._pages

    def is_worth_a_line(self, client: Client, reason: Reason, now: float) -> bool:
        """Whether this refusal is told and written down; if not, it is counted.

        Args:
            client: Who is refused.
            reason: Why.
            now: Monotonic seconds.
        """
        page = self._pages.get(client.key)
        if page is None or now >= page.silent_until:
            if self._by_address.take(client.key, now) and self._in_all.take(_EVERYBODY, now):
                return True
            page = page or self._open(client)
            page.silent_until = now + _LOOK_PERIOD_S
        page.counts[reason] += 1
        return False

    def shed(self) -> Sequence[Shed]:
        """What was counted since the last time this was asked."""
        told = [Shed(client_ip=page.ip, counts=dict(page.counts)) for page in self._pages.values()]
        self._pages.clear()
        return told

    def _open(self, client: Client) -> "_Page":
        if len(self._pages) < _ADDRESSES:
            return self._pages.setdefault(client.key, _Page(client.ip))
        return self._pages.setdefault(_EVERYBODY, _Page(None))


class _Page:
    """What was counted of one address."""

    __slots__ = ("counts", "ip", "silent_until")

    def __init__(self, ip: IPv4Address | IPv6Address | None) -> None:
        self.ip = ip
        self.counts: Counter[Reason] = Counter()
        self.silent_until = 0.0
