"""What the sections of a configuration owe to each other; must not know where a value comes from.

The rules take what is known to be well-formed, so that they can speak even while other keys are still wrong.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping

from tlsproxy.config.sections import BackendConfig, ListenerConfig
from tlsproxy.config.smtp import rules as smtp_rules
from tlsproxy.config.smtp.table import SmtpConfig
from tlsproxy.config.units import BackendAddress, BindAddress, TcpAddress
from tlsproxy.core.errors import Mistake
from tlsproxy.core.kinds import ProtocolName

_Bind = tuple[str, BindAddress]
"""A key path and what stands there."""


def broken(
    listeners: Mapping[int, ListenerConfig | None],
    backends: Mapping[str, BackendConfig | None],
    smtp: SmtpConfig | None,
    *,
    is_smtp_sound: bool = True,
) -> list[Mistake]:
    """Every rule that is broken.

    Args:
        listeners: All listeners by their place in the file; None for one that is not well-formed.
        backends: All backends by name; None for one that is not well-formed.
        smtp: The table [smtp]; None where it is not written or not well-formed.
        is_smtp_sound: Whether it is well-formed or not written.
    """
    sound = {i: listener for i, listener in listeners.items() if listener}
    binds = [(f"listener[{i}].bind[{k}]", bind) for i, each in sound.items() for k, bind in enumerate(each.bind)]
    return [
        *([] if listeners else _nothing_to_do(backends)),
        *_names_twice(sound),
        *_backends_unknown(sound, backends),
        *_binds_twice(binds),
        *_loops(binds, backends),
        *smtp_rules.broken_backends(listeners, backends),
        *(smtp_rules.broken_tables(listeners, backends, smtp) if is_smtp_sound else ()),
    ]


def nearest(word: str, words: Collection[str]) -> str:
    """A question that names the word that was probably meant; empty where none is near."""
    found = difflib.get_close_matches(word, words, n=1)
    return f'did you mean "{found[0]}"?' if found else ""


def _nothing_to_do(names: Collection[str]) -> Iterator[Mistake]:
    """Nobody to serve, as far as can be told."""
    if not names:
        hint = 'no old mail server is named; write [backend.imap] and below it address = "127.0.0.1:1143"'
        yield Mistake(key="backend", value="", hint=hint)
        return
    strangers = set(names) - set(ProtocolName)
    if not strangers:
        return  # [backend.smtp] alone, which is told with the rules of SMTP
    name = min(strangers)
    listener = f'[[listener]] and below it protocol = "imap", backend = "{name}"'
    hint = f"nothing listens for it; call it backend.imap or backend.pop3, or write {listener}"
    yield Mistake(key=f"backend.{name}", value="", hint=hint)


def _names_twice(listeners: Mapping[int, ListenerConfig]) -> Iterator[Mistake]:
    """Two listeners that logs could not tell apart."""
    first: dict[str, int] = {}
    for i, listener in listeners.items():
        earlier = first.setdefault(listener.name, i)
        if earlier != i:
            hint = f"listener[{earlier}] has this name already; give one of them a name of its own"
            yield Mistake(key=f"listener[{i}].name", value=f'"{listener.name}"', hint=hint)


def _backends_unknown(listeners: Mapping[int, ListenerConfig], names: Collection[str]) -> Iterator[Mistake]:
    """Listeners that nobody serves."""
    for i, listener in listeners.items():
        if listener.backend not in names:
            way_out = nearest(listener.backend, names) or "write that table with the address of the old mail server"
            hint = f"there is no [backend.{listener.backend}]; {way_out}"
            yield Mistake(key=f"listener[{i}].backend", value=f'"{listener.backend}"', hint=hint)


def _binds_twice(binds: list[_Bind]) -> Iterator[Mistake]:
    """Sockets of which the system would refuse the second."""
    for n, (key, bind) in enumerate(binds):
        for earlier_key, earlier in binds[:n]:
            if _overlap(bind, earlier):
                hint = f"{earlier_key} takes this already; one address serves one listener"
                yield Mistake(key=key, value=f'"{bind}"', hint=hint)
                break


def _overlap(one: BindAddress, other: BindAddress) -> bool:
    """Whether both cannot be listened on at once; port 0 is a new port each time."""
    if not isinstance(one, TcpAddress) or not isinstance(other, TcpAddress):
        return one == other
    if one.port != other.port or not one.port:
        return False
    if one.host == other.host:
        return True
    if one.ip is None or other.ip is None:
        return False
    return one.ip.version == other.ip.version and (one.ip.is_unspecified or other.ip.is_unspecified)


def _loops(binds: list[_Bind], backends: Mapping[str, BackendConfig | None]) -> Iterator[Mistake]:
    """Backends that are ourselves."""
    for name, backend in backends.items():
        ours = next((key for key, bind in binds if backend and _is_ours(backend.address, bind)), None)
        if backend and ours:
            hint = f"tlsproxy listens there itself ({ours}) and would connect to itself; move the old server elsewhere"
            yield Mistake(key=f"backend.{name}.address", value=f'"{backend.address}"', hint=hint)


def _is_ours(backend: BackendAddress, bind: BindAddress) -> bool:
    """Whether a connection to the backend would arrive at the listener."""
    if not isinstance(backend, TcpAddress) or not isinstance(bind, TcpAddress) or backend.port != bind.port:
        return False
    if backend.host == bind.host:
        return True
    is_local = backend.host.lower() == "localhost" if backend.ip is None else backend.ip.is_loopback
    return is_local and bind.ip is not None and bind.ip.is_unspecified
