"""Policies as published: found among a domain's TXT records and parsed whole; must not evaluate anything."""

import re
from collections.abc import Sequence
from typing import Final

from tlsproxy.senders.spf.domains import parse_domain_spec
from tlsproxy.senders.spf.macros import MacroText, parse_macros
from tlsproxy.senders.spf.mechanisms import parse_mechanism
from tlsproxy.senders.spf.result import BrokenPolicyError, SpfVerdict
from tlsproxy.senders.spf.terms import Directive, Policy

# RFC 7208 §3.4 asks for 512 octets at most; what is far beyond is work for nobody but us.
_RECORD_LIMIT_BYTES: Final = 8192
# How much of a bad term is told.
_TOLD: Final = 60

# RFC 7208 §4.5: the version ends at a space or with the record.
_VERSION: Final = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)
# RFC 7208 §12: name "=" before any ":" or "/".
_MODIFIER: Final = re.compile(r"([A-Za-z][-A-Za-z0-9_.]*)=(.*)", re.ASCII | re.DOTALL)
# RFC 7208 §4.6.2.
_QUALIFIERS: Final = {
    "+": SpfVerdict.PASS,
    "-": SpfVerdict.FAIL,
    "~": SpfVerdict.SOFTFAIL,
    "?": SpfVerdict.NEUTRAL,
}


def find_policy(texts: Sequence[bytes]) -> Policy | None:
    """Choose and parse the policy among a domain's TXT records.

    Args:
        texts: All TXT records, the strings of each joined with nothing between them (RFC 7208 §3.3).

    Returns:
        The policy; None where there is none.

    Raises:
        BrokenPolicyError: There is more than one, or a mistake is anywhere in it.
    """
    found = [text for text in texts if _VERSION.match(text)]
    if len(found) > 1:
        raise BrokenPolicyError("more than one record")  # RFC 7208 §4.5
    return parse_policy(found[0]) if found else None


def parse_policy(record: bytes) -> Policy:
    """Parse a whole record, before anything of it is evaluated (RFC 7208 §4.6).

    Raises:
        BrokenPolicyError: A mistake is anywhere in it.
    """
    if len(record) > _RECORD_LIMIT_BYTES:
        raise BrokenPolicyError("record is too long")
    if not record.isascii():
        raise BrokenPolicyError("record is not ASCII")  # RFC 7208 §3.1
    directives: list[Directive] = []
    modifiers: dict[str, MacroText] = {}
    for term in record.decode("ascii").split(" ")[1:]:
        try:
            if modifier := _MODIFIER.fullmatch(term):
                _read_modifier(modifier[1].lower(), modifier[2], modifiers)
            elif term:
                directives.append(_directive(term))
        except BrokenPolicyError as error:
            raise BrokenPolicyError(f"{term[:_TOLD]}: {str(error)[:_TOLD]}") from error
    return Policy(tuple(directives), redirect=modifiers.get("redirect"), explanation=modifiers.get("exp"))


def _directive(term: str) -> Directive:
    has_qualifier = term[0] in _QUALIFIERS
    mechanism = parse_mechanism(term[1:] if has_qualifier else term)
    return Directive(_QUALIFIERS[term[0]] if has_qualifier else SpfVerdict.PASS, mechanism, term)


def _read_modifier(name: str, value: str, modifiers: dict[str, MacroText]) -> None:
    if name not in {"redirect", "exp"}:
        parse_macros(value)  # RFC 7208 §6: an unknown modifier is ignored, but its syntax counts
        return
    if name in modifiers:
        raise BrokenPolicyError(f"{name} occurs twice")  # RFC 7208 §6
    modifiers[name] = parse_domain_spec(value)
