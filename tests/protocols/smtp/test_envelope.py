"""MAIL and RCPT: what is read, what is refused, what the old server is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.syntax import Body, Extension, MailFrom, Notify, Path, RcptTo, Ret, parse_mail, parse_rcpt

ALL = frozenset(Extension)
NONE: frozenset[Extension] = frozenset()
A_AT_B = Path(b"a", b"b")


def test_mail_of_all_parameters() -> None:
    said = parse_mail(b"from:<a@b> size=12 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=x+2By AUTH=<>", ALL)
    expected = MailFrom(A_AT_B, size=12, body=Body.EIGHT_BIT_MIME, is_utf8=True, ret=Ret.HDRS, envid=b"x+2By")
    assert said == expected
    assert expected.encode(ALL, 4096) == (b"MAIL FROM:<a@b> SIZE=4108 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2By\r\n")
    assert expected.encode(NONE, 4096) == b"MAIL FROM:<a@b>\r\n"


def test_mail_without_parameters() -> None:
    for argument in (b"FROM:<a@b>", b"From: <a@b>", b"FROM:a@b", b"FROM:<a@b> AUTH=x@y"):
        assert parse_mail(argument, NONE) == MailFrom(A_AT_B)
    assert MailFrom(A_AT_B).encode(ALL, 1) == b"MAIL FROM:<a@b>\r\n"
    assert parse_mail(b"FROM:<>", NONE) == MailFrom(Path(b"", b""))
    assert MailFrom(Path(b"", b"")).encode(ALL, 1) == b"MAIL FROM:<>\r\n"
    assert parse_mail(b"FROM:<@x:a@b>", NONE) == MailFrom(A_AT_B)


@pytest.mark.parametrize(
    ("argument", "start"),
    [
        (b"", b"501 5.5.4 say MAIL FROM:<address>"),
        (b"<a@b>", b"501 5.5.4 say"),
        (b"TO:<a@b>", b"501 5.5.4 say"),
        (b"FROM:", b"501 5.1.7 "),
        (b"FROM:<a>", b"501 5.1.7 "),
        (b"FROM:<postmaster>", b"501 5.1.7 "),
        (b"FROM:<a@b>SIZE=1", b"501 5.5.4 the"),
        (b"FROM:<a@b> SIZE=1 SIZE=1", b"501 5.5.4 the"),
        (b"FROM:<a@b> SIZE", b"501 5.5.4 the"),
        (b"FROM:<a@b> SIZE=-1", b"501 5.5.4 the"),
        (b"FROM:<a@b> SIZE=" + b"9" * 21, b"501 5.5.4 the"),
        (b"FROM:<a@b> BODY=BINARYMIME", b"501 5.5.4 the"),
        (b"FROM:<a@b> RET=ALL", b"501 5.5.4 the"),
        (b"FROM:<a@b> ENVID=a+b", b"501 5.5.4 the"),
        (b"FROM:<a@b> ENVID=" + b"x" * 101, b"501 5.5.4 the"),
        (b"FROM:<a@b> SMTPUTF8=1", b"501 5.5.4 the"),
        (b"FROM:<a@b> X==1", b"501 5.5.4 the"),
        (b"FROM:<a@b> NOTIFY=NEVER", b"555 5.5.4 "),
        (b"FROM:<a@b> XFOO=1", b"555 5.5.4 "),
        ("FROM:<ä@b>".encode(), b"553 5.6.7 "),
    ],
)
def test_mail_refused(argument: bytes, start: bytes) -> None:
    said = parse_mail(argument, ALL)
    assert isinstance(said, Reply)
    assert said.encode().startswith(start)


@pytest.mark.parametrize("word", [b"SIZE=1", b"BODY=7BIT", b"SMTPUTF8", b"RET=FULL", b"ENVID=x"])
def test_a_parameter_needs_its_extension(word: bytes) -> None:
    assert isinstance(parse_mail(b"FROM:<a@b> " + word, ALL), MailFrom)
    said = parse_mail(b"FROM:<a@b> " + word, NONE)
    assert isinstance(said, Reply)
    assert said.code == 555


def test_an_address_beyond_ascii_needs_smtputf8() -> None:
    assert isinstance(parse_mail("FROM:<ä@b> SMTPUTF8".encode(), ALL), MailFrom)
    assert isinstance(parse_rcpt("TO:<a@ö>".encode(), ALL, is_utf8=True), RcptTo)
    said = parse_rcpt("TO:<a@ö>".encode(), ALL, is_utf8=False)
    assert isinstance(said, Reply)
    assert said.code == 553


def test_rcpt_of_all_parameters() -> None:
    said = parse_rcpt(b"to:<a@b> notify=delay,Success ORCPT=rfc822;a+40b", ALL, is_utf8=False)
    expected = RcptTo(A_AT_B, notify=(Notify.SUCCESS, Notify.DELAY), orcpt=b"rfc822;a+40b")
    assert said == expected
    assert expected.encode(ALL) == b"RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b\r\n"
    assert expected.encode(NONE) == b"RCPT TO:<a@b>\r\n"


def test_rcpt_without_parameters() -> None:
    assert parse_rcpt(b"TO: a@b", NONE, is_utf8=False) == RcptTo(A_AT_B)
    assert RcptTo(A_AT_B).encode(ALL) == b"RCPT TO:<a@b>\r\n"
    assert parse_rcpt(b"TO:<postmaster>", NONE, is_utf8=False) == RcptTo(Path(b"postmaster", b""))
    assert parse_rcpt(b"TO:<@x:a@b>", NONE, is_utf8=False) == RcptTo(A_AT_B, is_routed=True)
    assert parse_rcpt(b"TO:<a@b> NOTIFY=NEVER", ALL, is_utf8=False) == RcptTo(A_AT_B, notify=(Notify.NEVER,))


@pytest.mark.parametrize(
    ("argument", "start"),
    [
        (b"", b"501 5.5.4 say RCPT TO:<address>"),
        (b"FROM:<a@b>", b"501 5.5.4 say"),
        (b"TO:<>", b"501 5.1.3 "),
        (b"TO:<a>", b"501 5.1.3 "),
        (b"TO:<a@b> NOTIFY=NEVER,DELAY", b"501 5.5.4 the"),
        (b"TO:<a@b> NOTIFY=", b"501 5.5.4 the"),
        (b"TO:<a@b> NOTIFY=LATER", b"501 5.5.4 the"),
        (b"TO:<a@b> NOTIFY", b"501 5.5.4 the"),
        (b"TO:<a@b> ORCPT=a@b", b"501 5.5.4 the"),
        (b"TO:<a@b> ORCPT=rfc822;" + b"x" * 500, b"501 5.5.4 the"),
        (b"TO:<a@b> SIZE=1", b"555 5.5.4 "),
    ],
)
def test_rcpt_refused(argument: bytes, start: bytes) -> None:
    said = parse_rcpt(argument, ALL, is_utf8=False)
    assert isinstance(said, Reply)
    assert said.encode().startswith(start)


known_words = (
    *(b"FROM:", b"TO:", b"<a@b>", b'<"a b"@c>', b"<>", b" ", b"\r", b"\n", b"\0", b"SIZE=1", b"BODY=7BIT", b"ENVID=x"),
    *(b"NOTIFY=NEVER", b"ORCPT=rfc822;a@b", b"SMTPUTF8", "é".encode(), b"\xff", b"AUTH=<>"),
)
words = st.lists(st.sampled_from(known_words) | st.binary(max_size=2), max_size=8).map(b"".join)


@given(words)
def test_any_bytes_give_one_line_or_a_refusal(words: bytes) -> None:
    mail = parse_mail(b"FROM:" + words, ALL)
    rcpt = parse_rcpt(b"TO:" + words, ALL, is_utf8=True)
    encoded = [
        mail.encode() if isinstance(mail, Reply) else mail.encode(ALL, 4096),
        rcpt.encode() if isinstance(rcpt, Reply) else rcpt.encode(ALL),
    ]
    for line in encoded:
        assert line.endswith(b"\r\n")
        assert not {b"\r", b"\n", b"\0"} & {line[:-2][index : index + 1] for index in range(len(line) - 2)}
    if isinstance(mail, MailFrom):
        again = parse_mail(mail.encode(ALL, 0)[len("MAIL ") : -2], ALL)
        assert again == mail


def test_an_equals_sign_that_was_not_encoded() -> None:
    mail = parse_mail(b"FROM:<a@b> ENVID=x=y AUTH=prvs=1=a@b", ALL)
    assert isinstance(mail, MailFrom)
    assert mail.encode(ALL, 0) == b"MAIL FROM:<a@b> ENVID=x+3Dy\r\n"
    rcpt = parse_rcpt(b"TO:<prvs=1=a@b> ORCPT=rfc822;prvs=1=a@b", ALL, is_utf8=False)
    assert isinstance(rcpt, RcptTo)
    assert rcpt.encode(ALL) == b"RCPT TO:<prvs=1=a@b> ORCPT=rfc822;prvs+3D1+3Da@b\r\n"
    assert isinstance(parse_mail(b"FROM:<a@b> SIZE=1=2", ALL), Reply)
    assert isinstance(parse_mail(b"FROM:<a@b> BODY=7BIT=", ALL), Reply)
