"""The client's dialogue: what holds for any bytes, in any split, whatever the runner answers."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from hypothesis import example, given
from hypothesis import strategies as st

from tlsproxy.core.kinds import SmtpRole
from tlsproxy.protocols.smtp import answers
from tlsproxy.protocols.smtp.conversation import Conversation, DialogueSettings
from tlsproxy.protocols.smtp.reply import Reply, ReplyReader, reply
from tlsproxy.protocols.smtp.steps import (
    Credentials,
    Data,
    Hangup,
    Hello,
    Injection,
    Mail,
    PasswordExposed,
    Rcpt,
    StartTls,
    Step,
)
from tlsproxy.protocols.smtp.syntax import Extension

LIMITS = DialogueSettings(
    hostname=b"mx.example",
    line_bytes=64,
    sasl_line_bytes=96,
    max_recipients=2,
    max_errors=5,
    mechanisms=(b"PLAIN", b"LOGIN"),
    is_strict_sync=False,
)
STRICT = replace(LIMITS, is_strict_sync=True)
SECRET = b"TOPSECRET"
PLAIN = b"AUTH PLAIN AGJvYgBUT1BTRUNSRVQ=\r\n"
BASE64 = b"VE9QU0VDUkVU"
OFFER = (b"PIPELINING", b"SIZE 1000", b"8BITMIME", b"SMTPUTF8", b"DSN")

lines = st.sampled_from(
    [
        *(b"EHLO c.example\r\n", b"HELO c\r\n", b"EHLO\r\n", b"NOOP\r\n", b"RSET\r\n", b"QUIT\r\n", b"VRFY a\r\n"),
        *(b"MAIL FROM:<a@b>\r\n", b"MAIL FROM:<> SIZE=1\r\n", b"MAIL FROM:\r\n", b'MAIL FROM:<"a b"@c> SMTPUTF8\r\n'),
        *(
            b"RCPT TO:<c@d>\r\n",
            b"RCPT TO:<c%e@d> NOTIFY=NEVER\r\n",
            b"DATA\r\n",
            b".\r\n",
            b"\r\n.\r\n",
            b"BDAT 1\r\n",
        ),
        *(
            PLAIN,
            b"AUTH LOGIN\r\n",
            b"AUTH LOGIN Ym9i\r\n",
            BASE64 + b"\r\n",
            b"*\r\n",
            b"AUTH X\r\n",
            b"AUTH PLAIN\r\n",
        ),
        *(b"NOOP\n", b"NOOP\rNOOP\r\n", b"x" * 70, b"AUTH PLAIN " + b"x" * 90, b"GET / HTTP/1.0\r\n", b"\x16\x03\x01"),
    ]
)
pieces = st.lists(lines | st.binary(max_size=4), max_size=16)
roles = st.sampled_from(SmtpRole)
choices = st.lists(st.sampled_from([True, True, True, False]), min_size=40, max_size=40)
starttls = st.just(b"STARTTLS\r\n")


class Runner:
    """Answers by a list of yes and no, and takes a message's content for itself."""

    def __init__(self, conversation: Conversation, choices: list[bool]) -> None:
        self.conversation = conversation
        self._choices = iter(choices)
        self._is_content = False
        self._content = b""
        self.said = b""

    def feed(self, data: bytes) -> list[Step]:
        self.conversation.feed(data)
        steps: list[Step] = []
        while self._content_is_over() and (step := self.conversation.next()) is not None:
            steps.append(step)
            if not isinstance(step, Hangup | Injection | PasswordExposed):
                assert self.conversation.next() is None
                self._answer(step)
            self.said += self.conversation.take_output()
        self.said += self.conversation.take_output()
        return steps

    def _content_is_over(self) -> bool:
        if self._is_content:
            self._content += self.conversation.rest()
            _, end, behind = (b"\r\n" + self._content).partition(b"\r\n.\r\n")
            if not end:
                return False
            self.conversation.feed(behind)
            self.conversation.data_done(answers.OK)
            self._is_content, self._content = False, b""
        return True

    def _answer(self, step: Step) -> None:
        is_yes = next(self._choices, False)
        match step:
            case Hello() if is_yes:
                self.conversation.offer(OFFER)
            case StartTls() if is_yes:
                self.conversation.answer(answers.READY_FOR_TLS)
                self.said += self.conversation.take_output()
                self.conversation.tls_started()
            case Credentials():
                if is_yes:
                    self.conversation.authenticated(step.user)
                self.conversation.answer(answers.LOGGED_IN if is_yes else answers.WRONG_PASSWORD)
            case Data():
                self.conversation.answer(answers.GO_AHEAD if is_yes else answers.BACKEND_LOST)
                self._is_content = is_yes
            case _:
                self.conversation.answer(answers.OK if is_yes else reply(550, "5.7.1", "no"))


