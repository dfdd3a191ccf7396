"""What becomes of a client: every cell of the profiles with every result, and the exact words."""

from dataclasses import replace
from ipaddress import ip_address
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.kinds import Mode, SmtpProfile
from tlsproxy.senders.identity import HelloResult, Iprev, IprevResult
from tlsproxy.senders.judgement import Judgement, judge
from tlsproxy.senders.policy import PROFILES, Check, PolicySettings, gravest, settings_for
from tlsproxy.senders.spf.result import SpfResult, SpfVerdict
from tlsproxy.senders.wording import Facts

FACTS = Facts(ip=ip_address("192.0.2.7"), hello=b"mail.b.example", domain=b"b.example", ref="7F3A9C")
OBSERVE, STANDARD, STRICT = map(settings_for, SmtpProfile)

IPREV = {
    IprevResult.PERMERROR: "no_ptr",
    IprevResult.FAIL: "not_confirmed",
    IprevResult.TEMPERROR: "identity_temperror",
}
HELLO = {
    HelloResult.MISMATCH: "helo_mismatch",
    HelloResult.IMPERSONATION: "impersonation",
    HelloResult.NOT_FQDN: "not_fqdn",
    HelloResult.TEMPERROR: "identity_temperror",
}
SPF = {
    SpfVerdict.FAIL: "spf_fail",
    SpfVerdict.SOFTFAIL: "spf_softfail",
    SpfVerdict.PERMERROR: "spf_permerror",
    SpfVerdict.TEMPERROR: "spf_temperror",
}


def weigh(
    settings: PolicySettings,
    iprev: IprevResult | None = None,
    hello: HelloResult | None = None,
    spf: SpfResult | SpfVerdict | None = None,
    spf_hello: SpfVerdict | None = None,
    facts: Facts = FACTS,
) -> Judgement:
    return judge(
        Iprev(iprev) if iprev else None,
        hello,
        SpfResult(domain="b.example", verdict=spf) if isinstance(spf, SpfVerdict) else spf,
        SpfResult(domain="b.example", verdict=spf_hello) if spf_hello else None,
        settings=settings,
        facts=facts,
    )


def everything(mode: Mode) -> PolicySettings:
    return settings_for(SmtpProfile.STANDARD, dict.fromkeys(Check, mode))


def expected_checks(iprev: IprevResult, hello: HelloResult, spf: SpfVerdict, spf_hello: SpfVerdict) -> set[str]:
    """Told in another way than the code does it."""
    found = {IPREV.get(iprev), HELLO.get(hello), SPF.get(spf), "spf_helo" if spf_hello is SpfVerdict.FAIL else None}
    is_unnamed = bool(found & {"no_ptr", "not_confirmed"})
    is_misnamed = bool(found & {"helo_mismatch", "not_fqdn", "impersonation"})
    if is_unnamed and is_misnamed:
        found = (found - {"no_ptr", "not_confirmed", "helo_mismatch"}) | {"both"}
    return {name for name in found if name}


@pytest.mark.parametrize("profile", SmtpProfile)
def test_every_cell_with_every_result(profile: SmtpProfile) -> None:
    settings = settings_for(profile)
    for results in product(IprevResult, HelloResult, SpfVerdict, SpfVerdict):
        checks = expected_checks(*results)
        found = weigh(settings, *results)
        assert set(found.findings) == checks
        assert found.mode is gravest(*(PROFILES[profile][Check(name)] for name in checks))
        assert (found.reply is not None) == (found.mode in {Mode.DEFER, Mode.REJECT})
        assert found.would is None


@pytest.mark.parametrize("profile", SmtpProfile)
def test_a_dry_run_only_tags_and_says_what_it_would_do(profile: SmtpProfile) -> None:
    for results in product(IprevResult, HelloResult, SpfVerdict, SpfVerdict):
        meant = weigh(settings_for(profile), *results)
        dry = weigh(settings_for(profile, is_dry_run=True), *results)
        assert dry == meant.softened()
        if meant.reply:
            assert dry == replace(meant, mode=Mode.TAG, reply=None, would=meant.mode)
        else:
            assert dry == meant


