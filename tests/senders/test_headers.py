"""The header fields: their text, and that nothing a client makes up gets out of its place."""

from dataclasses import replace
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.kinds import Mode
from tlsproxy.senders.headers import Identity, Trace, authentication_results, received, received_spf, x_tlsproxy
from tlsproxy.senders.identity import Iprev, IprevResult
from tlsproxy.senders.judgement import Judgement
from tlsproxy.senders.spf.result import SpfResult, SpfVerdict

NOW = 1_700_000_000.0
TRACE = Trace(
    ip=ip_address("192.0.2.7"),
    hello=b"mail.b.example",
    mail_from=b"a@b.example",
    receiver="mx.example",
    ref="7F3A9C",
    is_tls=True,
)
V6 = replace(TRACE, ip=ip_address("2001:db8::7"))
FAIL = SpfResult(domain="b.example", verdict=SpfVerdict.FAIL, mechanism="-all")


def unfolded(field: bytes) -> str:
    assert field.endswith(b"\r\n")
    return field.removesuffix(b"\r\n").replace(b"\r\n ", b" ").decode("ascii")


def test_received_spf() -> None:
    assert received_spf(FAIL, TRACE) == (
        b"Received-SPF: fail (mx.example: domain of a@b.example does not designate\r\n"
        b" 192.0.2.7 as permitted sender) client-ip=192.0.2.7;\r\n"
        b' envelope-from="a@b.example"; helo=mail.b.example; receiver=mx.example;\r\n'
        b" identity=mailfrom; mechanism=-all\r\n"
    )


@pytest.mark.parametrize(
    ("spf", "trace", "identity", "comment", "pairs"),
    [
        (
            SpfResult(domain="b.example", verdict=SpfVerdict.PASS, mechanism="ip6:2001:db8::/32"),
            V6,
            Identity.MAILFROM,
            "domain of a@b.example designates 2001:db8::7 as permitted sender",
            (
                'client-ip="2001:db8::7"; envelope-from="a@b.example"; helo=mail.b.example; receiver=mx.example; '
                'identity=mailfrom; mechanism="ip6:2001:db8::/32"'
            ),
        ),
        (
            SpfResult(domain="b.example", verdict=SpfVerdict.PERMERROR, problem='two "records"\\'),
            replace(TRACE, mail_from=b""),
            Identity.MAILFROM,
            "domain of postmaster@mail.b.example has a broken SPF record",
            (
                'client-ip=192.0.2.7; envelope-from="<>"; helo=mail.b.example; receiver=mx.example; '
                'identity=mailfrom; problem="two \\"records\\"\\\\"'
            ),
        ),
        (
            SpfResult(domain="b.example", verdict=SpfVerdict.NONE),
            TRACE,
            Identity.HELO,
            "domain of postmaster@mail.b.example has no SPF record",
            'client-ip=192.0.2.7; envelope-from="a@b.example"; helo=mail.b.example; receiver=mx.example; identity=helo',
        ),
        (
            SpfResult(domain="b.example", verdict=SpfVerdict.TEMPERROR),
            replace(TRACE, mail_from=b'"a (b) c"@b.example', hello=b"[192.0.2.7]"),
            Identity.MAILFROM,
            'domain of "a??b??c"@b.example cannot be checked now',
            (
                'client-ip=192.0.2.7; envelope-from="\\"a (b) c\\"@b.example"; helo="[192.0.2.7]"; '
                "receiver=mx.example; identity=mailfrom"
            ),
        ),
    ],
)
def test_received_spf_of_every_kind(spf: SpfResult, trace: Trace, identity: Identity, comment: str, pairs: str) -> None:
    field = unfolded(received_spf(spf, trace, identity=identity))
    assert field == f"Received-SPF: {spf.verdict} (mx.example: {comment}) {pairs}"


@pytest.mark.parametrize("verdict", SpfVerdict)
def test_every_verdict_has_a_comment(verdict: SpfVerdict) -> None:
    assert unfolded(received_spf(SpfResult(domain="b.example", verdict=verdict), TRACE)).startswith(
        f"Received-SPF: {verdict} (mx.example: "
    )


JUDGED = Judgement(mode=Mode.TAG, iprev=Iprev(IprevResult.PASS, ("mail.b.example", "x.example")), spf=FAIL)


