"""The client's dialogue: what is asked of whom, and what comes of the answers."""

from dataclasses import replace

import pytest

from tlsproxy.core.errors import TlsProxyError
from tlsproxy.core.kinds import SmtpRole
from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.smtp import answers
from tlsproxy.protocols.smtp.conversation import Conversation, DialogueSettings
from tlsproxy.protocols.smtp.reply import reply
from tlsproxy.protocols.smtp.steps import (
    Credentials,
    Data,
    Hangup,
    Hello,
    Mail,
    PasswordExposed,
    Quit,
    Rcpt,
    Reset,
    StartTls,
    Step,
)
from tlsproxy.protocols.smtp.syntax import MailFrom, Path, RcptTo

SETTINGS = DialogueSettings(hostname=b"mx.example", mechanisms=(b"PLAIN", b"LOGIN"), ref=b"(id R7)")
SENDER = Mail(MailFrom(Path(b"a", b"b")))
RECIPIENT = Rcpt(RcptTo(Path(b"c", b"d")))
NO = reply(550, "5.7.1", "no")


def make(role: SmtpRole = SmtpRole.MX, *, is_tls: bool = False, settings: DialogueSettings = SETTINGS) -> Conversation:
    return Conversation(role, settings, is_tls=is_tls)


def step(conversation: Conversation, data: bytes = b"") -> Step | None:
    conversation.feed(data)
    return conversation.next()


def greeted(role: SmtpRole = SmtpRole.MX, *, is_tls: bool = False) -> Conversation:
    conversation = make(role, is_tls=is_tls)
    step(conversation, b"EHLO c.example\r\n")
    conversation.offer([b"PIPELINING", b"SIZE 1000"])
    conversation.take_output()
    return conversation


def envelope(conversation: Conversation) -> tuple[MailFrom | None, int]:
    return conversation.mail, conversation.recipients


def acquaintance(conversation: Conversation) -> tuple[bytes | None, bool]:
    return conversation.hello, conversation.is_esmtp


def at_rest(conversation: Conversation) -> bool:
    return conversation.is_at_rest


def test_greeting() -> None:
    assert make().greeting() == b"220 mx.example ESMTP\r\n"


def test_a_message_from_beginning_to_end() -> None:
    conversation = make()
    assert step(conversation, b"EHLO c.example\r\n") == Hello(b"c.example", is_esmtp=True)
    assert acquaintance(conversation) == (None, False)
    conversation.offer([b"PIPELINING", b"SIZE 1000"])
    assert conversation.take_output() == b"250-mx.example\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
    assert acquaintance(conversation) == (b"c.example", True)
    assert at_rest(conversation)
    assert step(conversation, b"MAIL FROM:<a@b> SIZE=9\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n") == Mail(
        MailFrom(Path(b"a", b"b"), size=9)
    )
    assert conversation.next() is None
    conversation.answer(answers.OK)
    assert envelope(conversation) == (MailFrom(Path(b"a", b"b"), size=9), 0)
    assert not at_rest(conversation)
    assert conversation.next() == RECIPIENT
    conversation.answer(answers.OK)
    assert isinstance(conversation.next(), Rcpt)
    conversation.answer(NO)
    assert conversation.recipients == 1
    assert conversation.next() == Data()
    conversation.answer(answers.GO_AHEAD)
    assert conversation.take_output() == b"250 2.0.0 OK\r\n" * 2 + NO.encode() + answers.GO_AHEAD.encode()
    assert step(conversation, b"Subject: x\r\n\r\n.\r\nQUIT\r\n") is None
    assert conversation.rest() == b"Subject: x\r\n\r\n.\r\nQUIT\r\n"
    conversation.feed(b"QUIT\r\n")
    assert conversation.next() is None
    conversation.data_done(reply(250, "2.0.0", "queued"))
    assert envelope(conversation) == (None, 0)
    assert conversation.next() == Quit()
    conversation.answer(answers.BYE)
    assert conversation.take_output() == b"250 2.0.0 queued\r\n221 2.0.0 goodbye\r\n"
    assert conversation.next() == Hangup(Reason.LOGGED_OUT)
    assert step(conversation, b"NOOP\r\n") is None
    assert conversation.take_output() == b""
    assert len(conversation) == 0


def test_helo_gets_no_extensions() -> None:
    conversation = make()
    assert step(conversation, b"HELO c\r\n") == Hello(b"c", is_esmtp=False)
    conversation.offer([b"SIZE 1000"])
    assert conversation.take_output() == b"250 mx.example\r\n"
    assert acquaintance(conversation) == (b"c", False)
    assert step(conversation, b"MAIL FROM:<a@b> SIZE=9\r\n") is None
    assert conversation.take_output().startswith(b"555 5.5.4 ")


def test_a_refused_hello_leaves_a_stranger() -> None:
    conversation = greeted()
    step(conversation, b"MAIL FROM:<a@b>\r\n")
    conversation.answer(answers.OK)
    assert isinstance(step(conversation, b"EHLO other\r\n"), Hello)
    assert conversation.mail is None
    conversation.answer(NO)
    assert acquaintance(conversation) == (None, False)
    conversation.take_output()
    step(conversation, b"MAIL FROM:<a@b>\r\n")
    assert conversation.take_output() == answers.HELLO_FIRST.encode()


