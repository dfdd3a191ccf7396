"""The DNS for those who judge senders: a stub resolver's answers, cached and shared; must not judge what they mean.

Whoever imports this pays for dnspython, half a second and 20 MB, so only what needs it may: an MX listener.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from tlsproxy.core.errors import ConfigError, Mistake
from tlsproxy.senders.names import LookupFailedError, MailExchange, Record, RecordType

# The default of DNS flag day 2020: the most that passes everywhere without fragments.
_UDP_BYTES: Final = 1232
# A question costs a socket; a flood of senders must not use up the descriptors of the proxy.
_MAX_IN_FLIGHT: Final = 256
# A larger answer is asked for again: a sender can make them as large as 64 KiB, and there are thousands of entries.
_CACHED_BYTES: Final = 4096
# What Python takes for one record beside its data.
_RECORD_BYTES: Final = 64
# A server that lost a question is asked once more.
_LEAST_TRIES: Final = 2

_Key = tuple[str, RecordType]
_Records = tuple[Record, ...]


@dataclass(slots=True)
class Tally:
    """How often servers were asked, for whoever wants to tell that they fail."""

    asked: int = 0
    failed: int = 0
    """Of these, without an answer that can be used."""


@dataclass(slots=True)
class _Question:
    """A question that is being asked, for all who want to know."""

    task: asyncio.Task[_Records]
    askers: int = 0


class Resolver:
    """Looks names up at recursive name servers."""

    def __init__(
        self,
        servers: Sequence[tuple[IPv4Address | IPv6Address, int]],
        *,
        timeout_s: float,
        cache_entries: int,
        max_ttl_s: float,
    ) -> None:
        """Take the servers; nothing is asked yet.

        Args:
            servers: Addresses and ports of recursive servers, asked in this order; those of /etc/resolv.conf, which
                is read now and never again, if there are none here.
            timeout_s: Seconds for each try at a server. All tries together, two at least and one at each server,
                are what a look-up takes at most.
            cache_entries: Answers to remember.
            max_ttl_s: Seconds to remember an answer at most, whatever its TTL.

        Raises:
            ConfigError: There is no server in /etc/resolv.conf.
        """
        self._resolver = _make_resolver(servers)
        self._resolver.timeout = timeout_s
        self._resolver.lifetime = timeout_s * max(_LEAST_TRIES, len(self._resolver.nameservers))
        self._max_ttl_s = max_ttl_s
        self._cache = _Cache(cache_entries)
        self._questions: dict[_Key, _Question] = {}
        self._in_flight = asyncio.Semaphore(_MAX_IN_FLIGHT)
        # Named, because dnspython would find out for every question which async library is running.
        self._backend = dns.asyncbackend.get_backend("asyncio")
        self.tally = Tally()

    async def look_up(self, name: str, record_type: RecordType) -> Sequence[Record]:
        """Look one name up; a ``tlsproxy.senders.names.Lookup``.

        The same question is asked once, for however many, and given up when the last of them is cancelled.

        Args:
            name: Absolute, with or without the final dot.
            record_type: What is wanted of it.

        Returns:
            The records in the server's order; none for NXDOMAIN, NODATA and a name that no query can be made of.

        Raises:
            LookupFailedError: No server gave an answer that can be used.
        """
        key = (name.removesuffix(".").lower(), record_type)
        found = self._cache.get(key, asyncio.get_running_loop().time())
        if found is not None:
            return found
        wire_name = _wire_name(key[0])
        return () if wire_name is None else await self._share(key, wire_name)

    async def _share(self, key: _Key, name: dns.name.Name) -> _Records:
        question = self._questions.get(key)
        if question is None:
            question = self._questions[key] = _Question(asyncio.create_task(self._ask(key, name)))
        question.askers += 1
        try:
            return await asyncio.shield(question.task)
        finally:
            question.askers -= 1
            if not question.askers:
                question.task.cancel()
                # Whoever comes next must not hear of a question that was given up.
                if self._questions.get(key) is question:
                    del self._questions[key]

    async def _ask(self, key: _Key, name: dns.name.Name) -> _Records:
        async with self._in_flight:
            self.tally.asked += 1
            try:
                records, ttl_s = await self._answer(name, key[1])
            except (dns.exception.DNSException, OSError, EOFError) as error:
                self.tally.failed += 1
                raise LookupFailedError(f"{key[1]} of {key[0]} cannot be looked up: {type(error).__name__}") from error
        now = asyncio.get_running_loop().time()
        self._cache.put(key, records, now, now + min(ttl_s, self._max_ttl_s))
        return records

    async def _answer(self, name: dns.name.Name, record_type: RecordType) -> tuple[_Records, float]:
        try:
            answer = await self._resolver.resolve(
                name, str(record_type), raise_on_no_answer=False, search=False, backend=self._backend
            )
        except dns.resolver.NXDOMAIN as error:
            response = error.response(name)  # type: ignore[no-untyped-call] # dnspython has left it untyped
            return (), _negative_ttl_s(response)
        if answer.rrset is None:
            return (), _negative_ttl_s(answer.response)
        return tuple(_records(answer.rrset)), answer.chaining_result.minimum_ttl


class _Cache:
    """The answers used last, each until its end."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._found: OrderedDict[_Key, tuple[float, _Records]] = OrderedDict()

    def get(self, key: _Key, now: float) -> _Records | None:
        found = self._found.get(key)
        if found is None:
            return None
        until, records = found
        if now >= until:
            del self._found[key]
            return None
        self._found.move_to_end(key)
        return records

    def put(self, key: _Key, records: _Records, now: float, until: float) -> None:
        if until <= now or sum(map(_size, records)) > _CACHED_BYTES:
            return
        self._found[key] = (until, records)
        self._found.move_to_end(key)
        if len(self._found) > self._entries:
            self._found.popitem(last=False)


