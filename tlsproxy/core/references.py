"""The ids of connections: what logs call ``session`` and clients are told as ``ref=``; must not draw random numbers."""

from dataclasses import dataclass
from typing import Final

_BITS: Final = 48
_BYTES: Final = _BITS // 8
_MASK: Final = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Turns the number of a connection into its id, so that the id need not be kept where the number is.

    An odd factor makes it one to one: no two of 2**48 numbers have the same id, and neighbours do not look alike.
    """

    start: int
    factor: int

    def of(self, number: int) -> str:
        """Twelve hexadecimal digits."""
        return self.packed(number).hex()

    def packed(self, number: int) -> bytes:
        """The same in six bytes."""
        return ((self.start + number * (self.factor | 1)) & _MASK).to_bytes(_BYTES)
