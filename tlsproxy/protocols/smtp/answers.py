"""Every answer of one line that is the same for everybody: the conversation's own, and those its runner picks from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tlsproxy.protocols.smtp.lines import LineFault
from tlsproxy.protocols.smtp.reply import Reply, reply

# Yes.
OK: Final = reply(250, "2.0.0", "OK")
BYE: Final = reply(221, "2.0.0", "goodbye")
READY_FOR_TLS: Final = reply(220, "2.0.0", "ready to start TLS")  # RFC 3207 §4
LOGGED_IN: Final = reply(235, "2.7.0", "authentication successful")  # RFC 4954 §6
GO_AHEAD: Final = reply(354, "", "end the message with <CRLF>.<CRLF>")
NOT_VERIFIED: Final = reply(252, "2.0.0", "cannot tell, send the message and see")  # RFC 5321 §7.3
HELP: Final = reply(214, "2.0.0", "see RFC 5321")

# The order of commands, RFC 5321 §4.1.4.
HELLO_FIRST: Final = reply(503, "5.5.1", "say EHLO first")
MAIL_FIRST: Final = reply(503, "5.5.1", "say MAIL first")
IN_TRANSACTION: Final = reply(503, "5.5.1", "not within a transaction")
NO_RECIPIENTS: Final = reply(554, "5.5.1", "no valid recipients")
TOO_MANY_RECIPIENTS: Final = reply(452, "4.5.3", "too many recipients")
TLS_FIRST: Final = reply(530, "5.7.0", "must issue STARTTLS first")
TLS_ALREADY: Final = reply(503, "5.5.1", "TLS is on already")
TLS_NOT_AVAILABLE: Final = reply(454, "4.7.0", "TLS is not available now")

# Logins, RFC 4954 §4 and §6.
LOGIN_FIRST: Final = reply(530, "5.7.0", "authentication required")
LOGIN_NOT_OFFERED: Final = reply(503, "5.5.1", "no login is offered here")
LOGGED_IN_ALREADY: Final = reply(503, "5.5.1", "already authenticated")
ENCRYPTION_FIRST: Final = reply(538, "5.7.11", "encryption required")
WRONG_PASSWORD: Final = reply(535, "5.7.8", "bad user name or password")
LOGIN_NOT_AVAILABLE: Final = reply(454, "4.7.0", "logins cannot be checked now, try again later")
UNKNOWN_MECHANISM: Final = reply(504, "5.5.4", "this mechanism is not offered")
MALFORMED_RESPONSE: Final = reply(501, "5.5.2", "malformed response")
RESPONSE_TOO_LONG: Final = reply(500, "5.5.6", "response too long")
CANCELLED: Final = reply(501, "5.7.0", "authentication cancelled")

# What is no command.
UNKNOWN_COMMAND: Final = reply(500, "5.5.1", "unknown command")
NOT_IMPLEMENTED: Final = reply(502, "5.5.1", "not implemented")
WRONG_ARGUMENTS: Final = reply(501, "5.5.4", "wrong arguments")
LINE_TOO_LONG: Final = reply(500, "5.5.2", "line too long")
BARE_NEWLINE: Final = reply(500, "5.5.2", "a line ends with CR and LF, and holds neither")

TO_FAULTS: Final[Mapping[LineFault, Reply]] = MappingProxyType(
    {
        LineFault.TOO_LONG: LINE_TOO_LONG,
        LineFault.SASL_TOO_LONG: RESPONSE_TOO_LONG,
        LineFault.BARE_NEWLINE: BARE_NEWLINE,
    }
)
"""Of the faults that a client may have and go on."""

# What only the runner can know.
MESSAGE_TOO_BIG: Final = reply(552, "5.3.4", "message too big")
BARE_NEWLINE_IN_MESSAGE: Final = reply(550, "5.5.2", "bare CR or LF in message")
BACKEND_NOT_REACHABLE: Final = reply(451, "4.4.1", "mail server not reachable, try again later")
BACKEND_LOST: Final = reply(451, "4.4.2", "lost the mail server")
