"""MAIL and RCPT: read from a client, written for an old server; must not decide whether they are welcome.

What is written is made from what was read, never copied: nothing passes that has no name here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from tlsproxy.protocols.smtp.reply import CRLF, Reply, reply
from tlsproxy.protocols.smtp.syntax.parameters import (
    Body,
    Extension,
    Notify,
    Parameters,
    Ret,
    read_body,
    read_envelope_id,
    read_notify,
    read_original_recipient,
    read_parameters,
    read_ret,
    read_size,
)
from tlsproxy.protocols.smtp.syntax.paths import Path, read_path

_Value = TypeVar("_Value")

_MAIL_SYNTAX: Final = reply(501, "5.5.4", "say MAIL FROM:<address>")
_RCPT_SYNTAX: Final = reply(501, "5.5.4", "say RCPT TO:<address>")
_WRONG_SENDER: Final = reply(501, "5.1.7", "this is no sender's address")
_WRONG_RECIPIENT: Final = reply(501, "5.1.3", "this is no recipient's address")
_NOT_ASCII: Final = reply(553, "5.6.7", "an address beyond ASCII needs SMTPUTF8")  # RFC 6531 §3.5
_WRONG_PARAMETERS: Final = reply(501, "5.5.4", "the parameters make no sense")
_UNKNOWN_PARAMETER: Final = reply(555, "5.5.4", "a parameter is not known here")

# The extension that brings a parameter; AUTH= is allowed to everybody, and forgotten (RFC 4954 §5).
_MAIL_PARAMETERS: Final[Mapping[bytes, Extension | None]] = {
    b"SIZE": Extension.SIZE,
    b"BODY": Extension.EIGHT_BIT_MIME,
    b"SMTPUTF8": Extension.SMTPUTF8,
    b"RET": Extension.DSN,
    b"ENVID": Extension.DSN,
    b"AUTH": None,
}
_RCPT_PARAMETERS: Final[Mapping[bytes, Extension | None]] = {b"NOTIFY": Extension.DSN, b"ORCPT": Extension.DSN}


@dataclass(frozen=True, slots=True)
class MailFrom:
    """What MAIL says of a message."""

    path: Path
    size: int | None = None
    """Octets as announced; None if they are not."""
    body: Body | None = None
    is_utf8: bool = False
    ret: Ret | None = None
    envid: bytes | None = None
    """In xtext."""

    def encode(self, offered: frozenset[Extension], extra_bytes: int) -> bytes:
        """The whole line for the backend, CRLF included.

        Args:
            offered: What the backend knows; nothing else is said to it.
            extra_bytes: What the message grows by on its way.
        """
        words = [b"MAIL FROM:" + self.path.encode()]
        if self.size is not None and Extension.SIZE in offered:
            words.append(b"SIZE=%d" % (self.size + extra_bytes))
        if self.body is not None and Extension.EIGHT_BIT_MIME in offered:
            words.append(b"BODY=" + self.body.encode("ascii"))
        if self.is_utf8 and Extension.SMTPUTF8 in offered:
            words.append(b"SMTPUTF8")
        if self.ret is not None and Extension.DSN in offered:
            words.append(b"RET=" + self.ret.encode("ascii"))
        if self.envid is not None and Extension.DSN in offered:
            words.append(b"ENVID=" + self.envid)
        return b" ".join(words) + CRLF


@dataclass(frozen=True, slots=True)
class RcptTo:
    """What RCPT says of a recipient."""

    path: Path
    notify: tuple[Notify, ...] = ()
    orcpt: bytes | None = None
    """Address type, semicolon, address in xtext."""
    is_routed: bool = False
    """Whether the address names hops: a source route, or ``%``, ``!`` or ``@`` in the local part."""

    def encode(self, offered: frozenset[Extension]) -> bytes:
        """The whole line for the backend, CRLF included; a source route is not repeated.

        Args:
            offered: What the backend knows; nothing else is said to it.
        """
        words = [b"RCPT TO:" + self.path.encode()]
        if self.notify and Extension.DSN in offered:
            words.append(b"NOTIFY=" + ",".join(self.notify).encode("ascii"))
        if self.orcpt is not None and Extension.DSN in offered:
            words.append(b"ORCPT=" + self.orcpt)
        return b" ".join(words) + CRLF


def parse_mail(argument: bytes, allowed: frozenset[Extension]) -> MailFrom | Reply:
    """Read what follows MAIL.

    Args:
        argument: As ``FROM:<a@b> SIZE=1000``.
        allowed: The extensions whose parameters the client may use.

    Returns:
        The sender, else the refusal.
    """
    text = _behind(b"FROM:", argument)
    if text is None:
        return _MAIL_SYNTAX
    found = read_path(text)
    if found is None or (not found.path.domain and not found.path.is_null):
        return _WRONG_SENDER
    parameters = _parameters(found.rest, _MAIL_PARAMETERS, allowed)
    if isinstance(parameters, Reply):
        return parameters
    mail = _mail(found.path, parameters)
    return _NOT_ASCII if isinstance(mail, MailFrom) and not (mail.is_utf8 or mail.path.is_ascii) else mail


def parse_rcpt(argument: bytes, allowed: frozenset[Extension], *, is_utf8: bool) -> RcptTo | Reply:
    """Read what follows RCPT.

    Args:
        argument: As ``TO:<a@b> NOTIFY=NEVER``.
        allowed: The extensions whose parameters the client may use.
        is_utf8: Whether MAIL has said SMTPUTF8.

    Returns:
        The recipient, else the refusal.
    """
    text = _behind(b"TO:", argument)
    if text is None:
        return _RCPT_SYNTAX
    found = read_path(text)
    if found is None or found.path.is_null:
        return _WRONG_RECIPIENT
    if not (is_utf8 or found.path.is_ascii):
        return _NOT_ASCII
    parameters = _parameters(found.rest, _RCPT_PARAMETERS, allowed)
    if isinstance(parameters, Reply):
        return parameters
    return _rcpt(RcptTo(found.path, is_routed=found.is_routed), parameters)


def _behind(word: bytes, argument: bytes) -> bytes | None:
    """What follows the word; a blank behind it is wrong, and common."""
    return argument[len(word) :].lstrip(b" ") if argument[: len(word)].upper() == word else None


def _parameters(
    text: bytes, known: Mapping[bytes, Extension | None], allowed: frozenset[Extension]
) -> Parameters | Reply:
    parameters = read_parameters(text)
    if parameters is None:
        return _WRONG_PARAMETERS
    for keyword in parameters:
        if keyword not in known or known[keyword] not in {None, *allowed}:
            return _UNKNOWN_PARAMETER
    return parameters


def _mail(path: Path, parameters: Parameters) -> MailFrom | Reply:
    mail = MailFrom(
        path,
        size=_read(parameters, b"SIZE", read_size),
        body=_read(parameters, b"BODY", read_body),
        is_utf8=b"SMTPUTF8" in parameters,
        ret=_read(parameters, b"RET", read_ret),
        envid=_read(parameters, b"ENVID", read_envelope_id),
    )
    values = {b"SIZE": mail.size, b"BODY": mail.body, b"RET": mail.ret, b"ENVID": mail.envid}
    has_value = parameters.get(b"SMTPUTF8") is not None  # RFC 6531 §3.1: it has none
    return _WRONG_PARAMETERS if has_value or _are_missing(values, parameters) else mail


def _rcpt(rcpt: RcptTo, parameters: Parameters) -> RcptTo | Reply:
    notify = _read(parameters, b"NOTIFY", read_notify)
    orcpt = _read(parameters, b"ORCPT", read_original_recipient)
    if _are_missing({b"NOTIFY": notify, b"ORCPT": orcpt}, parameters):
        return _WRONG_PARAMETERS
    return replace(rcpt, notify=notify or (), orcpt=orcpt)


def _read(parameters: Parameters, keyword: bytes, read: Callable[[bytes], _Value | None]) -> _Value | None:
    value = parameters.get(keyword)
    return None if value is None else read(value)


def _are_missing(values: Mapping[bytes, object], parameters: Parameters) -> bool:
    """Whether the client said a parameter of which nothing could be read."""
    return any(value is None and keyword in parameters for keyword, value in values.items())