@pytest.mark.parametrize(
    ("judgement", "trace", "expected"),
    [
        (
            JUDGED,
            TRACE,
            "iprev=pass policy.iprev=192.0.2.7 (mail.b.example); spf=fail smtp.mailfrom=b.example",
        ),
        (
            replace(
                JUDGED,
                iprev=Iprev(IprevResult.PERMERROR),
                spf=None,
                spf_hello=SpfResult(domain="b.example", verdict=SpfVerdict.NONE),
            ),
            V6,
            'iprev=permerror policy.iprev="2001:db8::7"; spf=none smtp.helo=mail.b.example',
        ),
        (replace(JUDGED, spf=None), TRACE, "iprev=pass policy.iprev=192.0.2.7 (mail.b.example)"),
        (replace(JUDGED, iprev=None), replace(TRACE, mail_from=b""), "spf=fail smtp.mailfrom=mail.b.example"),
        (replace(JUDGED, iprev=None), replace(TRACE, mail_from=b'"x@y"@b.example'), "spf=fail smtp.mailfrom=b.example"),
        (Judgement(mode=Mode.OFF), TRACE, "none"),
        (Judgement(mode=Mode.OFF), replace(TRACE, user=b"anna"), "auth=pass smtp.auth=anna"),
        (Judgement(mode=Mode.OFF), replace(TRACE, user=b"anna@b"), 'auth=pass smtp.auth="anna@b"'),
    ],
)
def test_authentication_results(judgement: Judgement, trace: Trace, expected: str) -> None:
    field = unfolded(authentication_results(judgement, trace, discloses_user=True))
    assert field == f"Authentication-Results: mx.example; {expected}"


def test_a_user_is_not_told_unasked() -> None:
    field = authentication_results(Judgement(mode=Mode.OFF), replace(TRACE, user=b"anna"))
    assert field == b"Authentication-Results: mx.example; none\r\n"


@pytest.mark.parametrize(
    ("hello_word", "would", "expected"),
    [
        ("", None, b""),
        ("mismatch", None, b"X-Tlsproxy: helo=mismatch; id=7F3A9C\r\n"),
        ("", Mode.DEFER, b"X-Tlsproxy: would=defer; id=7F3A9C\r\n"),
        ("not_fqdn", Mode.REJECT, b"X-Tlsproxy: helo=not_fqdn; would=reject; id=7F3A9C\r\n"),
    ],
)
def test_x_tlsproxy(hello_word: str, would: Mode | None, expected: bytes) -> None:
    assert x_tlsproxy(Judgement(mode=Mode.TAG, hello_word=hello_word, would=would), TRACE) == expected


@pytest.mark.parametrize(
    ("trace", "name", "expected"),
    [
        (TRACE, "ptr.example", "from mail.b.example (ptr.example [192.0.2.7]) by mx.example (tlsproxy) with ESMTPS"),
        (V6, "", "from mail.b.example (unknown [IPv6:2001:db8::7]) by mx.example (tlsproxy) with ESMTPS"),
        (
            replace(TRACE, is_tls=False, hello=b"[192.0.2.7]"),
            "",
            "from [192.0.2.7] (unknown [192.0.2.7]) by mx.example (tlsproxy) with ESMTP",
        ),
        (
            replace(TRACE, is_esmtp=False, hello=b"a(b)c"),
            "",
            "from a?b?c (unknown [192.0.2.7]) by mx.example (tlsproxy) with SMTP",
        ),
        (replace(TRACE, user=b"anna"), "ptr.example", "by mx.example (tlsproxy) with ESMTPSA"),
    ],
)
def test_received(trace: Trace, name: str, expected: str) -> None:
    field = unfolded(received(trace, name=name, now=NOW))
    assert field == f"Received: {expected} id 7F3A9C; Tue, 14 Nov 2023 22:13:20 +0000"


traces = st.builds(
    Trace,
    ip=st.ip_addresses(),
    hello=st.binary(max_size=400),
    mail_from=st.binary(max_size=400),
    receiver=st.text(max_size=300),
    ref=st.text(max_size=300),
    is_esmtp=st.booleans(),
    is_tls=st.booleans(),
    user=st.binary(max_size=300),
)
spf_results = st.builds(
    SpfResult,
    domain=st.just("b.example"),
    verdict=st.sampled_from(SpfVerdict),
    mechanism=st.text(max_size=300),
    problem=st.text(max_size=300),
)
judgements = st.builds(
    Judgement,
    mode=st.sampled_from(Mode),
    would=st.none() | st.sampled_from(Mode),
    hello_word=st.sampled_from(["", "mismatch"]),
    iprev=st.none() | st.builds(Iprev, st.sampled_from(IprevResult), st.lists(st.text(max_size=300)).map(tuple)),
    spf=st.none() | spf_results,
    spf_hello=st.none() | spf_results,
)


