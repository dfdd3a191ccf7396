"""The macro language of SPF (RFC 7208 §7): parsed first, expanded later; must not ask the DNS."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote

from tlsproxy.senders.spf.result import BrokenPolicyError

# RFC 7208 §7.1, macro-expand and macro-literal. Letters are case-insensitive, as all literals of an ABNF.
_TOKEN: Final = re.compile(
    r"%\{(?P<letter>[slodiphcrtv])(?P<digits>[0-9]*)(?P<reverse>r?)(?P<delimiters>[-.+,/_=]*)\}"
    r"|%(?P<escape>[%_-])"
    r"|(?P<literal>[!-$&-~]+)"
    r"|(?P<space> +)",
    re.IGNORECASE | re.ASCII,
)
_ESCAPES: Final = {"%": "%", "_": " ", "-": "%20"}
# RFC 7208 §7.2: these are for explanations only.
_EXPLAINING_LETTERS: Final = frozenset("crt")


@dataclass(frozen=True, slots=True)
class Macro:
    """One ``%{...}``."""

    letter: str
    """In lower case."""
    keep: int
    """How many right-hand parts stay; 0 for all."""
    is_reversed: bool
    delimiters: str
    is_escaped: bool
    """Whether the outcome is escaped for a URL."""

    def expand(self, values: Mapping[str, str]) -> str:
        """What stands for the macro (RFC 7208 §7.3)."""
        value = values[self.letter]
        if self.keep or self.is_reversed or self.delimiters:
            parts = re.split(f"[{re.escape(self.delimiters or '.')}]", value)
            if self.is_reversed:  # RFC 7208 §7.3: reversed first, the right-hand parts are counted after that
                parts.reverse()
            value = ".".join(parts[-self.keep :])
        return quote(value, safe="") if self.is_escaped else value


MacroText = tuple[str | Macro, ...]
"""A parsed macro-string: literal text and macros in turn."""


def parse_macros(raw: str, *, is_explanation: bool = False) -> MacroText:
    """Parse a macro-string, or an explain-string, which may hold spaces and more letters (RFC 7208 §7.1, §7.2).

    Raises:
        BrokenPolicyError: Its syntax is wrong.
    """
    parts: list[str | Macro] = []
    position = 0
    while position < len(raw):
        token = _TOKEN.match(raw, position)
        if token is None or (token["space"] and not is_explanation):
            raise BrokenPolicyError("bad character or macro")
        parts.append(_part(token, is_explanation=is_explanation))
        position = token.end()
    return tuple(parts)


def _part(token: re.Match[str], *, is_explanation: bool) -> str | Macro:
    if token["escape"]:
        return _ESCAPES[token["escape"]]
    if not token["letter"]:
        return token[0]
    letter = token["letter"].lower()
    digits = token["digits"].lstrip("0")
    if letter in _EXPLAINING_LETTERS and not is_explanation:
        raise BrokenPolicyError(f"macro {token[0]} is for explanations only")
    if token["digits"] and not digits:  # RFC 7208 §7.1: there is no part number zero
        raise BrokenPolicyError(f"macro {token[0]} keeps no part")
    return Macro(
        letter=letter,
        # No name has more parts than that, and Python refuses to read a number of thousands of digits.
        keep=int(digits[:4] or 0),
        is_reversed=bool(token["reverse"]),
        delimiters=token["delimiters"],
        is_escaped=token["letter"].isupper(),
    )


def ends_in_macro(text: MacroText) -> bool:
    """Whether the last thing is a macro-expand (RFC 7208 §7.1) and no literal."""
    # A literal holds neither "%" nor a space, so whatever does came from an escape.
    return isinstance(text[-1], Macro) or text[-1] in _ESCAPES.values()


def has_letter(text: MacroText, letter: str) -> bool:
    """Whether a macro of the letter occurs."""
    return any(isinstance(part, Macro) and part.letter == letter for part in text)


def expand(text: MacroText, values: Mapping[str, str], enough: int) -> str:
    """Expand from the right, until there are more than ``enough`` characters.

    A text of some kilobytes may stand for megabytes; whoever has got more than enough drops the left side anyway.

    Args:
        text: The parsed text.
        values: What each letter stands for.
        enough: Characters that the caller can use.

    Returns:
        The whole expansion, or its right end, which is then longer than ``enough``.
    """
    pieces: list[str] = []
    length = 0
    for part in reversed(text):
        pieces.append(part.expand(values) if isinstance(part, Macro) else part)
        length += len(pieces[-1])
        if length > enough:
            break
    return "".join(reversed(pieces))


def macro_values(
    *, ip: IPv4Address | IPv6Address, domain: str, sender: str, helo: str, receiver: str, now: float, ptr_name: str
) -> Mapping[str, str]:
    """What each macro letter stands for (RFC 7208 §7.2).

    Args:
        ip: The client, an IPv4-mapped address unfolded.
        domain: The domain whose policy is being read.
        sender: An address with local part and domain.
        helo: The name from EHLO or HELO.
        receiver: Our own name; empty where it is nobody's business.
        now: Seconds since 1970.
        ptr_name: The client's confirmed name, see ``p``.

    Returns:
        All letters in lower case.
    """
    local, _, sender_domain = sender.rpartition("@")
    return {
        "s": sender,
        "l": local,
        "o": sender_domain,
        "d": domain,
        "i": dotted(ip),
        "p": ptr_name,
        "v": "in-addr" if isinstance(ip, IPv4Address) else "ip6",
        "h": helo,
        "c": str(ip),
        "r": receiver or "unknown",  # RFC 7208 §7.3
        "t": str(int(now)),
    }


def dotted(ip: IPv4Address | IPv6Address) -> str:
    """The address in labels: four numbers, or 32 nibbles in upper case (RFC 7208 §7.3)."""
    return str(ip) if isinstance(ip, IPv4Address) else ".".join(ip.packed.hex().upper())
