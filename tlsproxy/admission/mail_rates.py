"""How much mail may come from one client over time; must not do I/O or read a clock."""

from dataclasses import dataclass
from typing import Final

from tlsproxy.admission.base import Refused
from tlsproxy.admission.rates import RateTable
from tlsproxy.core.addresses import Client, Network, is_within
from tlsproxy.core.outcome import Reason

# As many as are remembered of those who connect (``table``): some 10 MB at most, for each of the two.
_ADDRESSES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """So many in so much time, from one client; as many may come at once after a quiet time."""

    count: int
    period_s: float

    def __str__(self) -> str:
        """``60 per 60 s``."""
        return f"{self.count} per {self.period_s:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailCaps:
    """The numbers that are enforced; None means unlimited."""

    messages: Allowance | None = None
    recipients: Allowance | None = None
    allow: tuple[Network, ...] = ()
    """Exempt from both."""


class MailRates:
    """Counts messages and recipients by client; exact, and nothing is kept of what has no limit."""

    __slots__ = ("_allow", "_messages", "_recipients")

    def __init__(self, caps: MailCaps) -> None:
        self._allow = caps.allow
        self._messages = _Purse(caps.messages)
        self._recipients = _Purse(caps.recipients)

    def __len__(self) -> int:
        """How many buckets are kept."""
        return len(self._messages) + len(self._recipients)

    def spend(self, client: Client, messages: int, recipients: int, now: float) -> Refused | None:
        """Let a client send, if it may send all of this.

        Args:
            client: Who sends.
            messages: How many messages.
            recipients: How many recipients.
            now: Monotonic seconds.

        Returns:
            Why it may not, and then nothing is spent; or None.
        """
        if self._allow and is_within(client.ip, self._allow):
            return None
        key, purses = client.key, ((self._messages, messages), (self._recipients, recipients))
        for purse, wanted in purses:
            if not purse.has(key, now, wanted):
                return purse.refusal
        for purse, wanted in purses:
            purse.take(key, now, wanted)
        return None

    def change(self, caps: MailCaps) -> None:
        """New numbers, from now on; a changed one starts everybody anew."""
        self._allow = caps.allow
        if self._messages.allowance != caps.messages:
            self._messages = _Purse(caps.messages)
        if self._recipients.allowance != caps.recipients:
            self._recipients = _Purse(caps.recipients)


class _Purse:
    """What is counted of one kind: a bucket for each client, of the size of the allowance."""

    __slots__ = ("_table", "allowance", "refusal")

    def __init__(self, allowance: Allowance | None) -> None:
        self.allowance = allowance
        self.refusal = Refused(reason=Reason.RATE_EXCEEDED, limit=str(allowance))
        self._table = _table(allowance) if allowance is not None else None

    def __len__(self) -> int:
        return len(self._table) if self._table is not None else 0

    def has(self, key: bytes, now: float, wanted: int) -> bool:
        return self._table is None or not wanted or self._table.has(key, now, wanted)

    def take(self, key: bytes, now: float, wanted: int) -> None:
        if self._table is not None and wanted:
            self._table.take(key, now, wanted)


def _table(allowance: Allowance) -> RateTable:
    return RateTable(count=allowance.count, period_s=allowance.period_s, burst=allowance.count, capacity=_ADDRESSES)
