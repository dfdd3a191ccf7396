"""Everything new is built here first, and only if all of it stands is it swapped in; the half-built is undone."""

import resource
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tlsproxy.admission.base import Caps
from tlsproxy.config.model import BackendConfig, Config, Limits, ListenerConfig
from tlsproxy.core.errors import BindError, CertificateError, ConfigError, Mistake, NoIpv6Error, UnavailableError
from tlsproxy.net.backend import Backend
from tlsproxy.net.certs import Certificate, load_certificate
from tlsproxy.process.sockets import Place, listen, place_of
from tlsproxy.server.plan import Plan, make_plan
from tlsproxy.server.way import Way

# Descriptors that no session takes: listeners, log, epoll, the interpreter's own.
_RESERVED_DESCRIPTORS: Final = 64
_DESCRIPTORS_PER_SESSION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A configuration with everything built that it needs."""

    config: Config
    certificates: tuple[Certificate, ...]
    ways: Mapping[str, Way]
    plan: Plan
    caps: Caps
    listeners: Mapping[Place, ListenerConfig]
    fresh_sockets: Mapping[Place, socket.socket]
    skipped: Mapping[Place, NoIpv6Error]
    """Places that this machine cannot have and nobody misses."""


def set_stage(
    config: Config,
    *,
    old: Stage | None,
    is_open: Callable[[Place], bool],
    make_way: Callable[[Backend], Way],
) -> Stage:
    """Build everything that a configuration needs.

    Args:
        config: The new configuration.
        old: What is running; a backend whose configuration is the same keeps its way, and so its health.
        is_open: Whether a place is listened on already.
        make_way: Makes the way to a new backend.

    Returns:
        A stage of which all stands.

    Raises:
        ConfigError: What does not stand, all of it at once; nothing has changed.
        UnavailableError: The same, where all that is missing is an address.
    """
    mistakes: list[Mistake] = []
    certificates = _load_certificates(config, mistakes, is_reload=old is not None)
    ways = _make_ways(config, old, make_way, mistakes)
    unavailable: list[Mistake] = []
    skipped: dict[Place, NoIpv6Error] = {}
    sockets = _bind(config, is_open, unavailable, skipped)
    try:
        plan = make_plan(config, certificates, ways) if not mistakes else Plan(services={})
    except CertificateError as error:
        mistakes.append(Mistake(key="tls.certificates", value="", hint=str(error)))
    if mistakes or unavailable:
        for sock in sockets.values():
            sock.close()
        raise ConfigError([*mistakes, *unavailable]) if mistakes else UnavailableError(unavailable)
    return Stage(
        config=config,
        certificates=tuple(certificates),
        ways=ways,
        plan=plan,
        caps=make_caps(config.limits),
        listeners={place_of(each.name, address): each for each in config.listener for address in each.bind},
        fresh_sockets=sockets,
        skipped=skipped,
    )


def make_caps(limits: Limits) -> Caps:
    """The limits as admission wants them; ``total`` lowered to what the descriptor limit can carry."""
    rate = limits.connection_rate
    return Caps(
        total=min(limits.total, _affordable_sessions()),
        per_address=limits.per_address,
        rate_count=rate.count if rate else None,
        rate_period_s=rate.period_s if rate else 1.0,
        rate_burst=limits.burst,
        unauthenticated=limits.unauthenticated,
        unauthenticated_per_address=limits.unauthenticated_per_address,
        allow=limits.allow,
    )


def _affordable_sessions() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (soft - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_PER_SESSION)


def raise_descriptor_limit() -> None:
    """Take all the descriptors that the hard limit grants; the soft one is low for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _load_certificates(config: Config, mistakes: list[Mistake], *, is_reload: bool) -> list[Certificate]:
    loaded: list[Certificate] = []
    for index, files in enumerate(config.tls.certificates):
        try:
            certificate = load_certificate(files)
            # At start an expired certificate is better than none; on reload the old one is better than an expired one.
            if is_reload and not certificate.is_current(datetime.now(UTC)):
                raise CertificateError(f"{files.chain}: not valid now, only until {certificate.not_after:%Y-%m-%d}")  # noqa: TRY301 - told like any other
            loaded.append(certificate)
        except CertificateError as error:
            mistakes.append(Mistake(key=f"tls.certificates[{index}]", value="", hint=str(error)))
    return loaded


def _make_ways(
    config: Config, old: Stage | None, make_way: Callable[[Backend], Way], mistakes: list[Mistake]
) -> dict[str, Way]:
    ways: dict[str, Way] = {}
    timeouts = config.timeouts
    is_same_pace = old is not None and old.config.timeouts == timeouts
    for name, backend_config in config.backend.items():
        if old is not None and is_same_pace and _is_same_backend(old, name, backend_config):
            ways[name] = old.ways[name]
            continue
        try:
            backend = Backend(
                name, backend_config, connect_timeout_s=timeouts.backend_connect, keepalive_s=timeouts.keepalive
            )
        except OSError as error:
            said = error.strerror or str(error)
            mistakes.append(Mistake(key=f"backend.{name}.ca", value=str(backend_config.ca), hint=said))
        else:
            ways[name] = make_way(backend)
    return ways


def _is_same_backend(old: Stage, name: str, config: BackendConfig) -> bool:
    # A CA file may have changed under the same name, so that a backend with one is always built anew.
    return config.ca is None and old.config.backend.get(name) == config


def _bind(
    config: Config,
    is_open: Callable[[Place], bool],
    mistakes: list[Mistake],
    skipped: dict[Place, NoIpv6Error],
) -> dict[Place, socket.socket]:
    sockets: dict[Place, socket.socket] = {}
    for number, listener in enumerate(config.listener):
        for index, address in enumerate(listener.bind):
            place = place_of(listener.name, address)
            if is_open(place):
                continue
            try:
                sockets[place] = listen(address, config.timeouts.keepalive)
            except NoIpv6Error as error:
                skipped[place] = error
            except BindError as error:
                mistakes.append(Mistake(key=f"listener[{number}].bind[{index}]", value="", hint=str(error)))
    return sockets
