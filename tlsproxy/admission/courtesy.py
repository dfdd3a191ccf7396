"""How many handshakes are spent on telling refused clients why; a flood must not be able to buy more."""

from typing import Final

from tlsproxy.admission.rates import RateTable
from tlsproxy.core.outcome import Reason

# A flood can cause the other reasons at will; these two a client can mend, so it is told which number it reached.
_WORTH_TELLING: Final = frozenset({Reason.ADDRESS_FULL, Reason.UNAUTHENTICATED_ADDRESS_FULL})
# 20 full handshakes are some 12 ms of a core each second: felt by nobody.
_IN_ALL_PER_S: Final = 20
# A client that is told once shows its user the text; telling it again adds nothing for a while.
_PER_ADDRESS_PERIOD_S: Final = 10.0
# 20 at once and 20 a second for 10 s are 220 addresses that are not told again: none of them is ever forgotten.
_ADDRESSES: Final = 256
_EVERYBODY: Final = b""


class Courtesy:
    """The budget of polite refusals on TLS ports: 20 a second in all, one per address in 10 s."""

    __slots__ = ("_by_address", "_in_all")

    def __init__(self) -> None:
        self._in_all = RateTable(count=_IN_ALL_PER_S, period_s=1.0, burst=_IN_ALL_PER_S, capacity=1)
        self._by_address = RateTable(count=1, period_s=_PER_ADDRESS_PERIOD_S, burst=1, capacity=_ADDRESSES)

    def may_tell(self, reason: Reason, key: bytes, now: float) -> bool:
        """Whether this refusal may be told; if so, it is paid for.

        Args:
            reason: Why the client is refused.
            key: The client's ``Peer.key``.
            now: Monotonic seconds.
        """
        if reason not in _WORTH_TELLING or not self._in_all.has(_EVERYBODY, now):
            return False
        return self._by_address.take(key, now) and self._in_all.take(_EVERYBODY, now)