@pytest.mark.parametrize(
    ("results", "deferred", "rejected"),
    [
        (
            {"iprev": IprevResult.PERMERROR},
            (450, "4.7.25", "no reverse DNS for 192.0.2.7"),
            (550, "5.7.25", "no reverse DNS for 192.0.2.7"),
        ),
        (
            {"iprev": IprevResult.FAIL},
            (450, "4.7.25", "reverse DNS of 192.0.2.7 is not confirmed by forward DNS"),
            (550, "5.7.25", "reverse DNS of 192.0.2.7 is not confirmed by forward DNS"),
        ),
        (
            {"iprev": IprevResult.TEMPERROR},
            (451, "4.7.25", "reverse DNS of 192.0.2.7 cannot be checked now"),
            (451, "4.7.25", "reverse DNS of 192.0.2.7 cannot be checked now"),
        ),
        (
            {"iprev": IprevResult.TEMPERROR, "hello": HelloResult.TEMPERROR},
            (451, "4.7.25", "reverse DNS of 192.0.2.7 cannot be checked now"),
            (451, "4.7.25", "reverse DNS of 192.0.2.7 cannot be checked now"),
        ),
        (
            {"iprev": IprevResult.PASS, "hello": HelloResult.TEMPERROR},
            (451, "4.7.1", "HELO name mail.b.example cannot be checked now"),
            (451, "4.7.1", "HELO name mail.b.example cannot be checked now"),
        ),
        (
            {"hello": HelloResult.MISMATCH},
            (450, "4.7.1", "HELO name mail.b.example does not belong to 192.0.2.7"),
            (550, "5.7.1", "HELO name mail.b.example does not belong to 192.0.2.7"),
        ),
        (
            {"iprev": IprevResult.PERMERROR, "hello": HelloResult.MISMATCH},
            (450, "4.7.25", "192.0.2.7 is not identified by reverse DNS nor by HELO mail.b.example"),
            (550, "5.7.25", "192.0.2.7 is not identified by reverse DNS nor by HELO mail.b.example"),
        ),
        (
            {"iprev": IprevResult.FAIL, "hello": HelloResult.NOT_FQDN},
            (450, "4.7.25", "192.0.2.7 is not identified by reverse DNS nor by HELO mail.b.example"),
            (550, "5.7.25", "192.0.2.7 is not identified by reverse DNS nor by HELO mail.b.example"),
        ),
        (
            {"iprev": IprevResult.FAIL, "hello": HelloResult.IMPERSONATION},
            (450, "4.7.1", "mail.b.example is this server"),
            (550, "5.7.1", "mail.b.example is this server"),
        ),
        (
            {"hello": HelloResult.NOT_FQDN},
            (450, "4.5.2", "mail.b.example is not a fully qualified name"),
            (504, "5.5.2", "mail.b.example is not a fully qualified name"),
        ),
        (
            {"spf": SpfVerdict.FAIL},
            (450, "4.7.23", "192.0.2.7 may not send mail for b.example (SPF)"),
            (550, "5.7.23", "192.0.2.7 may not send mail for b.example (SPF)"),
        ),
        (
            {"spf": SpfVerdict.SOFTFAIL},
            (450, "4.7.23", "192.0.2.7 may not send mail for b.example (SPF)"),
            (550, "5.7.23", "192.0.2.7 may not send mail for b.example (SPF)"),
        ),
        (
            {"spf": SpfResult(domain="b.example", verdict=SpfVerdict.PERMERROR, problem="two records")},
            (451, "4.7.24", "SPF record of b.example is broken: two records"),
            (550, "5.7.24", "SPF record of b.example is broken: two records"),
        ),
        (
            {"spf": SpfVerdict.TEMPERROR},
            (451, "4.7.24", "SPF of b.example cannot be checked now"),
            (451, "4.7.24", "SPF of b.example cannot be checked now"),
        ),
        (
            {"spf": SpfVerdict.PASS, "spf_hello": SpfVerdict.FAIL},
            (450, "4.7.23", "192.0.2.7 may not send mail for mail.b.example (SPF)"),
            (550, "5.7.23", "192.0.2.7 may not send mail for mail.b.example (SPF)"),
        ),
        (
            {"iprev": IprevResult.PERMERROR, "spf": SpfVerdict.FAIL},
            (450, "4.7.25", "no reverse DNS for 192.0.2.7"),
            (550, "5.7.25", "no reverse DNS for 192.0.2.7"),
        ),
    ],
)
def test_words(results: dict[str, object], deferred: tuple[int, str, str], rejected: tuple[int, str, str]) -> None:
    for mode, (code, enhanced, text) in ((Mode.DEFER, deferred), (Mode.REJECT, rejected)):
        found = weigh(everything(mode), **results)  # type: ignore[arg-type]  # the table's columns are its keywords
        assert found.reply == (code, enhanced, f"{text} (id 7F3A9C)")
        assert found.mode is (Mode.DEFER if code < 500 else Mode.REJECT)


def test_the_null_sender_is_told_by_its_hello() -> None:
    found = weigh(STANDARD, spf=SpfVerdict.FAIL, facts=replace(FACTS, domain=b""))
    assert found.reply == (550, "5.7.23", "192.0.2.7 may not send mail for mail.b.example (SPF) (id 7F3A9C)")


