"""Ticket numbers as they go over a line; must not do I/O."""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

_NUMBER: Final = struct.Struct("!Q")
_NUMBERS_AT_ONCE: Final = 2048  # 16 KiB: half of what a line has room for (``channel``)


def in_parts(tickets: Sequence[int]) -> Iterable[Sequence[int]]:
    """Ticket numbers in parts that fit into one message each."""
    for start in range(0, len(tickets), _NUMBERS_AT_ONCE):
        yield tickets[start : start + _NUMBERS_AT_ONCE]


def pack(numbers: Sequence[int]) -> bytes:
    """Numbers as bytes."""
    return struct.pack(f"!{len(numbers)}Q", *numbers)


def unpack(body: bytes) -> Sequence[int]:
    """Numbers out of bytes.

    Raises:
        struct.error: It is not a whole number of numbers.
    """
    return struct.unpack(f"!{len(body) // _NUMBER.size}Q", body)
