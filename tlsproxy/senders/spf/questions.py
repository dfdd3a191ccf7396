"""The questions of one check to the DNS, and their limits (RFC 7208 §4.6.4); must not judge."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tlsproxy.senders.names import Lookup, LookupFailedError, MailExchange, Record, RecordType
from tlsproxy.senders.spf.domains import is_askable
from tlsproxy.senders.spf.result import BrokenPolicyError

# All of RFC 7208 §4.6.4.
_TERM_LIMIT: Final = 10
_VOID_LIMIT: Final = 2
_EXCHANGE_LIMIT: Final = 10
_CLIENT_NAME_LIMIT: Final = 10


class Questions:
    """Asks on behalf of one check, and counts."""

    def __init__(self, ip: IPv4Address | IPv6Address, lookup: Lookup) -> None:
        self._ip = ip
        self._address_type = RecordType.A if isinstance(ip, IPv4Address) else RecordType.AAAA
        self._lookup = lookup
        self._terms = 0
        self._voids = 0
        self._has_term_been_void = False
        self._client_names: tuple[str, ...] | None = None

    def begin_term(self) -> None:
        """A term that causes look-ups is about to be evaluated.

        Raises:
            BrokenPolicyError: It is one too many.
        """
        self._terms += 1
        self._has_term_been_void = False
        if self._terms > _TERM_LIMIT:
            raise BrokenPolicyError(f"more than {_TERM_LIMIT} terms with look-ups")

    async def texts(self, name: str) -> list[bytes]:
        """The TXT records of a name. For a policy that is missing, being void is the smaller trouble.

        Raises:
            LookupFailedError: They cannot be had now.
        """
        return [record for record in await self._ask(name, RecordType.TXT) if isinstance(record, bytes)]

    async def addresses(self, name: str) -> Sequence[Record]:
        """The addresses of a name, of the client's family.

        Raises:
            LookupFailedError: They cannot be had now.
            BrokenPolicyError: One look-up too many had no answer.
        """
        return self._counted(await self._ask(name, self._address_type))

    async def exists(self, name: str) -> bool:
        """Whether a name has an A record, whatever the client's family (RFC 7208 §5.7).

        Raises:
            LookupFailedError: It cannot be known now.
            BrokenPolicyError: One look-up too many had no answer.
        """
        return bool(self._counted(await self._ask(name, RecordType.A)))

    async def exchanges(self, name: str) -> list[str]:
        """The names of a domain's mail exchanges, the most wanted first; never the domain itself (RFC 7208 §5.4).

        Raises:
            LookupFailedError: They cannot be had now.
            BrokenPolicyError: There are too many, or one look-up too many had no answer.
        """
        records = self._counted(await self._ask(name, RecordType.MX))
        found = [record for record in records if isinstance(record, MailExchange)]
        if len(found) > _EXCHANGE_LIMIT:
            raise BrokenPolicyError(f"more than {_EXCHANGE_LIMIT} mail exchanges")
        return [exchange.name for exchange in sorted(found, key=lambda exchange: exchange.preference)]

    async def client_names(self) -> tuple[str, ...]:
        """The client's names that are confirmed by an address record; asked for once a check (RFC 7208 §5.5).

        Nothing here counts as void: the client's owner would turn a fail into a permerror by having no names.
        """
        if self._client_names is None:
            self._client_names = await self._confirmed()
        return self._client_names

    async def _confirmed(self) -> tuple[str, ...]:
        try:
            records = await self._ask(self._ip.reverse_pointer, RecordType.PTR)
        except LookupFailedError:
            return ()  # RFC 7208 §5.5: then the mechanism does not match
        confirmed = []
        for name in [record for record in records if isinstance(record, str)][:_CLIENT_NAME_LIMIT]:
            try:
                addresses = await self._ask(name, self._address_type)
            except LookupFailedError:
                continue  # RFC 7208 §5.5: the name is skipped
            if self._ip in addresses:
                confirmed.append(name.removesuffix("."))
        return tuple(confirmed)

    async def _ask(self, name: str, record_type: RecordType) -> Sequence[Record]:
        name = name.removesuffix(".")
        # RFC 7208 §4.8 leaves it open what comes of a name that cannot be asked for: here it is one that is not there.
        return await self._lookup(name, record_type) if is_askable(name) else ()

    def _counted(self, records: Sequence[Record]) -> Sequence[Record]:
        # RFC 7208 §4.6.4 counts terms, not look-ups: an mx with many IPv4-only hosts is one for an IPv6 client.
        if not records and not self._has_term_been_void:
            self._has_term_been_void = True
            self._voids += 1
            if self._voids > _VOID_LIMIT:
                raise BrokenPolicyError(f"more than {_VOID_LIMIT} terms ask for what does not exist")
        return records
