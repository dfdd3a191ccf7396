"""Everything new is built here first, and only if all of it stands is it swapped in; the half-built is undone."""

import resource
import socket
import sys
from collections.abc import Callable, Container, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tlsproxy.admission.base import Caps
from tlsproxy.config.model import BackendConfig, Config, Limits, ListenerConfig
from tlsproxy.core.errors import BindError, CertificateError, ConfigError, Mistake, NoIpv6Error, UnavailableError
from tlsproxy.net.backend import Backend
from tlsproxy.net.tls.certs import Certificate, load_certificate
from tlsproxy.process.sockets import Place, listen, place_of
from tlsproxy.server.plan import Plan, make_plan
from tlsproxy.server.way import Way

# Descriptors that no session takes: listeners, log, epoll, the interpreter's own.
RESERVED_DESCRIPTORS: Final = 64
DESCRIPTORS_PER_SESSION: Final = 2


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
    config: Config, *, old: Stage | None, open_places: Container[Place], make_way: Callable[[Backend], Way]
) -> Stage:
    """Build everything that a configuration needs.

    Args:
        config: The new configuration.
        old: What is running; a backend whose configuration is the same keeps its way, and so its health.
        open_places: Where is listened already; these sockets are kept.
        make_way: Makes the way to a new backend.

    Returns:
        A stage of which all stands.

    Raises:
        ConfigError: What does not stand, all of it at once; nothing has changed.
        UnavailableError: The same, where all that is missing is an address.
    """
    mistakes: list[Mistake] = []
    certificates = _load_certificates(config, old, mistakes)
    ways = _make_ways(config, old, make_way, mistakes)
    plan = _make_plan(config, old, certificates, ways, mistakes)
    with ExitStack() as undo:
        binding = _bind(config, open_places, undo)
        if mistakes:
            raise ConfigError([*mistakes, *binding.mistakes])
        if binding.mistakes:
            raise UnavailableError(binding.mistakes)
        undo.pop_all()
    return Stage(
        config=config,
        certificates=tuple(certificates),
        ways=ways,
        plan=plan,
        caps=make_caps(config.limits),
        listeners={place_of(each.name, address): each for each in config.listener for address in each.bind},
        fresh_sockets=binding.sockets,
        skipped=binding.skipped,
    )


def make_caps(limits: Limits) -> Caps:
    """The limits as admission wants them; ``total`` lowered to what the descriptor limit can carry."""
    rate = limits.connection_rate
    return Caps(
        total=min(limits.total, affordable_sessions(resource.getrlimit(resource.RLIMIT_NOFILE)[0])),
        per_address=limits.per_address,
        rate_count=rate.count if rate else None,
        rate_period_s=rate.period_s if rate else 1.0,
        rate_burst=limits.burst,
        unauthenticated=limits.unauthenticated,
        unauthenticated_per_address=limits.unauthenticated_per_address,
        allow=limits.allow,
    )


def affordable_sessions(descriptors: int) -> int:
    """How many sessions a limit of open files carries; at least one, so that the log can tell why there is no more."""
    if descriptors == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, (descriptors - RESERVED_DESCRIPTORS) // DESCRIPTORS_PER_SESSION)


def raise_descriptor_limit() -> None:
    """Take all the descriptors that the hard limit grants; the soft one is low for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # a sandbox may forbid it; then the soft limit counts
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _load_certificates(config: Config, old: Stage | None, mistakes: list[Mistake]) -> list[Certificate]:
    loaded: list[Certificate] = []
    for index, files in enumerate(config.tls.certificates):
        try:
            certificate = load_certificate(files)
        except CertificateError as error:
            mistakes.append(Mistake(key=f"tls.certificates[{index}]", value="", hint=str(error)))
            continue
        # At start an expired certificate is better than none; later the one that is served is better than it.
        is_new = old is not None and certificate not in old.certificates
        if is_new and not certificate.is_current(datetime.now(UTC)):
            hint = f"{files.chain}: valid from {certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"
            mistakes.append(Mistake(key=f"tls.certificates[{index}]", value="", hint=f"{hint}, which is not now"))
        loaded.append(certificate)
    return loaded


def _make_plan(
    config: Config,
    old: Stage | None,
    certificates: list[Certificate],
    ways: Mapping[str, Way],
    mistakes: list[Mistake],
) -> Plan:
    if mistakes:
        return {}
    try:
        return make_plan(config, certificates, ways, old.plan if old else {})
    except CertificateError as error:
        mistakes.append(Mistake(key="tls.certificates", value="", hint=str(error)))
        return {}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Binding:
    """What came of binding: sockets, places that nobody misses, and places that cannot be had."""

    sockets: dict[Place, socket.socket]
    skipped: dict[Place, NoIpv6Error]
    mistakes: list[Mistake]


def _bind(config: Config, open_places: Container[Place], undo: ExitStack) -> _Binding:
    binding = _Binding(sockets={}, skipped={}, mistakes=[])
    for number, listener in enumerate(config.listener):
        for index, address in enumerate(listener.bind):
            place = place_of(listener.name, address)
            if place in open_places:
                continue
            try:
                binding.sockets[place] = undo.enter_context(listen(address, config.timeouts.keepalive))
            except NoIpv6Error as error:
                binding.skipped[place] = error
            except BindError as error:
                binding.mistakes.append(Mistake(key=f"listener[{number}].bind[{index}]", value="", hint=str(error)))
    return binding
