"""``check_host`` (RFC 7208 §4): a client against a domain's policy, in a bounded number of look-ups.

It must not know how the DNS is asked, nor how long that takes: deadlines belong to the caller.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, assert_never

from tlsproxy.core.text import printable
from tlsproxy.senders.names import Lookup, LookupFailedError
from tlsproxy.senders.spf.domains import NAME_LIMIT, fit, is_domain, is_within
from tlsproxy.senders.spf.macros import MacroText, expand, has_letter, macro_values, parse_macros
from tlsproxy.senders.spf.questions import Questions
from tlsproxy.senders.spf.record import find_policy
from tlsproxy.senders.spf.result import BrokenPolicyError, SpfResult, SpfVerdict
from tlsproxy.senders.spf.terms import All, Exists, Hosts, Include, Mechanism, Network, Ptr

# RFC 7208 §7.3, what %{p} says where no name is confirmed.
_NO_NAME: Final = "unknown"
# RFC 5321 §4.5.3.1.5: a reply line has no more; what cannot be shown need not be built.
_EXPLANATION_LIMIT: Final = 512


async def check_host(
    ip: IPv4Address | IPv6Address,
    domain: str,
    sender: str,
    helo: str,
    lookup: Lookup,
    *,
    receiver: str,
    now: float,
) -> SpfResult:
    """Whether the client may send for the domain.

    Args:
        ip: The client's address.
        domain: The domain of MAIL FROM, or the name from HELO for a null reverse-path (RFC 7208 §2.4), in A-labels.
        sender: The address of MAIL FROM; where the local part is missing, or all of it, ``postmaster`` stands in.
        helo: The name from EHLO or HELO, whatever it is.
        lookup: Answers from the DNS. At most 11 policies are asked for, 10 terms of at most 11 look-ups each, 11 for
            the client's names, and one for the explanation.
        receiver: Our own name, for explanations; empty if it shall not be told.
        now: Seconds since 1970, for explanations.

    Returns:
        The verdict. Nothing is raised, whatever the DNS holds; only a fault of ``lookup`` itself comes through.
    """
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    domain = domain.removesuffix(".")
    if not is_domain(domain):  # RFC 7208 §4.3
        return SpfResult(verdict=SpfVerdict.NONE, domain=domain)
    local, _, sender_domain = sender.rpartition("@")
    client = _Client(
        ip=mapped or ip,  # RFC 7208 §5: such a client is an IPv4 client
        sender=f"{local or 'postmaster'}@{sender_domain or domain}",  # RFC 7208 §4.3
        helo=helo,
        receiver=receiver,
        now=now,
    )
    check = _Check(client, Questions(client.ip, lookup))
    try:
        finding = await check.judge(domain)
    except BrokenPolicyError as error:
        return SpfResult(verdict=SpfVerdict.PERMERROR, domain=domain, problem=_plain(error))
    except LookupFailedError as error:
        return SpfResult(verdict=SpfVerdict.TEMPERROR, domain=domain, problem=_plain(error))
    explanation = await check.explain(finding) if finding.verdict is SpfVerdict.FAIL else ""
    return SpfResult(verdict=finding.verdict, domain=domain, mechanism=finding.mechanism, explanation=explanation)


def _plain(error: Exception) -> str:
    return printable(str(error).encode("ascii", "backslashreplace").decode("ascii"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Client:
    """What does not change during a check."""

    ip: IPv4Address | IPv6Address
    sender: str
    helo: str
    receiver: str
    now: float


@dataclass(frozen=True, slots=True)
class _Finding:
    verdict: SpfVerdict
    domain: str
    """The domain whose policy decided; another than was asked about after a redirect."""
    mechanism: str = ""
    explanation: MacroText | None = None


class _Check:
    def __init__(self, client: _Client, questions: Questions) -> None:
        self._client = client
        self._questions = questions

    async def judge(self, domain: str) -> _Finding:
        """Evaluate a domain's policy; as deep as terms are allowed, so 10 includes at most.

        Raises:
            BrokenPolicyError: The verdict is permerror.
            LookupFailedError: The verdict is temperror.
        """
        policy = find_policy(await self._questions.texts(domain))
        if policy is None:
            return _Finding(SpfVerdict.NONE, domain)  # RFC 7208 §4.5
        for directive in policy.directives:
            if await self._matches(directive.mechanism, domain):  # RFC 7208 §4.6.2: the first one decides
                return _Finding(directive.verdict, domain, directive.text, policy.explanation)
        if policy.redirect is None:
            return _Finding(SpfVerdict.NEUTRAL, domain)  # RFC 7208 §4.7
        self._questions.begin_term()
        return await self._judge_other(await self._target(policy.redirect, domain))

    async def explain(self, finding: _Finding) -> str:
        """What the owner of the domain says of a fail; empty at any trouble with it (RFC 7208 §6.2)."""
        if finding.explanation is None:
            return ""
        try:
            texts = await self._questions.texts(await self._target(finding.explanation, finding.domain))
            if len(texts) != 1:
                return ""
            text = parse_macros(texts[0].decode("ascii"), is_explanation=True)
        except (BrokenPolicyError, LookupFailedError, UnicodeDecodeError):
            return ""
        said = await self._expand(text, finding.domain, _EXPLANATION_LIMIT)
        is_usable = said.isascii() and said.isprintable() and len(said) <= _EXPLANATION_LIMIT
        return said if is_usable else ""

    async def _judge_other(self, domain: str) -> _Finding:
        finding = await self.judge(domain)
        if finding.verdict is SpfVerdict.NONE:
            # RFC 7208 §5.2 and §6.1: whom one refers to must have a policy.
            raise BrokenPolicyError(f"{domain} has no policy")
        return finding

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        match mechanism:
            case All():
                return True
            case Network(network):
                return self._client.ip in network
            case _:
                self._questions.begin_term()
                return await self._matches_by_lookup(mechanism, domain)

    async def _matches_by_lookup(self, mechanism: Include | Hosts | Ptr | Exists, domain: str) -> bool:
        target = domain if mechanism.target is None else await self._target(mechanism.target, domain)
        match mechanism:
            case Include():
                return (await self._judge_other(target)).verdict is SpfVerdict.PASS  # RFC 7208 §5.2
            case Hosts():
                return await self._is_host(mechanism, target)
            case Ptr():
                return any(is_within(name, target) for name in await self._questions.client_names())
            case Exists():
                return await self._questions.exists(target)
            case _:
                assert_never(mechanism)

    async def _is_host(self, hosts: Hosts, target: str) -> bool:
        ip = self._client.ip
        prefix = hosts.ip4_prefix if isinstance(ip, IPv4Address) else hosts.ip6_prefix
        for name in await self._questions.exchanges(target) if hosts.is_mx else [target]:
            for address in await self._questions.addresses(name):
                # The family is that of the question; what another look-up function may mix in is passed over.
                if isinstance(address, type(ip)) and (int(address) ^ int(ip)) >> (ip.max_prefixlen - prefix) == 0:
                    return True
        return False

    async def _target(self, text: MacroText, domain: str) -> str:
        return fit(await self._expand(text, domain, NAME_LIMIT + 1))

    async def _expand(self, text: MacroText, domain: str, enough: int) -> str:
        client = self._client
        values = macro_values(
            ip=client.ip,
            domain=domain,
            sender=client.sender,
            helo=client.helo,
            receiver=client.receiver,
            now=client.now,
            ptr_name=await self._ptr_name(domain) if has_letter(text, "p") else _NO_NAME,
        )
        return expand(text, values, enough)

    async def _ptr_name(self, domain: str) -> str:
        """What ``%{p}`` stands for: the domain itself before a name below it, that before any (RFC 7208 §7.3)."""
        names = await self._questions.client_names()
        ranked = [
            *(name for name in names if name.lower() == domain.lower()),
            *(name for name in names if is_within(name, domain)),
            *names,
        ]
        return ranked[0] if ranked else _NO_NAME
