"""[smtp]: what holds for all of SMTP, and the tables of its two roles; must not know backends or listeners."""

from typing import Final

from pydantic import Field

from tlsproxy.config.sections import Section
from tlsproxy.config.smtp.mx import MxConfig
from tlsproxy.config.smtp.submission import SubmissionConfig
from tlsproxy.config.smtp.values import Hostname, MessageSizeBytes, RecipientCount
from tlsproxy.config.values import Count, Flag, Seconds, SecondsOrZero
from tlsproxy.core.kinds import BareNewline, EarlyTalker, RejectAt, SmtpRole

_MINUTE_S: Final = 60.0


class SmtpConfig(Section):
    """SMTP: mail that other servers deliver (role "mx") and mail that users send (role "submission").

    Needs [backend.smtp] with the address of the old SMTP server. Without any [[listener]], [smtp.mx] then gets port
    25, and [smtp.submission] gets 465 with implicit TLS and 587 with STARTTLS.
    """

    hostname: Hostname = Field(
        description=(
            "The name that tlsproxy goes by in greetings, headers and answers: the one that the MX record names and "
            "the certificate bears."
        ),
        examples=["mx.example.org"],
    )
    max_message_size: MessageSizeBytes = Field(
        default=25_000_000,
        description=(
            "Largest message. Offered is what the old server takes too, less 4096 bytes for the headers that are added."
        ),
    )
    max_recipients: RecipientCount = Field(
        default=100,
        description="Recipients of one message. RFC 5321 asks every server to take 100; senders split longer lists.",
    )
    max_errors: Count = Field(
        default=20,
        description=(
            "Commands in one connection that make no sense or are refused for their form; then it ends. Servers make "
            "one or two, scanners many. Commands without a message, as NOOP and recipients that are refused, end it at "
            "twice max_recipients."
        ),
    )
    command_timeout: Seconds = Field(
        default=5 * _MINUTE_S,
        description=(
            "The wait for a client's next command, and for the old server's answer to one. RFC 5321 asks for 5 minutes."
        ),
    )
    data_timeout: Seconds = Field(
        default=3 * _MINUTE_S,
        description="The wait for the next part of a message. RFC 5321 asks for 3 minutes.",
    )
    data_reply_timeout: Seconds = Field(
        default=10 * _MINUTE_S,
        description=(
            "The wait for the old server's answer to a whole message, which it may scan first. RFC 5321 asks for 10 "
            "minutes: a client that is cut off earlier sends the message twice."
        ),
    )
    bare_newline: BareNewline = Field(
        default=BareNewline.NORMALIZE,
        description=(
            "What becomes of a message in which a CR or LF stands alone, by which mail is smuggled into old servers. "
            "normalize makes line ends of them, which takes the danger and keeps the mail of printers and scripts; "
            "it can break a DKIM signature of such a message. reject refuses it."
        ),
    )
    strict_sync: Flag = Field(
        default=True,
        description=(
            "End the connection of a client that does not wait for an answer where RFC 2920 says that it must. Mail "
            "servers wait; bots and forged requests of browsers do not."
        ),
    )
    greet_delay: SecondsOrZero = Field(
        default=0.0,
        description=(
            "MX: how long the greeting waits for clients that speak before it, which no mail server does. A look is "
            'taken even with "0s", while the address is looked up; "3s" finds most bots.'
        ),
    )
    early_talker: EarlyTalker = Field(
        default=EarlyTalker.LOG,
        description="MX: what becomes of a client that speaks before the greeting: off, log or drop.",
    )
    reject_at: RejectAt = Field(
        default=RejectAt.RCPT,
        description=(
            "MX: at which command a client is told that it is refused. At rcpt the log has the recipients, postmaster "
            "stays reachable, and no client is confused; mail is a round trip earlier."
        ),
    )
    mx: MxConfig | None = None
    submission: SubmissionConfig | None = None

    def table_of(self, role: SmtpRole) -> MxConfig | SubmissionConfig | None:
        """The role's own table, None where it is not written."""
        return self.mx if role is SmtpRole.MX else self.submission
