"""Answers that are remembered, bounded in number and in size; must not know how they are got."""

from collections import OrderedDict
from typing import Final

from tlsproxy.senders.names import Record, RecordType

# A larger answer is asked for again: a sender can make them as large as 64 KiB, and there are thousands of entries.
_LARGEST_BYTES: Final = 4096
# What Python takes for one record beside its data.
_RECORD_BYTES: Final = 64

Key = tuple[str, RecordType]
"""A name in lower case without its final dot, and what is wanted of it."""
Records = tuple[Record, ...]


class Cache:
    """The answers used last, each until its end."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._found: OrderedDict[Key, tuple[float, Records]] = OrderedDict()

    def get(self, key: Key, now: float) -> Records | None:
        """The answer, if it is remembered and its end (monotonic seconds) has not come."""
        found = self._found.get(key)
        if found is None:
            return None
        until, records = found
        if now >= until:
            del self._found[key]
            return None
        self._found.move_to_end(key)
        return records

    def put(self, key: Key, records: Records, now: float, until: float) -> None:
        """Remember an answer for the time from ``now`` to ``until`` (monotonic seconds)."""
        if until <= now or sum(map(_size, records)) > _LARGEST_BYTES:
            return
        self._found[key] = (until, records)
        self._found.move_to_end(key)
        if len(self._found) > self._entries:
            self._found.popitem(last=False)


def _size(record: Record) -> int:
    return _RECORD_BYTES + (len(record) if isinstance(record, bytes | str) else 0)