@given(
    trace=traces,
    judgement=judgements,
    spf=spf_results,
    identity=st.sampled_from(Identity),
    name=st.text(max_size=300),
    tells=st.booleans(),
)
def test_no_client_gets_out_of_its_place(
    trace: Trace, judgement: Judgement, spf: SpfResult, identity: Identity, name: str, *, tells: bool
) -> None:
    fields = {
        "Received-SPF": received_spf(spf, trace, identity=identity),
        "Authentication-Results": authentication_results(judgement, trace, discloses_user=tells),
        "X-Tlsproxy": x_tlsproxy(judgement, trace),
        "Received": received(trace, name=name, now=NOW),
    }
    fields = {key: field for key, field in fields.items() if field}
    lines = b"".join(fields.values()).split(b"\r\n")
    assert lines.pop() == b""
    for line in lines:
        assert line.isascii()
        assert line.decode().isprintable()
        assert line.strip()
        assert len(line) <= 998
        # A longer line is one word that cannot be split, alone but for the name of its field.
        assert len(line) <= 78 or b" " not in line[1:].replace(b": ", b":", 1) or b'"' in line
    message = message_from_bytes(b"".join(fields.values()) + b"\r\nbody\r\n", policy=policy.SMTP)
    assert not message.defects
    assert message.keys() == list(fields)
    assert message.get_payload() == "body\r\n"
    for key, field in fields.items():
        assert f"{key}: {message[key]}" == unfolded(field)


def test_no_line_is_longer_than_a_server_must_take() -> None:
    endless = b'"' * 5000
    trace = replace(TRACE, hello=endless, mail_from=endless, user=endless, receiver="x" * 5000, ref='"' * 5000)
    spf = SpfResult(domain="b.example", verdict=SpfVerdict.FAIL, mechanism='"' * 5000, problem='"' * 5000)
    judgement = replace(JUDGED, spf=spf, spf_hello=spf, iprev=Iprev(IprevResult.PASS, ("x" * 5000,)), would=Mode.DEFER)
    fields = received_spf(spf, trace) + authentication_results(judgement, trace, discloses_user=True)
    fields += x_tlsproxy(judgement, trace) + received(trace, name="x" * 5000, now=NOW)
    assert max(map(len, fields.split(b"\r\n"))) <= 998


@given(traces, judgements)
def test_a_field_is_read_as_it_was_meant(trace: Trace, judgement: Judgement) -> None:
    """Outside of quotes and comments nothing but our own keys and bare values stands between the semicolons."""
    field = unfolded(authentication_results(judgement, trace, discloses_user=True))
    results = bare(field).split(";")[1:]
    wanted = [judgement.iprev, judgement.spf, judgement.spf_hello, trace.user]
    assert len(results) == max(1, sum(map(bool, wanted)))
    keys = [word.partition("=")[0] for result in results for word in result.split()]
    assert set(keys) <= {"iprev", "policy.iprev", "spf", "smtp.mailfrom", "smtp.helo", "auth", "smtp.auth", "none"}


def bare(field: str) -> str:
    """The field without comments and with an ``x`` for each quoted string (RFC 5322 §3.2.2, §3.2.4)."""
    kept, is_quoted, depth, position = "", False, 0, 0
    while position < len(field):
        sign = field[position]
        if sign == "\\" and (is_quoted or depth):
            position += 1
        elif sign == '"' and not depth:
            is_quoted = not is_quoted
            kept += "x" * is_quoted
        elif not is_quoted and sign in "()":
            depth += 1 if sign == "(" else -1
            assert depth >= 0
        elif not is_quoted and not depth:
            kept += sign
        position += 1
    assert not is_quoted
    assert not depth
    return kept


@given(spf_results, traces)
def test_received_spf_keeps_its_keys(spf: SpfResult, trace: Trace) -> None:
    field = bare(unfolded(received_spf(spf, trace)))
    head, *pairs = field.split(";")
    keys = [head.split()[-1].partition("=")[0], *(pair.strip().partition("=")[0] for pair in pairs)]
    optional = ["mechanism"] * bool(spf.mechanism) + ["problem"] * bool(spf.problem)
    assert keys == ["client-ip", "envelope-from", "helo", "receiver", "identity", *optional]


@given(st.floats(min_value=0, max_value=4e9))
def test_the_date_is_read_back(now: float) -> None:
    date = unfolded(received(TRACE, name="", now=now)).rpartition(";")[2]
    assert parsedate_to_datetime(date).timestamp() == int(now)
