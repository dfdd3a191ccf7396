"""Everything new is built here first, and only if all of it stands is it swapped in; the half-built is undone."""

import os
import resource
import socket
import sys
from collections.abc import Callable, Container, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from tlsproxy.admission.base import Caps
from tlsproxy.config.model import BackendConfig, Config, Limits, ListenerConfig
from tlsproxy.core.errors import BindError, CertificateError, ConfigError, Mistake, NoIpv6Error, UnavailableError
from tlsproxy.net.tcp import keep_alive
from tlsproxy.net.tls.certs import Certificate, load_certificate
from tlsproxy.process.crew.identity import Identity, identity_of
from tlsproxy.process.door.sockets import Place, listen, place_of
from tlsproxy.process.line.supply import Supply
from tlsproxy.process.watches.backend import BackendWatch
from tlsproxy.senders.passwords.book import PasswordBook
from tlsproxy.server.judges.file import read_book
from tlsproxy.server.plan import Plan, make_plan
from tlsproxy.server.smtp.service import SmtpTools
from tlsproxy.server.way.way import Way, make_backend

# Descriptors that no session takes: listeners, log, epoll, the interpreter's own.
RESERVED_DESCRIPTORS: Final = 64
DESCRIPTORS_PER_SESSION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A configuration with everything built that it needs."""

    config: Config
    certificates: tuple[Certificate, ...]
    authorities: Mapping[str, bytes]
    """What stands in the CA files, by the backend's name."""
    passwords: PasswordBook | None
    """What stands in the password file of those who send, if there is one."""
    watches: Mapping[str, BackendWatch]
    plan: Plan
    caps: Caps
    listeners: Mapping[Place, ListenerConfig]
    fresh_sockets: Mapping[Place, socket.socket]
    skipped: Mapping[Place, NoIpv6Error]
    """Places that this machine cannot have and nobody misses."""
    workers: int
    """How many worker processes there are to be."""
    identity: Identity | None
    """Who they are to be; None for who we are."""

    def supply(self) -> Supply:
        """What a worker needs of all this."""
        return Supply(
            config=self.config,
            certificates=self.certificates,
            authorities=self.authorities,
            passwords=self.passwords,
            backends={name: watch.number for name, watch in self.watches.items()},
        )


def set_stage(
    config: Config,
    *,
    old: Stage | None,
    open_places: Container[Place],
    make_watch: Callable[[str, BackendConfig], BackendWatch],
    inherited: Mapping[Place, socket.socket],
) -> Stage:
    """Build everything that a configuration needs.

    Args:
        config: The new configuration.
        old: What is running; a backend whose configuration is the same keeps its watch, and so its health.
        open_places: Where is listened already; these sockets are kept.
        make_watch: Makes the watch over a new backend.
        inherited: Listening sockets of the program that this process was before, taken where they are wanted.

    Returns:
        A stage of which all stands.

    Raises:
        ConfigError: What does not stand, all of it at once; nothing has changed.
        UnavailableError: The same, where all that is missing is an address.
    """
    mistakes: list[Mistake] = []
    certificates = _load_certificates(config, old, mistakes)
    authorities = _read_authorities(config, mistakes)
    passwords = _read_passwords(config, mistakes)
    watches = _make_watches(config, old, make_watch)
    plan = _make_plan(config, old, certificates, _make_ways(config, authorities, watches, mistakes), mistakes)
    identity = _find_identity(config, mistakes)
    with ExitStack() as undo:
        binding = _bind(config, open_places, inherited, undo)
        if mistakes:
            raise ConfigError([*mistakes, *binding.mistakes])
        if binding.mistakes:
            raise UnavailableError(binding.mistakes)
        undo.pop_all()
    return Stage(
        config=config,
        certificates=tuple(certificates),
        authorities=authorities,
        passwords=passwords,
        watches=watches,
        plan=plan,
        caps=make_caps(config.limits, worker_count(config)),
        listeners={place_of(each.name, address): each for each in config.listener for address in each.bind},
        fresh_sockets=binding.sockets,
        skipped=binding.skipped,
        workers=worker_count(config),
        identity=identity,
    )


def worker_count(config: Config) -> int:
    """How many worker processes a configuration asks for; ``auto`` is one for each core that we may run on."""
    return len(os.sched_getaffinity(0)) if config.server.workers == "auto" else config.server.workers


