"""The client's side of an SMTP dialogue; answers by itself whatever needs no knowledge from outside.

It does not know senders, recipients, passwords or the backend: whoever does takes its steps one by one with ``next`` and
answers them. The content of a message passes by it.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Final

from tlsproxy.core.errors import TlsProxyError
from tlsproxy.core.kinds import SmtpRole
from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.replies import refusal, smtp_parting
from tlsproxy.protocols.smtp import answers
from tlsproxy.protocols.smtp.auth import AuthExchange, Challenge, auth_argument, exposure
from tlsproxy.protocols.smtp.capabilities import extensions_of
from tlsproxy.protocols.smtp.lines import CommandReader, LineFault
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.standing import DialogueSettings, Standing
from tlsproxy.protocols.smtp.steps import (
    Credentials,
    Data,
    Hangup,
    Hello,
    Injection,
    Mail,
    Question,
    Quit,
    Rcpt,
    Reset,
    StartTls,
    Step,
)
from tlsproxy.protocols.smtp.syntax import (
    Command,
    MailFrom,
    is_foreign,
    parse_command,
    parse_hello,
    parse_mail,
    parse_rcpt,
)

_FAULTS: Final = MappingProxyType(
    {
        LineFault.TOO_LONG: answers.LINE_TOO_LONG,
        LineFault.SASL_TOO_LONG: answers.RESPONSE_TOO_LONG,
        LineFault.BARE_NEWLINE: answers.BARE_NEWLINE,
    }
)


_ALWAYS_THE_SAME: Final = MappingProxyType({b"NOOP": answers.OK, b"VRFY": answers.NOT_VERIFIED, b"HELP": answers.HELP})
# Known, and not for strangers: XCLIENT and XFORWARD say who a client is, BDAT has no offer of CHUNKING behind it.
_NOT_IMPLEMENTED: Final = frozenset(b"BDAT ETRN EXPN XCLIENT XFORWARD".split())


class _Mode(Enum):
    COMMANDS = auto()
    EXCHANGE = auto()  # between AUTH and its outcome
    ASKED = auto()  # a step waits for its answer
    HANDSHAKE = auto()
    CONTENT = auto()
    OVER = auto()


class Conversation:
    """One client, from our greeting to its end."""

    def __init__(self, role: SmtpRole, settings: DialogueSettings, *, is_tls: bool) -> None:
        """Begin before the greeting.

        Args:
            role: Whom the listener is for.
            settings: What the listener asks of its clients.
            is_tls: Whether TLS stands already.
        """
        self._role = role
        self._settings = settings
        self._begin(is_tls=is_tls)

    def _begin(self, *, is_tls: bool) -> None:
        self._standing = Standing(self._role, self._settings, is_tls)
        self._reader = CommandReader(self._settings.line_bytes, self._settings.sasl_line_bytes)
        self._output = bytearray()
        self._steps: deque[Step] = deque()
        self._mode = _Mode.COMMANDS
        self._then: Callable[[Reply], None] = _nothing_was_asked
        self._exchange = AuthExchange(())
        self._errors = 0
        self._auth_failures = 0

    def __len__(self) -> int:
        """How many bytes of the client wait; the caller stops reading when they are many."""
        return len(self._reader)

    @property
    def hello(self) -> bytes | None:
        """The name that was accepted with EHLO or HELO; None if there is none."""
        return self._standing.hello

    @property
    def is_esmtp(self) -> bool:
        """Whether it was EHLO."""
        return self._standing.is_esmtp

    @property
    def is_tls(self) -> bool:
        """Whether TLS stands."""
        return self._standing.is_tls

    @property
    def user(self) -> bytes | None:
        """Who has logged in; None if nobody has."""
        return self._standing.user

    @property
    def mail(self) -> MailFrom | None:
        """The sender of the transaction; None if there is no transaction."""
        return self._standing.mail

    @property
    def recipients(self) -> int:
        """How many recipients of the transaction were accepted."""
        return self._standing.recipients

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way: the client can be told goodbye, and nothing is lost."""
        return self._mode is _Mode.COMMANDS and not self._standing.mail and not self._steps

    def greeting(self) -> bytes:
        """The first line (RFC 5321 §4.3.1)."""
        return Reply(220, (self._settings.hostname + b" ESMTP",)).encode()

    def feed(self, data: bytes) -> None:
        """Take bytes from the client, in any split; bounded by the caller while a step waits for its answer."""
        if self._mode is not _Mode.OVER:
            self._reader.feed(data)

    def next(self) -> Step | None:
        """The next thing to be done; None if more bytes are needed, or an answer, or if it is over."""
        while not self._steps and self._mode in {_Mode.COMMANDS, _Mode.EXCHANGE}:
            line = self._reader.take(is_sasl=self._mode is _Mode.EXCHANGE)
            if line is None:
                break
            self._hear(line)
        return self._steps.popleft() if self._steps else None

    def offer(self, lines: Sequence[bytes]) -> None:
        """Answer a Hello with yes.

        Args:
            lines: What a client is offered, as ``SIZE 1000``; not said to one that came with HELO.
        """
        self.answer(Reply(250, (self._settings.hostname, *lines)))

    def answer(self, reply: Reply) -> None:
        """Answer the last step, which must be a question."""
        then, self._then = self._then, _nothing_was_asked
        self._mode = _Mode.COMMANDS
        then(reply)

    def authenticated(self, user: bytes) -> None:
        """The client has logged in; said together with the answer to the credentials."""
        self._standing.user = user

    def rest(self) -> bytes:
        """Take all unread bytes, as behind DATA the first ones of the content."""
        return self._reader.rest()

    def data_done(self, reply: Reply) -> None:
        """Answer the end of the content; what stood behind it was fed before, and the transaction is over."""
        self._standing.reset()
        self._say(reply)
        self._mode = _Mode.COMMANDS

    def tls_started(self) -> None:
        """Forget everything (RFC 3207 §4.2): the client may not be the one that spoke before."""
        self._begin(is_tls=True)

    def take_output(self) -> bytes:
        """Take what is to be sent now."""
        taken = bytes(self._output)
        self._output.clear()
        return taken

    def _hear(self, line: bytes | LineFault) -> None:
        if isinstance(line, LineFault):
            self._mode = _Mode.COMMANDS
            self._refuse(_FAULTS[line])
        elif self._mode is _Mode.EXCHANGE:
            self._hear_response(line)
        elif is_foreign(line):
            self._hang_up(Reason.NOT_MAIL)
        else:
            self._hear_command(parse_command(line) or Command(b"", b""))

    def _hear_command(self, said: Command) -> None:
        if len(self._reader) and said.verb == b"STARTTLS" and not self._standing.is_tls:
            self._steps.append(Injection())
            self._hang_up(Reason.STARTTLS_INJECTION)
        elif self._is_early(said.verb):
            self._hang_up(Reason.NOT_SYNCHRONIZED)
        elif said.verb in _ALWAYS_THE_SAME:
            self._say(_ALWAYS_THE_SAME[said.verb])
        elif said.verb in self._COMMANDS:
            self._COMMANDS[said.verb](self, said.argument)
        else:
            self._refuse(answers.NOT_IMPLEMENTED if said.verb in _NOT_IMPLEMENTED else answers.UNKNOWN_COMMAND)

    def _is_early(self, verb: bytes) -> bool:
        """Whether the client went on where it had to wait."""
        is_followed = self._settings.is_strict_sync and len(self._reader) > 0
        return is_followed and not self._standing.may_be_followed(verb)

    def _helo(self, argument: bytes) -> None:
        self._greeted(argument, is_esmtp=False)

    def _ehlo(self, argument: bytes) -> None:
        self._greeted(argument, is_esmtp=True)

    def _greeted(self, argument: bytes, *, is_esmtp: bool) -> None:
        name = parse_hello(argument)
        if isinstance(name, Reply):
            self._refuse(name)
            return
        self._standing.leave()  # RFC 5321 §4.1.4: as RSET
        hello = Hello(name, is_esmtp)
        self._ask(hello, partial(self._hello_answered, hello))

    def _hello_answered(self, hello: Hello, reply: Reply) -> None:
        said = reply if hello.is_esmtp else Reply(reply.code, reply.lines[:1])
        if said.is_positive:
            self._standing.greet(hello.name, extensions_of(said.lines[1:]), is_esmtp=hello.is_esmtp)
        self._say(said)

    def _starttls(self, argument: bytes) -> None:
        refused = answers.WRONG_ARGUMENTS if argument else self._standing.against_starttls()
        if refused:
            self._refuse(refused)
        else:
            self._ask(StartTls(), self._starttls_answered)

    def _starttls_answered(self, reply: Reply) -> None:
        self._say(reply)
        if reply.is_positive:
            self._mode = _Mode.HANDSHAKE

    def _auth(self, argument: bytes) -> None:
        auth = auth_argument(argument)
        if refused := self._standing.against_auth():
            if refused is answers.ENCRYPTION_FIRST and auth and (exposed := exposure(auth)):
                self._steps.append(exposed)
            self._refuse(refused)
        elif auth is None:
            self._refuse(answers.WRONG_ARGUMENTS)
        else:
            self._exchange = AuthExchange(self._settings.mechanisms)
            self._go_on(self._exchange.begin(auth))

    def _hear_response(self, line: bytes) -> None:
        if self._is_early(b"AUTH"):
            self._hang_up(Reason.NOT_SYNCHRONIZED)
        else:
            self._go_on(self._exchange.answer(line))

    def _go_on(self, outcome: Challenge | Credentials | Reply) -> None:
        self._mode = _Mode.COMMANDS
        match outcome:
            case Challenge():
                self._say(Reply(334, (outcome.text,)))
                self._mode = _Mode.EXCHANGE
            case Credentials():
                self._ask(outcome, self._login_answered)
            case answers.WRONG_PASSWORD:
                self._login_answered(outcome)
            case _:
                self._refuse(outcome)

    def _login_answered(self, reply: Reply) -> None:
        self._auth_failures += reply.is_permanent
        if self._auth_failures >= self._settings.max_auth_failures:
            self._hang_up(Reason.LOGIN_FAILURES)
        else:
            self._say(reply)

    def _mail(self, argument: bytes) -> None:
        mail = self._standing.against_mail() or parse_mail(argument, self._standing.extensions)
        if isinstance(mail, Reply):
            self._refuse(mail)
        else:
            self._ask(Mail(mail), partial(self._mail_answered, mail))

    def _mail_answered(self, mail: MailFrom, reply: Reply) -> None:
        self._say(reply)
        if reply.is_positive:
            self._standing.mail = mail

    def _rcpt(self, argument: bytes) -> None:
        # Not counted as a bad command, nor is DATA: they may have been sent before it was known that MAIL is refused.
        if refused := self._standing.against_rcpt():
            self._say(refused)
            return
        rcpt = parse_rcpt(argument, self._standing.extensions, is_utf8=self._standing.is_utf8)
        if isinstance(rcpt, Reply):
            self._refuse(rcpt)
        else:
            self._ask(Rcpt(rcpt), self._rcpt_answered)

    def _rcpt_answered(self, reply: Reply) -> None:
        self._say(reply)
        self._standing.recipients += reply.is_positive

    def _data(self, argument: bytes) -> None:
        if argument:
            self._refuse(answers.WRONG_ARGUMENTS)
        elif refused := self._standing.against_data():
            self._say(refused)
        else:
            self._ask(Data(), self._data_answered)

    def _data_answered(self, reply: Reply) -> None:
        self._say(reply)
        if reply.is_intermediate:
            self._mode = _Mode.CONTENT

    def _rset(self, _argument: bytes) -> None:
        self._standing.reset()
        self._ask(Reset(), self._say)

    def _quit(self, _argument: bytes) -> None:
        self._ask(Quit(), self._quit_answered)

    def _quit_answered(self, reply: Reply) -> None:
        self._say(reply)
        self._end(Reason.LOGGED_OUT)

    def _ask(self, question: Question, then: Callable[[Reply], None]) -> None:
        self._steps.append(question)
        self._mode, self._then = _Mode.ASKED, then

    def _say(self, reply: Reply) -> None:
        self._output += reply.encode()

    def _refuse(self, reply: Reply) -> None:
        """Answer a bad command; too many of them are the end."""
        self._errors += 1
        if self._errors > self._settings.max_errors:
            self._hang_up(Reason.BAD_COMMANDS)
        else:
            self._say(reply)

    def _hang_up(self, reason: Reason) -> None:
        ref = self._settings.ref.decode("ascii", "replace")
        self._output += smtp_parting(reason, f"{refusal(reason).text} {ref}".rstrip())
        self._end(reason)

    def _end(self, reason: Reason) -> None:
        self._steps.append(Hangup(reason))
        self._mode = _Mode.OVER
        self._reader.rest()

    _COMMANDS: ClassVar[Mapping[bytes, Callable[["Conversation", bytes], None]]] = MappingProxyType(
        {
            b"HELO": _helo,
            b"EHLO": _ehlo,
            b"STARTTLS": _starttls,
            b"AUTH": _auth,
            b"MAIL": _mail,
            b"RCPT": _rcpt,
            b"DATA": _data,
            b"RSET": _rset,
            b"QUIT": _quit,
        }
    )


def _nothing_was_asked(_reply: Reply) -> None:
    raise TlsProxyError("an SMTP conversation was answered that had asked nothing")