def bytewise(data: bytes) -> Iterator[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


@given(said=pieces, role=roles, choices=choices, is_tls=st.booleans())
def test_any_split_gives_the_same(said: list[bytes], role: SmtpRole, choices: list[bool], *, is_tls: bool) -> None:
    whole = Runner(Conversation(role, LIMITS, is_tls=is_tls), choices)
    split = Runner(Conversation(role, LIMITS, is_tls=is_tls), choices)
    expected = whole.feed(b"".join(said))
    assert [step for byte in bytewise(b"".join(said)) for step in split.feed(byte)] == expected
    assert split.said == whole.said


@given(said=st.lists(lines | starttls | st.binary(max_size=80), max_size=16), role=roles, choices=choices)
def test_any_bytes_give_whole_answers_and_no_more_is_kept_than_the_limit(
    said: list[bytes], role: SmtpRole, choices: list[bool]
) -> None:
    runner = Runner(Conversation(role, STRICT, is_tls=False), choices)
    is_over = False
    for piece in said:
        before = runner.said
        steps = runner.feed(piece)
        if is_over:
            assert (steps, runner.said) == ([], before)
        is_over = is_over or any(isinstance(step, Hangup) for step in steps)
        assert is_over or len(runner.conversation) < STRICT.sasl_line_bytes
    reader = ReplyReader()
    reader.feed(runner.said)
    while isinstance(said_reply := reader.take(), Reply):
        assert all(len(line) < 512 for line in said_reply.lines)
    assert said_reply is None
    assert len(reader) == 0


@example(before=[b"EHLO c\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n"], after=[b"DATA\r\n"], choices=[True] * 40)
@example(before=[b"FOO\r\n"] * 5, after=[b"FOO\r\n"] * 5, choices=[True] * 40)
@example(before=[b"x" * 70], after=[b"NOOP\r\n"], choices=[True] * 40)
@given(before=pieces, after=pieces, choices=choices)
def test_nothing_before_starttls_influences_anything_after(
    before: list[bytes], after: list[bytes], choices: list[bool]
) -> None:
    old = Conversation(SmtpRole.SUBMISSION, LIMITS, is_tls=False)
    earlier = Runner(old, choices)
    for piece in before:
        earlier.feed(piece)
    old.feed(b"EHLO half a li")
    old.tls_started()
    one = Runner(old, choices)
    other = Runner(Conversation(SmtpRole.SUBMISSION, LIMITS, is_tls=True), choices)
    for piece in after:
        assert one.feed(piece) == other.feed(piece)
    assert one.said == other.said


@given(said=pieces, behind=st.binary(min_size=1, max_size=20), role=roles)
def test_whatever_stands_behind_starttls_ends_it(said: list[bytes], behind: bytes, role: SmtpRole) -> None:
    conversation = Conversation(role, LIMITS, is_tls=False)
    runner = Runner(conversation, [True] * 99)
    if any(isinstance(step, Hangup) for piece in said for step in runner.feed(piece)) or runner._is_content:
        return
    if len(conversation) or any(piece.startswith((b"AUTH", b"x")) for piece in said):
        return  # within a line or an exchange
    steps = runner.feed(b"STARTTLS\r\n" + behind)
    assert isinstance(steps[0], Injection)
    assert isinstance(steps[1], Hangup)
    assert runner.feed(b"NOOP\r\n") == []


@given(said=pieces, choices=choices)
def test_what_is_forwarded_is_one_line_without_control_characters(said: list[bytes], choices: list[bool]) -> None:
    runner = Runner(Conversation(SmtpRole.MX, LIMITS, is_tls=False), choices)
    every = frozenset(Extension)
    for step in runner.feed(b"EHLO c\r\n" + b"".join(said)):
        if isinstance(step, Mail | Rcpt):
            line = step.sender.encode(every, 1) if isinstance(step, Mail) else step.recipient.encode(every)
            assert line.endswith(b"\r\n")
            assert min(line[:-2]) >= 0x20


def bytes_within(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes | bytearray):
        yield bytes(value)
    if isinstance(value, partial):
        yield from bytes_within(value.args)
    if isinstance(value, tuple | list | deque):
        for item in value:
            yield from bytes_within(item)
    for slot in getattr(type(value), "__slots__", ()):
        yield from bytes_within(getattr(value, slot))


@example(said=[b"EHLO c\r\n", PLAIN], choices=[True] * 40)
@example(said=[b"EHLO c\r\n", PLAIN, b"NOOP\r\n"], choices=[True, False] * 20)
@example(said=[b"EHLO c\r\n", b"AUTH LOGIN Ym9i\r\n", BASE64 + b"\r\n"], choices=[True] * 40)
@given(said=pieces, choices=choices)
def test_no_password_is_shown_or_outlives_its_line(said: list[bytes], choices: list[bool]) -> None:
    runner = Runner(Conversation(SmtpRole.SUBMISSION, LIMITS, is_tls=True), choices)
    for piece in said:
        for step in runner.feed(piece):
            assert "TOPSECRET" not in repr(step).replace("user=b'TOPSECRET'", "")
        assert SECRET not in runner.said
        if len(runner.conversation) == 0 and BASE64 + b"\r\n" not in said:
            assert not any(SECRET in kept or BASE64 in kept for kept in bytes_within(runner.conversation))


@given(said=st.lists(lines, min_size=20, max_size=60))
def test_bad_commands_and_failed_logins_are_bounded(said: list[bytes]) -> None:
    runner = Runner(Conversation(SmtpRole.SUBMISSION, LIMITS, is_tls=True), [True] * 5)
    steps = [step for piece in said for step in runner.feed(piece)]
    assert sum(isinstance(step, Credentials) for step in steps) <= 5 + LIMITS.max_auth_failures
    bad = sum(runner.said.count(code) for code in (b"\r\n500 ", b"\r\n501 ", b"\r\n502 ", b"\r\n504 "))
    assert bad <= LIMITS.max_errors