def test_a_refused_mail_begins_nothing() -> None:
    conversation = greeted()
    assert step(conversation, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n") == SENDER
    conversation.answer(NO)
    assert conversation.next() is None
    assert conversation.take_output() == NO.encode() + answers.MAIL_FIRST.encode() * 2
    assert at_rest(conversation)


def test_refused_data_waits_for_commands_again() -> None:
    conversation = greeted()
    for said in (b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n"):
        step(conversation, said)
        conversation.answer(answers.OK)
    assert step(conversation, b"DATA\r\n") == Data()
    conversation.answer(NO)
    assert step(conversation, b"RSET\r\n") == Reset()
    assert conversation.mail is None
    conversation.answer(answers.OK)
    assert at_rest(conversation)


def test_tls_forgets_everything() -> None:
    conversation = greeted()
    step(conversation, b"MAIL FROM:<a@b>\r\n")
    conversation.answer(answers.OK)
    assert step(conversation, b"STARTTLS\r\n") == StartTls()
    conversation.answer(answers.READY_FOR_TLS)
    assert not at_rest(conversation)
    assert conversation.take_output().endswith(b"220 2.0.0 ready to start TLS\r\n")
    assert step(conversation, b"NOOP\r\n") is None
    conversation.tls_started()
    assert conversation.is_tls
    assert acquaintance(conversation) == (None, False)
    assert envelope(conversation) == (None, 0)
    assert len(conversation) == 0
    assert step(conversation, b"STARTTLS\r\n") is None
    assert conversation.take_output() == answers.TLS_ALREADY.encode()


def test_tls_may_not_be_available() -> None:
    conversation = greeted()
    assert step(conversation, b"STARTTLS\r\n") == StartTls()
    conversation.answer(answers.TLS_NOT_AVAILABLE)
    step(conversation, b"NOOP\r\n")
    assert conversation.take_output() == answers.TLS_NOT_AVAILABLE.encode() + answers.OK.encode()


def test_a_login() -> None:
    conversation = greeted(SmtpRole.SUBMISSION, is_tls=True)
    assert step(conversation, b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n") == Credentials("PLAIN", b"bob", b"secret")
    conversation.authenticated(b"bob@b.example")
    conversation.answer(answers.LOGGED_IN)
    assert conversation.user == b"bob@b.example"
    assert step(conversation, b"MAIL FROM:<a@b>\r\n") == SENDER
    conversation.answer(answers.OK)
    conversation.take_output()
    step(conversation, b"AUTH LOGIN\r\n")
    assert conversation.take_output() == answers.LOGGED_IN_ALREADY.encode()


def test_a_report_comes_before_the_next_command_is_heard() -> None:
    settings = replace(SETTINGS, is_strict_sync=False)
    conversation = make(SmtpRole.SUBMISSION, settings=settings)
    exposed = PasswordExposed(user=b"bob", mechanism="PLAIN")
    assert step(conversation, b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\nNOOP\r\n") == exposed
    assert conversation.take_output() == answers.ENCRYPTION_FIRST.encode()
    assert conversation.next() is None
    assert conversation.take_output() == answers.OK.encode()


def test_an_exchange_is_not_at_rest() -> None:
    conversation = greeted(SmtpRole.SUBMISSION, is_tls=True)
    assert step(conversation, b"AUTH LOGIN\r\n") is None
    assert not at_rest(conversation)


@pytest.mark.parametrize("is_asked", [True, False])
def test_only_a_question_can_be_answered(*, is_asked: bool) -> None:
    conversation = greeted()
    if is_asked:
        step(conversation, b"RSET\r\n")
        conversation.answer(answers.OK)
    with pytest.raises(TlsProxyError):
        conversation.answer(answers.OK)


def test_nothing_is_answered_once_the_client_is_gone() -> None:
    conversation = make()
    assert isinstance(step(conversation, b"EHLO a.example\r\n"), Hello)
    conversation.close()
    with pytest.raises(TlsProxyError):
        conversation.answer(answers.OK)


@pytest.mark.parametrize("line", [b"NOOP\r\n", b"VRFY joe\r\n", b"HELP\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n"])
def test_a_client_that_only_keeps_us_busy_is_sent_away(line: bytes) -> None:
    conversation = make(settings=replace(SETTINGS, max_recipients=2, is_strict_sync=False))
    step(conversation, b"EHLO c.example\r\n")
    conversation.offer([])
    assert step(conversation, line * 3) is None
    assert step(conversation, line * 3) == Hangup(Reason.BAD_COMMANDS)
    assert conversation.take_output().count(b"\r\n") == 5


def test_refused_recipients_are_counted_until_a_message_is_taken() -> None:
    conversation = make(settings=replace(SETTINGS, max_recipients=2, is_strict_sync=False))
    step(conversation, b"EHLO c.example\r\n")
    conversation.offer([])
    for _ in range(2):
        for answer in (answers.OK, NO, NO, NO, reply(450, "4.7.1", "later"), answers.OK):
            assert step(conversation, b"MAIL FROM:<a@b>\r\n" if not conversation.mail else b"RCPT TO:<c@d>\r\n")
            conversation.answer(answer)
        assert step(conversation, b"DATA\r\n") == Data()
        conversation.answer(answers.GO_AHEAD)
        conversation.data_done(answers.OK)
    for _ in range(5):
        assert step(conversation, b"RSET\r\n") == Reset()
        conversation.answer(answers.OK)
    assert step(conversation) == Hangup(Reason.BAD_COMMANDS)


def test_a_client_that_introduces_itself_without_end_is_sent_away() -> None:
    conversation = make(settings=replace(SETTINGS, max_recipients=2))
    for _ in range(5):
        assert step(conversation, b"EHLO c.example\r\n") == Hello(b"c.example", is_esmtp=True)
        conversation.offer([])
    assert step(conversation) == Hangup(Reason.BAD_COMMANDS)