def test_a_graver_one_behind_is_the_reply() -> None:
    found = weigh(STANDARD, iprev=IprevResult.PERMERROR, spf=SpfVerdict.FAIL)
    assert found.findings == ("no_ptr", "spf_fail")
    assert found.reply
    assert found.reply[1] == "5.7.23"


def test_two_wrongs_are_never_less_than_one() -> None:
    settings = settings_for(SmtpProfile.STRICT, {Check.BOTH: Mode.OFF})
    found = weigh(settings, IprevResult.PERMERROR, HelloResult.MISMATCH)
    assert found.mode is Mode.REJECT
    assert found.findings == ("both",)


def test_only_fail_counts_of_a_hello_name() -> None:
    for verdict in set(SpfVerdict) - {SpfVerdict.FAIL}:
        assert weigh(everything(Mode.REJECT), spf_hello=verdict).mode is Mode.OFF


WRONG = (IprevResult.FAIL, HelloResult.MISMATCH, SpfVerdict.FAIL, SpfVerdict.FAIL)


@pytest.mark.parametrize(
    ("mode", "findings", "is_told"),
    [
        (Mode.OFF, (), False),
        (Mode.LOG, ("both", "spf_fail", "spf_helo"), False),
        (Mode.TAG, ("both", "spf_fail", "spf_helo"), True),
        (Mode.REJECT, ("both", "spf_fail", "spf_helo"), True),
    ],
)
def test_what_is_logged_and_what_headers_tell(mode: Mode, findings: tuple[str, ...], *, is_told: bool) -> None:
    found = weigh(everything(mode), *WRONG)
    assert found.mode is mode
    assert found.findings == findings
    assert found.hello_word == ("mismatch" if is_told else "")
    assert [bool(found.iprev), bool(found.spf), bool(found.spf_hello)] == [is_told] * 3


def test_what_is_fine_is_told_whatever_the_modes() -> None:
    found = weigh(everything(Mode.OFF), IprevResult.PASS, HelloResult.MATCH, SpfVerdict.PASS, SpfVerdict.NONE)
    assert found.hello_word == ""
    assert found.iprev == Iprev(IprevResult.PASS)
    assert found.spf == SpfResult(domain="b.example", verdict=SpfVerdict.PASS)
    assert found.spf_hello == SpfResult(domain="b.example", verdict=SpfVerdict.NONE)


def test_nothing_checked_is_nothing_said() -> None:
    assert weigh(STRICT) == Judgement(mode=Mode.OFF)


def test_an_explanation_is_the_domains_and_short() -> None:
    denied = SpfResult(domain="b.example", verdict=SpfVerdict.FAIL, explanation="go away\r\nQUIT é" + "x" * 300)
    assert weigh(STANDARD, spf=denied).explanation == ""
    settings = settings_for(SmtpProfile.STANDARD, has_explanation=True)
    told = weigh(settings, spf=denied).explanation
    assert told.startswith("b.example says: go away??QUIT ?xxx")
    assert len(told) == len("b.example says: ") + 200
    assert weigh(settings, spf=SpfVerdict.FAIL).explanation == ""
    assert weigh(settings, IprevResult.FAIL, HelloResult.MISMATCH, denied).explanation == ""
    assert weigh(replace(settings, is_dry_run=True), spf=denied).explanation == ""


def test_braces_of_a_client_are_no_template() -> None:
    found = weigh(STANDARD, spf=SpfVerdict.FAIL, facts=replace(FACTS, domain=b"{ref}{0}.example"))
    assert found.reply
    assert found.reply[2] == "192.0.2.7 may not send mail for {ref}{0}.example (SPF) (id 7F3A9C)"


@given(st.binary(max_size=400), st.binary(max_size=400), st.text(max_size=400), st.sampled_from(SpfVerdict))
def test_no_client_ends_a_line_of_a_reply(hello: bytes, domain: bytes, text: str, verdict: SpfVerdict) -> None:
    settings = replace(everything(Mode.REJECT), has_explanation=True)
    facts = replace(FACTS, hello=hello, domain=domain)
    spf = SpfResult(domain="b.example", verdict=verdict, explanation=text, problem=text)
    for iprev, word in product(IprevResult, HelloResult):
        found = weigh(settings, iprev, word, spf, verdict, facts)
        if found.reply:
            said = found.reply[2] + found.explanation
            assert said.isascii()
            assert said.isprintable()
            assert len(found.reply[2]) < 480
            assert len(found.explanation) < 480
