"""What follows from all that is known of a client: the gravest mode of what is wrong; must not look anything up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tlsproxy.core.kinds import Mode
from tlsproxy.senders.identity import HelloResult, Iprev, IprevResult
from tlsproxy.senders.policy import Check, PolicySettings, gravest, is_at_least
from tlsproxy.senders.spf.result import SpfResult, SpfVerdict
from tlsproxy.senders.wording import HELLO_TEMPERROR, WORDINGS, Facts, quote, say

_IPREV_CHECKS: Final[Mapping[IprevResult, Check]] = {
    IprevResult.PERMERROR: Check.NO_PTR,
    IprevResult.FAIL: Check.NOT_CONFIRMED,
    IprevResult.TEMPERROR: Check.IDENTITY_TEMPERROR,
}

_HELLO_CHECKS: Final[Mapping[HelloResult, Check]] = {
    HelloResult.MISMATCH: Check.HELO_MISMATCH,
    HelloResult.IMPERSONATION: Check.IMPERSONATION,
    HelloResult.NOT_FQDN: Check.NOT_FQDN,
    HelloResult.TEMPERROR: Check.IDENTITY_TEMPERROR,
}

_SPF_CHECKS: Final[Mapping[SpfVerdict, Check]] = {
    SpfVerdict.FAIL: Check.SPF_FAIL,
    SpfVerdict.SOFTFAIL: Check.SPF_SOFTFAIL,
    SpfVerdict.PERMERROR: Check.SPF_PERMERROR,
    SpfVerdict.TEMPERROR: Check.SPF_TEMPERROR,
}

_UNNAMED: Final = frozenset({Check.NO_PTR, Check.NOT_CONFIRMED})
# A name that is not fully qualified, or ours, identifies the client no better than a foreign one: if these did not
# count, "EHLO x" would get past what stops "EHLO x.example".
_MISNAMED: Final = frozenset({Check.HELO_MISMATCH, Check.NOT_FQDN, Check.IMPERSONATION})
# What "both" says better. The other two of the misnamed stay, for they say more.
_TOLD_BY_BOTH: Final = _UNNAMED | {Check.HELO_MISMATCH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What becomes of a client's mail, and what headers tell of it."""

    mode: Mode
    """The gravest of what was found; OFF if there is nothing to tell."""
    reply: tuple[int, str, str] | None = None
    """Reply code, enhanced code and text, if it is deferred or rejected."""
    explanation: str = ""
    """A line to be said before the reply, under the same codes; empty for none."""
    would: Mode | None = None
    """What would become of it, were this not a dry run or the recipient not exempt."""
    findings: tuple[str, ...] = ()
    """What is wrong, by the names of the checks, for the log."""
    hello_word: str = ""
    """What is wrong with the HELO name, if headers tell of it."""
    iprev: Iprev | None = None
    """What reverse DNS says, if headers tell of it."""
    spf: SpfResult | None = None
    """The SPF result of MAIL FROM, if headers tell of it."""
    spf_hello: SpfResult | None = None
    """The SPF result of the HELO name, if headers tell of it."""

    def softened(self) -> "Judgement":
        """The same for a recipient who is exempt: nothing worse than a tag."""
        if self.reply is None:
            return self
        return replace(self, mode=Mode.TAG, reply=None, explanation="", would=self.mode)


def judge(
    iprev: Iprev | None,
    hello: HelloResult | None,
    spf: SpfResult | None,
    spf_hello: SpfResult | None,
    *,
    settings: PolicySettings,
    facts: Facts,
) -> Judgement:
    """Weigh what was found out about a client.

    Args:
        iprev: What reverse DNS says; None if it was not checked.
        hello: What the HELO name says; None if it was not checked.
        spf: The result for MAIL FROM, which is postmaster at the HELO name for the null sender; None if not checked.
        spf_hello: The result for the HELO name, if that was checked apart; only its fail counts.
        settings: The mode of every check.
        facts: What a reply speaks of.

    Returns:
        The judgement, softened in a dry run.
    """
    found = _Found(
        iprev=_IPREV_CHECKS.get(iprev.result) if iprev else None,
        hello=_HELLO_CHECKS.get(hello) if hello else None,
        spf=_SPF_CHECKS.get(spf.verdict) if spf else None,
        spf_hello=Check.SPF_HELO if spf_hello and spf_hello.verdict is SpfVerdict.FAIL else None,
    )
    modes = _weigh(found, settings)
    untold = {check for check, mode in modes.items() if not is_at_least(mode, Mode.TAG)}
    judgement = Judgement(
        mode=gravest(*modes.values()),
        findings=tuple(check.value for check in _named(modes) if modes[check] is not Mode.OFF),
        hello_word=hello.value if hello and found.hello and found.hello not in untold else "",
        iprev=None if found.iprev in untold else iprev,
        spf=None if found.spf in untold else spf,
        spf_hello=None if found.spf_hello in untold else spf_hello,
    )
    if not is_at_least(judgement.mode, Mode.DEFER):
        return judgement
    decisive = next(check for check in _named(modes) if modes[check] is judgement.mode)
    # A failed look-up of the HELO name alone goes under the same check as one of reverse DNS, but not under its words.
    is_about_hello = decisive is Check.IDENTITY_TEMPERROR and found.iprev is not decisive
    wording = HELLO_TEMPERROR if is_about_hello else WORDINGS[decisive]
    has_explanation = settings.has_explanation and decisive is Check.SPF_FAIL
    answered = replace(
        judgement,
        reply=(*wording.code(judgement.mode), say(wording, facts, spf.problem if spf else "")),
        explanation=quote(facts, spf.explanation) if spf and has_explanation else "",
    )
    return answered.softened() if settings.is_dry_run else answered


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The check that each result fails; None for a result that is fine or missing."""

    iprev: Check | None
    hello: Check | None
    spf: Check | None
    spf_hello: Check | None

    def __iter__(self) -> Iterator[Check]:
        return (check for check in (self.iprev, self.hello, self.spf, self.spf_hello) if check)


def _weigh(found: _Found, settings: PolicySettings) -> dict[Check, Mode]:
    """The mode of everything that was found.

    "Both" is as grave as the gravest of what it stands for: who rejects for one thing wrong does so for two.
    """
    modes = {check: _mode_of(check, settings) for check in found}
    if found.iprev in _UNNAMED and found.hello in _MISNAMED:
        merged = {Check.BOTH, *_TOLD_BY_BOTH.intersection(found)}
        modes |= dict.fromkeys(merged, gravest(*(settings.modes[check] for check in merged)))
    return modes


def _mode_of(check: Check, settings: PolicySettings) -> Mode:
    mode = settings.modes[check]
    return Mode.DEFER if mode is Mode.REJECT and WORDINGS[check].permanent is None else mode


def _named(modes: Mapping[Check, Mode]) -> list[Check]:
    """What was found in the order in which it is told, without what "both" stands for."""
    hidden = _TOLD_BY_BOTH if Check.BOTH in modes else frozenset()
    return [check for check in Check if check in modes and check not in hidden]
