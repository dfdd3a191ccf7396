"""The filter on what the backend says it can do; must not change what it keeps."""

from typing import Final

from tlsproxy.protocols.sasl import is_bound_to_channel

_STLS: Final = b"STLS"  # RFC 2595 §4; TLS is active already
_SASL: Final = b"SASL"  # RFC 5034 §3


def filtered_capability(line: bytes) -> bytes | None:
    """One line of a CAPA list (RFC 2449 §5) as the client may see it.

    Args:
        line: Without its line end.

    Returns:
        The line, without mechanisms that are bound to the backend's own channel; None if nothing of it is left.
    """
    tag, *parameters = line.split(b" ")
    if tag.upper() == _STLS:
        return None
    if tag.upper() != _SASL:
        return line
    kept = [mechanism for mechanism in parameters if not is_bound_to_channel(mechanism)]
    return b" ".join([tag, *kept]) if any(kept) else None


def filtered_mechanism(line: bytes) -> bytes | None:
    """One line of the list that old servers give to a bare AUTH, as the client may see it."""
    return None if is_bound_to_channel(line.strip(b" ")) else line