def _negative_ttl_s(response: dns.message.QueryMessage) -> float:
    """How long it is remembered that there is nothing; not at all where no SOA says so (RFC 2308 §5)."""
    has_soa = any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    return response.resolve_chaining().minimum_ttl if has_soa else 0


def _size(record: Record) -> int:
    return _RECORD_BYTES + (len(record) if isinstance(record, bytes | str) else 0)


def _make_resolver(servers: Sequence[tuple[IPv4Address | IPv6Address, int]]) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration as error:
        hint = "/etc/resolv.conf names no server; name one here"
        raise ConfigError([Mistake(key="dns.servers", value="", hint=hint)]) from error
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(str(ip), port) for ip, port in servers]
    resolver.use_edns(0, 0, _UDP_BYTES)
    return resolver


def _wire_name(name: str) -> dns.name.Name | None:
    """The name label by label, for a text may hold what dnspython's own syntax takes for an escape."""
    try:
        return dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])
    except (UnicodeEncodeError, dns.exception.DNSException):  # an empty or long label, or a long name
        return None


def _records(answer: Iterable[dns.rdata.Rdata]) -> Iterator[Record]:
    for rdata in answer:
        match rdata:
            case A():
                yield IPv4Address(rdata.address)
            case AAAA():
                yield IPv6Address(rdata.address)
            case TXT():
                yield b"".join(rdata.strings)
            case MX() if (name := _text(rdata.exchange)) is not None:
                yield MailExchange(rdata.preference, name)
            case PTR() if name := _text(rdata.target):
                yield name
            case _:  # a name that cannot be written; it is nobody's
                continue


def _text(name: dns.name.Name) -> str | None:
    """The name without its final dot; None where a label holds what text cannot, such as a dot."""
    labels = name.labels[:-1]
    text = b".".join(labels).decode("latin-1")
    is_writable = text.isascii() and text.isprintable() and not any(b"." in label for label in labels)
    return text if is_writable else None
