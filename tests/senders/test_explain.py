"""What a person is told of a sender."""

from ipaddress import ip_address

from tlsproxy.core.kinds import Mode, SmtpProfile
from tlsproxy.senders.explain import Row, explain
from tlsproxy.senders.identity import HelloResult, Iprev, IprevResult
from tlsproxy.senders.policy import Check, settings_for
from tlsproxy.senders.spf.result import SpfResult, SpfVerdict
from tlsproxy.senders.wording import Facts

FACTS = Facts(ip=ip_address("192.0.2.7"), hello=b"mx2.b.example", domain=b"b.example", ref="check")


def rows(**more: object) -> tuple[Row, ...]:
    verdicts: dict[str, object] = {
        "iprev": Iprev(IprevResult.PASS, ("mx1.b.example", "mx1.c.example")),
        "hello_relaxed": HelloResult.MATCH,
        "hello_exact": HelloResult.MISMATCH,
        "spf": SpfResult(domain="b.example", verdict=SpfVerdict.FAIL, mechanism="-all"),
        "spf_hello": None,
        "facts": FACTS,
    }
    return explain(**(verdicts | more))  # type: ignore[arg-type]  # each test overrides what it is about


DENIED = "reject: 550 5.7.23 192.0.2.7 may not send mail for b.example (SPF) (id check)"
MISNAMED = "reject: 550 5.7.1 HELO name mx2.b.example does not belong to 192.0.2.7 (id check)"


def test_every_verdict_and_what_each_profile_does() -> None:
    assert rows() == (
        Row(
            subject="reverse DNS",
            verdict="pass",
            detail="mx1.b.example, mx1.c.example",
            actions={"observe": "accept", "standard": "accept", "strict": "accept"},
        ),
        Row(
            subject="HELO",
            verdict="match",
            detail="mismatch if relaxed is false",
            actions={"observe": "accept", "standard": "accept", "strict": MISNAMED},
        ),
        Row(
            subject="SPF of MAIL FROM",
            verdict="fail",
            detail="-all",
            actions={"observe": "tag", "standard": DENIED, "strict": DENIED},
        ),
        Row(
            subject="all together",
            verdict="",
            detail="",
            actions={"observe": "tag", "standard": DENIED, "strict": MISNAMED},
        ),
    )


def test_the_configuration_is_one_more_column() -> None:
    configured = settings_for(SmtpProfile.STANDARD, {Check.NO_PTR: Mode.DEFER}, is_dry_run=True)
    found = rows(
        iprev=Iprev(IprevResult.PERMERROR),
        hello_exact=HelloResult.MATCH,
        spf=SpfResult(domain="b.example", verdict=SpfVerdict.PERMERROR, problem="two\nrecords"),
        spf_hello=SpfResult(domain="b.example", verdict=SpfVerdict.PASS, mechanism="a"),
        configured=configured,
    )
    assert [(row.subject, row.verdict, row.detail, row.actions["configured"]) for row in found] == [
        ("reverse DNS", "permerror", "", "tag, would defer"),
        ("HELO", "match", "", "accept"),
        ("SPF of MAIL FROM", "permerror", "two?records", "tag"),
        ("SPF of HELO", "pass", "a", "accept"),
        ("all together", "", "", "tag, would defer"),
    ]
