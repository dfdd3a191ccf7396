"""The client's side of an SMTP dialogue; answers by itself whatever needs no knowledge from outside.

It does not know senders, recipients, passwords or the backend: whoever does takes its steps one by one with ``next``,
and answers them. The content of a message passes by it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Final

from tlsproxy.core.kinds import SmtpRole
from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.smtp import answers
from tlsproxy.protocols.smtp.capabilities import extensions_of
from tlsproxy.protocols.smtp.client_side.login import Login
from tlsproxy.protocols.smtp.client_side.standing import Standing
from tlsproxy.protocols.smtp.client_side.turn import Mode, Turn
from tlsproxy.protocols.smtp.lines import CommandReader, LineFault
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.protocols.smtp.settings import DialogueSettings
from tlsproxy.protocols.smtp.steps import Data, Hello, Injection, Mail, Quit, Rcpt, Reset, StartTls, Step
from tlsproxy.protocols.smtp.syntax import (
    Command,
    MailFrom,
    is_foreign,
    parse_command,
    parse_hello,
    parse_mail,
    parse_rcpt,
)

__all__ = ["Conversation", "DialogueSettings"]

_ALWAYS_THE_SAME: Final = MappingProxyType({b"NOOP": answers.OK, b"VRFY": answers.NOT_VERIFIED, b"HELP": answers.HELP})
# Known, and not for strangers: XCLIENT and XFORWARD say who a client is, BDAT has no offer of CHUNKING behind it.
_NOT_IMPLEMENTED: Final = frozenset(b"BDAT ETRN EXPN XCLIENT XFORWARD".split())


class Conversation:
    """One client, from our greeting to its end."""

    __slots__ = ("_login", "_reader", "_role", "_settings", "_standing", "_turn")

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
        self._reader = CommandReader(self._settings.line_bytes, self._settings.sasl_line_bytes)
        self._turn = Turn(self._settings)
        self._standing = Standing(self._role, self._settings, is_tls)
        self._login = Login(self._settings, self._standing, self._turn)

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
        return self._turn.is_clients and self._turn.mode is Mode.COMMAND and not self._standing.mail

    def greeting(self) -> bytes:
        """The first line (RFC 5321 §4.3.1)."""
        return Reply(220, (self._settings.hostname + b" ESMTP",)).encode()

    def feed(self, data: bytes) -> None:
        """Take bytes from the client, in any split; bounded by the caller while a step waits for its answer."""
        if self._turn.mode is not Mode.NOTHING:
            self._reader.feed(data)

    def next(self) -> Step | None:
        """The next thing to be done; None if more bytes are needed, or an answer, or if it is over."""
        while self._turn.is_clients:
            line = self._reader.take(is_sasl=self._turn.mode is Mode.RESPONSE)
            if line is None:
                break
            self._hear(line)
        return self._turn.take_step()

    def offer(self, lines: Sequence[bytes]) -> None:
        """Answer a Hello with yes.

        Args:
            lines: What a client is offered, as ``SIZE 1000``; not said to one that came with HELO.
        """
        self.answer(Reply(250, (self._settings.hostname, *lines)))

    def answer(self, reply: Reply) -> None:
        """Answer the last step.

        Raises:
            TlsProxyError: It was no question.
        """
        self._turn.answer(reply)

    def authenticated(self, user: bytes) -> None:
        """The client has logged in; said together with the answer to the credentials."""
        self._standing.user = user

    def rest(self) -> bytes:
        """Take all unread bytes, as behind DATA the first ones of the content."""
        return self._reader.rest()

    def data_done(self, reply: Reply) -> None:
        """Answer the end of the content; what stood behind it was fed before, and the transaction is over."""
        self._standing.reset()
        self._turn.carried(reply)

    def tls_started(self) -> None:
        """Forget everything (RFC 3207 §4.2): the client may not be the one that spoke before."""
        self._begin(is_tls=True)

    def take_output(self) -> bytes:
        """Take what is to be sent now."""
        return self._turn.take_output()

    def close(self) -> None:
        """The client is gone: nothing is answered any more."""
        self._turn.close()

    def _hear(self, line: bytes | LineFault) -> None:
        if line is LineFault.TLS:
            self._turn.hang_up(Reason.NOT_MAIL)
        elif isinstance(line, LineFault):
            self._turn.mode = Mode.COMMAND
            self._turn.refuse(answers.TO_FAULTS[line])
        elif self._turn.mode is Mode.RESPONSE:
            self._hear_response(line)
        elif is_foreign(line):
            self._turn.hang_up(Reason.NOT_MAIL)
        else:
            self._hear_command(parse_command(line) or Command(b"", b""))

    def _hear_command(self, said: Command) -> None:
        if len(self._reader) and said.verb == b"STARTTLS" and not self._standing.is_tls:
            self._turn.report(Injection())
            self._turn.hang_up(Reason.STARTTLS_INJECTION)
        elif self._is_early(said.verb):
            self._turn.hang_up(Reason.NOT_SYNCHRONIZED)
        elif said.verb in _ALWAYS_THE_SAME:
            self._turn.say_in_vain(_ALWAYS_THE_SAME[said.verb])
        elif said.verb in self._COMMANDS:
            self._COMMANDS[said.verb](self, said.argument)
        else:
            self._turn.refuse(answers.NOT_IMPLEMENTED if said.verb in _NOT_IMPLEMENTED else answers.UNKNOWN_COMMAND)

    def _hear_response(self, line: bytes) -> None:
        if self._is_early(b"AUTH"):
            self._turn.hang_up(Reason.NOT_SYNCHRONIZED)
        else:
            self._login.hear(line)

    def _is_early(self, verb: bytes) -> bool:
        """Whether the client went on where it had to wait."""
        return self._settings.is_strict_sync and len(self._reader) > 0 and not self._standing.may_be_followed(verb)

    def _helo(self, argument: bytes) -> None:
        self._greeted(argument, is_esmtp=False)

    def _ehlo(self, argument: bytes) -> None:
        self._greeted(argument, is_esmtp=True)

    def _greeted(self, argument: bytes, *, is_esmtp: bool) -> None:
        name = parse_hello(argument, is_tolerant=self._role is SmtpRole.SUBMISSION)
        if isinstance(name, Reply):
            self._turn.refuse(name)
            return
        self._standing.leave()  # RFC 5321 §4.1.4: as RSET
        hello = Hello(name, is_esmtp)
        self._turn.ask(hello, partial(self._hello_answered, hello))

    def _hello_answered(self, hello: Hello, reply: Reply) -> None:
        said = reply if hello.is_esmtp else Reply(reply.code, reply.lines[:1])
        self._turn.say_in_vain(said)
        if said.is_positive:
            self._standing.greet(hello.name, extensions_of(said.lines[1:]), is_esmtp=hello.is_esmtp)

    def _starttls(self, argument: bytes) -> None:
        refused = answers.WRONG_ARGUMENTS if argument else self._standing.against_starttls()
        if refused:
            self._turn.refuse(refused)
        else:
            self._turn.ask(StartTls(), self._starttls_answered)

    def _starttls_answered(self, reply: Reply) -> None:
        self._turn.say(reply)
        if reply.is_positive:
            self._turn.mode = Mode.HANDSHAKE

    def _auth(self, argument: bytes) -> None:
        self._login.begin(argument)

    def _mail(self, argument: bytes) -> None:
        mail = self._standing.against_mail() or parse_mail(argument, self._standing.extensions)
        if isinstance(mail, Reply):
            self._turn.refuse(mail)
        else:
            self._turn.ask(Mail(mail), partial(self._mail_answered, mail))

    def _mail_answered(self, mail: MailFrom, reply: Reply) -> None:
        self._turn.tell(reply)
        if reply.is_positive:
            self._standing.mail = mail

    def _rcpt(self, argument: bytes) -> None:
        # Not counted as a bad command, nor is DATA: they may have been sent before it was known that MAIL is refused.
        if refused := self._standing.against_rcpt():
            self._turn.tell(refused)
            return
        rcpt = parse_rcpt(argument, self._standing.extensions, is_utf8=self._standing.is_utf8)
        if isinstance(rcpt, Reply):
            self._turn.refuse(rcpt)
        else:
            self._turn.ask(Rcpt(rcpt), self._rcpt_answered)

    def _rcpt_answered(self, reply: Reply) -> None:
        self._turn.tell(reply)
        self._standing.recipients += reply.is_positive

    def _data(self, argument: bytes) -> None:
        if argument:
            self._turn.refuse(answers.WRONG_ARGUMENTS)
        elif refused := self._standing.against_data():
            self._turn.tell(refused)
        else:
            self._turn.ask(Data(), self._data_answered)

    def _data_answered(self, reply: Reply) -> None:
        self._turn.say(reply)
        if reply.is_intermediate:
            self._turn.mode = Mode.CONTENT

    def _rset(self, _argument: bytes) -> None:
        self._standing.reset()
        self._turn.ask(Reset(), self._turn.say_in_vain)

    def _quit(self, _argument: bytes) -> None:
        self._turn.ask(Quit(), self._quit_answered)

    def _quit_answered(self, reply: Reply) -> None:
        self._turn.say(reply)
        self._turn.end(Reason.LOGGED_OUT)

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
