"""What every profile would do with a sender, told for a person; must not print."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tlsproxy.core.kinds import Mode, SmtpProfile
from tlsproxy.senders.identity import HelloResult, Iprev
from tlsproxy.senders.judgement import Judgement, judge
from tlsproxy.senders.policy import PolicySettings, settings_for
from tlsproxy.senders.spf.result import SpfResult
from tlsproxy.senders.wording import Facts, clean

_CONFIGURED: Final = "configured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One verdict and what follows from it."""

    subject: str
    """What was checked; ``all together`` in the last row."""
    verdict: str
    """The result by its name; empty in the last row."""
    detail: str
    """What led to it, printable; may be empty."""
    actions: Mapping[str, str]
    """What each profile does, and the configuration if there is one, by their names."""


def explain(
    *,
    iprev: Iprev,
    hello_relaxed: HelloResult,
    hello_exact: HelloResult,
    spf: SpfResult,
    spf_hello: SpfResult | None,
    facts: Facts,
    configured: PolicySettings | None = None,
) -> tuple[Row, ...]:
    """List every verdict, what each profile makes of it alone, and at last of all together.

    Args:
        iprev: What reverse DNS says.
        hello_relaxed: What the HELO name says with ``relaxed``.
        hello_exact: What it says without.
        spf: The result for MAIL FROM.
        spf_hello: The result for the HELO name; None for the null sender, where it is the same.
        facts: What the replies speak of.
        configured: The settings in use, if there are any.

    Returns:
        Rows for reverse DNS, HELO, SPF of either name, and for all together.
    """
    columns = {profile.value: settings_for(profile) for profile in SmtpProfile}
    if configured:
        columns[_CONFIGURED] = configured

    def act(
        iprev: Iprev | None = None,
        spf: SpfResult | None = None,
        spf_hello: SpfResult | None = None,
        *,
        has_hello: bool = False,
    ) -> Mapping[str, str]:
        actions = {}
        for name, settings in columns.items():
            hello = hello_relaxed if settings.is_relaxed else hello_exact
            judged = judge(iprev, hello if has_hello else None, spf, spf_hello, settings=settings, facts=facts)
            actions[name] = _told(judged)
        return actions

    strictness = "" if hello_relaxed is hello_exact else f"{hello_exact} if relaxed is false"
    rows = [
        Row(subject="reverse DNS", verdict=iprev.result, detail=", ".join(iprev.names), actions=act(iprev)),
        Row(subject="HELO", verdict=hello_relaxed, detail=strictness, actions=act(has_hello=True)),
        Row(subject="SPF of MAIL FROM", verdict=spf.verdict, detail=_reason(spf), actions=act(spf=spf)),
    ]
    if spf_hello:
        actions = act(spf_hello=spf_hello)
        rows.append(Row(subject="SPF of HELO", verdict=spf_hello.verdict, detail=_reason(spf_hello), actions=actions))
    together = act(iprev, spf, spf_hello, has_hello=True)
    return (*rows, Row(subject="all together", verdict="", detail="", actions=together))


def _reason(spf: SpfResult) -> str:
    return clean(spf.problem or spf.mechanism)


def _told(judgement: Judgement) -> str:
    """``accept``, a mode, or the reply."""
    if judgement.would:
        return f"{judgement.mode}, would {judgement.would}"
    if judgement.reply:
        code, enhanced, text = judgement.reply
        return f"{judgement.mode}: {code} {enhanced} {text}"
    return "accept" if judgement.mode is Mode.OFF else judgement.mode
