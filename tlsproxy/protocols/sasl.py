"""Who logs in, read off a SASL exchange for the log; must not keep a password or decide anything.

Only the first response of an exchange is looked at: it carries the user in every mechanism known here, and the later
ones carry nothing but proofs and passwords.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

# A user name for a log needs no more; the rest of a longer one is dropped.
_USER_LIMIT_BYTES: Final = 256

# The registry of SASL mechanisms as far as mail knows it, and the commands of IMAP and POP3 that log in without SASL.
_KNOWN: Final = frozenset(
    {
        *("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "GSSAPI", "NTLM", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"),
        *("ANONYMOUS", "KERBEROS_V4", "SKEY", "OTP", "SRP", "SECURID", "PASSDSS", "USER", "PASS", "APOP"),
    }
)
_KNOWN_FAMILIES: Final = ("SCRAM-SHA", "GS2-", "ECDSA-")
_PROOFS: Final = (b"CRAM-", b"DIGEST-", b"SCRAM-", b"GSSAPI", b"GS2-", b"NTLM")

# The GS2 header's flag, RFC 5801 §4; its second field is the identity to act as.
_GS2_FLAG: Final = rb"(?:n|y|p=[^,]*)"
# RFC 5802 §7, client-first-message.
_SCRAM_FIRST: Final = re.compile(_GS2_FLAG + rb",(?:a=[^,]*)?,(?:m=[^,]*,)?n=([^,]*),")
# RFC 7628 §3.1.
_OAUTHBEARER: Final = re.compile(_GS2_FLAG + rb",a=([^,]*),")
# Google's and Microsoft's own; ended by ^A, behind which stands the token.
_XOAUTH2: Final = re.compile(rb"user=([^\x01]*)\x01")
# RFC 2831 §2.1.2, digest-response; the value is a quoted-string.
_DIGEST_USERNAME: Final = re.compile(rb'(?:^|,)\s*username="((?:[^"\\]|\\.)*)"', re.DOTALL)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)


class SaslUser:
    """Watches one SASL exchange and remembers the user name alone."""

    __slots__ = ("_read", "user")

    def __init__(self, mechanism: bytes) -> None:
        self._read = _reader(mechanism.upper())
        self.user: bytes | None = None
        """The user as the client named it, at most 256 bytes; None while or where it cannot be known."""

    def see(self, response: bytes) -> None:
        """Look at one client response; garbage is harmless, and only the first response is ever decoded.

        Args:
            response: Base64 as sent on the wire, without its line end; ``=`` is an empty initial response
                (RFC 4959 §3, RFC 5034 §4).
        """
        read, self._read = self._read, None
        if read is None:
            return
        try:
            message = binascii.a2b_base64(response, strict_mode=True)
        except binascii.Error:
            return
        self.user = read(message)[:_USER_LIMIT_BYTES] or None


def known_mechanism(name: str) -> str:
    """The name of a way to log in, or ``other``: what a client types there may be a password."""
    upper = name.upper()
    return upper if upper in _KNOWN or upper.startswith(_KNOWN_FAMILIES) else "other"


def gives_secret_away(mechanism: bytes) -> bool:
    """Whether a client response of the mechanism can be used by whoever overhears it.

    A challenge is answered with a proof instead by CRAM-MD5 (RFC 2195), DIGEST-MD5 (RFC 2831), SCRAM (RFC 5802), GSSAPI
    (RFC 4752), GS2 (RFC 5801) and NTLM; a mechanism that is not known is taken for one that sends the password.
    """
    return not mechanism.upper().startswith(_PROOFS)


def is_bound_to_channel(mechanism: bytes) -> bool:
    """Whether the mechanism speaks of the backend's own channel, which is not the one the client sees.

    EXTERNAL (RFC 4422 appendix A) takes the identity from the channel, ``*-PLUS`` (RFC 5802 §4) binds to its TLS;
    both would be answered for the connection between proxy and backend.
    """
    name = mechanism.upper()
    return name == b"EXTERNAL" or name.endswith(b"-PLUS")


def _reader(mechanism: bytes) -> Callable[[bytes], bytes] | None:
    return _scram if mechanism.startswith(b"SCRAM-") else _READERS.get(mechanism)


def _plain(message: bytes) -> bytes:
    fields = message.split(b"\0")
    if len(fields) != 3:  # noqa: PLR2004 - authzid NUL authcid NUL passwd, RFC 4616 §2
        return b""
    return fields[1] or fields[0]


def _login(message: bytes) -> bytes:
    return message  # a draft that never became an RFC: the user, then the password


def _cram_md5(message: bytes) -> bytes:
    return message.rpartition(b" ")[0]  # user SP digest, RFC 2195 §2; a user may hold spaces


def _scram(message: bytes) -> bytes:
    return _unescaped(_first_group(_SCRAM_FIRST.match(message)))


def _digest_md5(message: bytes) -> bytes:
    return _QUOTED_PAIR.sub(rb"\1", _first_group(_DIGEST_USERNAME.search(message)))


def _xoauth2(message: bytes) -> bytes:
    return _first_group(_XOAUTH2.match(message))


def _oauthbearer(message: bytes) -> bytes:
    return _unescaped(_first_group(_OAUTHBEARER.match(message)))


def _first_group(found: re.Match[bytes] | None) -> bytes:
    return found[1] if found else b""


def _unescaped(saslname: bytes) -> bytes:
    return saslname.replace(b"=2C", b",").replace(b"=3D", b"=")  # RFC 5802 §5.1


_READERS: Final[Mapping[bytes, Callable[[bytes], bytes]]] = MappingProxyType(
    {
        b"PLAIN": _plain,
        b"LOGIN": _login,
        b"CRAM-MD5": _cram_md5,
        b"DIGEST-MD5": _digest_md5,
        b"XOAUTH2": _xoauth2,
        b"OAUTHBEARER": _oauthbearer,
    }
)
