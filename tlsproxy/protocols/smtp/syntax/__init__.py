"""How a client's commands look: read into values, and written from them."""

from tlsproxy.protocols.smtp.syntax.commands import Command, is_foreign, parse_command
from tlsproxy.protocols.smtp.syntax.envelope import MailFrom, RcptTo, parse_mail, parse_rcpt
from tlsproxy.protocols.smtp.syntax.names import parse_domain, parse_hello
from tlsproxy.protocols.smtp.syntax.parameters import Body, Extension, Notify, Ret
from tlsproxy.protocols.smtp.syntax.paths import FoundPath, Path, read_path

__all__ = [
    "Body",
    "Command",
    "Extension",
    "FoundPath",
    "MailFrom",
    "Notify",
    "Path",
    "RcptTo",
    "Ret",
    "is_foreign",
    "parse_command",
    "parse_domain",
    "parse_hello",
    "parse_mail",
    "parse_rcpt",
    "read_path",
]