def make_caps(limits: Limits, workers: int) -> Caps:
    """The limits as admission wants them; ``total`` lowered to what the workers' descriptor limits can carry."""
    rate = limits.connection_rate
    return Caps(
        total=min(limits.total, affordable_each() * workers),
        per_address=limits.per_address,
        rate_count=rate.count if rate else None,
        rate_period_s=rate.period_s if rate else 1.0,
        rate_burst=limits.burst,
        unauthenticated=limits.unauthenticated,
        unauthenticated_per_address=limits.unauthenticated_per_address,
        allow=limits.allow,
    )


def affordable_each() -> int:
    """How many sessions one worker may have."""
    return affordable_sessions(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


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
        return make_plan(config, certificates, ways, SmtpTools(), old.plan if old else {})
    except CertificateError as error:
        mistakes.append(Mistake(key="tls.certificates", value="", hint=str(error)))
        return {}


def _read_authorities(config: Config, mistakes: list[Mistake]) -> dict[str, bytes]:
    authorities: dict[str, bytes] = {}
    for name, backend in config.backend.items():
        if backend.ca is not None:
            try:
                authorities[name] = backend.ca.read_bytes()
            except OSError as error:
                mistakes.append(_ca_mistake(name, backend, error))
    return authorities


def _read_passwords(config: Config, mistakes: list[Mistake]) -> PasswordBook | None:
    path = config.smtp.submission.password_file if config.smtp and config.smtp.submission else None
    if path is None:
        return None
    key = "smtp.submission.password_file"
    try:
        return read_book(path)
    except OSError as error:
        mistakes.append(Mistake(key=key, value=str(path), hint=error.strerror or str(error)))
    except ConfigError as error:
        mistakes += [replace(mistake, key=f"{key}: {path}: {mistake.key}") for mistake in error.mistakes]
    return None


def _make_watches(
    config: Config, old: Stage | None, make_watch: Callable[[str, BackendConfig], BackendWatch]
) -> dict[str, BackendWatch]:
    watches: dict[str, BackendWatch] = {}
    for name, backend in config.backend.items():
        is_same = old is not None and old.config.timeouts == config.timeouts and _is_same_backend(old, name, backend)
        watches[name] = old.watches[name] if old is not None and is_same else make_watch(name, backend)
    return watches


def _is_same_backend(old: Stage, name: str, config: BackendConfig) -> bool:
    # A CA file may have changed under the same name, so that a backend with one is always built anew.
    return config.ca is None and old.config.backend.get(name) == config


def _make_ways(
    config: Config, authorities: Mapping[str, bytes], watches: Mapping[str, BackendWatch], mistakes: list[Mistake]
) -> dict[str, Way]:
    """The ways as workers will make them: here only to see that they can be made, and for their names."""
    ways: dict[str, Way] = {}
    for name, backend_config in config.backend.items():
        if backend_config.ca is not None and name not in authorities:
            continue
        try:
            ways[name] = Way(make_backend(config, name, authorities), watches[name])
        except OSError as error:
            mistakes.append(_ca_mistake(name, backend_config, error))
    return ways


def _ca_mistake(name: str, backend: BackendConfig, error: OSError) -> Mistake:
    return Mistake(key=f"backend.{name}.ca", value=str(backend.ca), hint=error.strerror or str(error))


def _find_identity(config: Config, mistakes: list[Mistake]) -> Identity | None:
    try:
        return identity_of(config.server.run_as)
    except ConfigError as error:
        mistakes += error.mistakes
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Binding:
    """What came of binding: sockets, places that nobody misses, and places that cannot be had."""

    sockets: dict[Place, socket.socket]
    skipped: dict[Place, NoIpv6Error]
    mistakes: list[Mistake]


def _bind(
    config: Config, open_places: Container[Place], inherited: Mapping[Place, socket.socket], undo: ExitStack
) -> _Binding:
    binding = _Binding(sockets={}, skipped={}, mistakes=[])
    for number, listener in enumerate(config.listener):
        for index, address in enumerate(listener.bind):
            place = place_of(listener.name, address)
            if place in open_places:
                continue
            if place in inherited:
                binding.sockets[place] = inherited[place]
                keep_alive(inherited[place], config.timeouts.keepalive)
                continue
            try:
                binding.sockets[place] = undo.enter_context(listen(address, config.timeouts.keepalive))
            except NoIpv6Error as error:
                binding.skipped[place] = error
            except BindError as error:
                binding.mistakes.append(Mistake(key=f"listener[{number}].bind[{index}]", value="", hint=str(error)))
    return binding
