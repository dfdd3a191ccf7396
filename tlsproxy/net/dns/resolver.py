"""Who asks: each question once for all, at few servers, remembered; must not judge the answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver

from tlsproxy.core.errors import ConfigError, Mistake
from tlsproxy.net.dns.answers import records_of, wire_name
from tlsproxy.net.dns.cache import Cache, Key, Records
from tlsproxy.net.dns.server import Server
from tlsproxy.senders.names import LookupFailedError, Record, RecordType

# The default of DNS flag day 2020: the most that passes everywhere without fragments.
_UDP_BYTES: Final = 1232
# A question costs a socket; a flood of senders must not use up the descriptors of the proxy.
_MAX_IN_FLIGHT: Final = 256
# A server that lost a question is asked once more.
_LEAST_TRIES: Final = 2
# Named, because dnspython would find out for every question which async library is running.
_BACKEND: Final = dns.asyncbackend.get_backend("asyncio")


@dataclass(slots=True)
class Tally:
    """How often servers were asked, for whoever wants to tell that they fail."""

    asked: int = 0
    failed: int = 0
    """Of these, without an answer that can be used."""


@dataclass(slots=True)
class _Question:
    """A question that is being asked, for all who want to know."""

    task: asyncio.Task[Records]
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
        self._cache = Cache(cache_entries)
        self._questions: dict[Key, _Question] = {}
        self._in_flight = asyncio.Semaphore(_MAX_IN_FLIGHT)
        self._turn = asyncio.Lock()
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
        asked = wire_name(key[0])
        return () if asked is None else await self._share(key, asked)

    async def _share(self, key: Key, name: dns.name.Name) -> Records:
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

    async def _ask(self, key: Key, name: dns.name.Name) -> Records:
        async with self._in_flight:
            async with self._turn:
                # One question a round of the loop: it takes 0.3 ms, and hundreds may be wanted at the same moment.
                await asyncio.sleep(0)
            self.tally.asked += 1
            try:
                records, ttl_s = await self._answer(name, key[1])
            except (dns.exception.DNSException, OSError, EOFError) as error:
                self.tally.failed += 1
                raise LookupFailedError(f"{key[1]} of {key[0]} cannot be looked up: {type(error).__name__}") from error
        now = asyncio.get_running_loop().time()
        self._cache.put(key, records, now, now + min(ttl_s, self._max_ttl_s))
        return records

    async def _answer(self, name: dns.name.Name, record_type: RecordType) -> tuple[Records, float]:
        try:
            answer = await self._resolver.resolve(
                name, str(record_type), raise_on_no_answer=False, search=False, backend=_BACKEND
            )
        except dns.resolver.NXDOMAIN as error:
            response = error.response(name)  # type: ignore[no-untyped-call] # dnspython has left it untyped
            return (), _negative_ttl_s(response)
        if answer.rrset is None:
            return (), _negative_ttl_s(answer.response)
        return tuple(records_of(answer.rrset)), answer.chaining_result.minimum_ttl


def _negative_ttl_s(response: dns.message.QueryMessage) -> float:
    """How long it is remembered that there is nothing; not at all where no SOA says so (RFC 2308 §5)."""
    has_soa = any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    return response.resolve_chaining().minimum_ttl if has_soa else 0


def _make_resolver(servers: Sequence[tuple[IPv4Address | IPv6Address, int]]) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration as error:
        hint = "/etc/resolv.conf names no server; name one here"
        raise ConfigError([Mistake(key="dns.servers", value="", hint=hint)]) from error
    if servers:
        resolver.nameservers = [Server(str(ip), port) for ip, port in servers]
    else:
        resolver.nameservers = [Server(str(address), resolver.port) for address in resolver.nameservers]
    resolver.use_edns(0, 0, _UDP_BYTES)
    return resolver
