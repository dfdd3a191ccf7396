"""A scrap of the DNS: what is told of each name, and a look-up over it that needs no network."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tlsproxy.senders.names import LookupFailedError, MailExchange, Record, RecordType

_CHAIN_LIMIT: Final = 8


class Zones:
    """Names and their records; a name is given and found in any case, without its final dot."""

    def __init__(self) -> None:
        self.records: dict[str, dict[RecordType, list[Record]]] = defaultdict(lambda: defaultdict(list))
        self.aliases: dict[str, str] = {}
        self.silent: set[str] = set()
        """Of these, whatever is not told is not answered at all."""
        self.asked: list[tuple[str, RecordType]] = []
        self.delay_s = 0.0

    def add(self, name: str, record_type: RecordType, *records: Record) -> None:
        self.records[name.lower()][record_type].extend(records)

    def add_policy(self, name: str, text: str) -> None:
        self.add(name, RecordType.TXT, text.encode("latin-1"))

    def has(self, name: str) -> bool:
        return name in self.records or name in self.aliases

    def told(self, name: str, record_type: RecordType) -> Sequence[Record] | None:
        """What is told of a name itself; None where nobody answers."""
        name = name.lower()
        found = self.records[name][record_type] if name in self.records else []
        return None if name in self.silent and not found else found

    async def look_up(self, name: str, record_type: RecordType) -> Sequence[Record]:
        """See ``tlsproxy.senders.names.Lookup``."""
        self.asked.append((name, record_type))
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        name = name.removesuffix(".").lower()
        for _ in range(_CHAIN_LIMIT):
            if name not in self.aliases:
                found = self.told(name, record_type)
                if found is None:
                    raise LookupFailedError(f"{name} does not answer")
                return tuple(found)
            name = self.aliases[name].lower()
        raise LookupFailedError(f"{name} leads in circles")


def simple_zones(zones: Mapping[str, Sequence[str]]) -> Zones:
    """Zones from words: ``{"a.example": ["A 192.0.2.1", "MX 10 mx.example", "TXT v=spf1 -all", "TIMEOUT"]}``."""
    made = Zones()
    for name, lines in zones.items():
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind == "TIMEOUT":
                made.silent.add(name.lower())
            elif kind == "CNAME":
                made.aliases[name.lower()] = rest.removesuffix(".")
            else:
                made.add(name, RecordType(kind), _record(RecordType(kind), rest))
    return made


def _record(record_type: RecordType, text: str) -> Record:
    match record_type:
        case RecordType.A:
            return IPv4Address(text)
        case RecordType.AAAA:
            return IPv6Address(text)
        case RecordType.MX:
            preference, _, name = text.partition(" ")
            return MailExchange(int(preference), name.removesuffix("."))
        case RecordType.TXT:
            return text.encode("latin-1")
        case RecordType.PTR:
            return text.removesuffix(".")
