"""What ``tlsproxy check`` examines on this machine before anything is served; must not print or change anything.

It does what a start would do, with the same code where there is some, and undoes it at once: reads certificates, binds,
connects to the backends and hears their greeting.
"""

import errno
import math
import os
import resource
import socket
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from time import monotonic
from typing import Final

from tlsproxy.config.model import BackendConfig, CertificateFiles, Config, InheritedSocket, TcpAddress, UnixAddress
from tlsproxy.core.errors import BindError, CertificateError, ConfigError, NoIpv6Error
from tlsproxy.core.kinds import BackendLogin, BackendTls, ProtocolName
from tlsproxy.core.summary import readable
from tlsproxy.net.tls.certs import load_certificate
from tlsproxy.net.tls.contexts import backend_context
from tlsproxy.operate.check_smtp import hostname_findings, smtp_backend
from tlsproxy.operate.findings import Finding, ok, problem, warning
from tlsproxy.process.crew.identity import identity_of
from tlsproxy.process.door.sockets import listen
from tlsproxy.process.stage import DESCRIPTORS_PER_SESSION, RESERVED_DESCRIPTORS, affordable_sessions, worker_count

# certbot renews 30 days before the end; nine days later it has failed for a while.
_DAYS_LEFT_WARNING: Final = 21
_GREETING_TIMEOUT_S: Final = 3.0
# RFC 2449 §4 allows 512 bytes for a POP3 answer; IMAP greetings with capabilities stay below twice that.
_GREETING_LIMIT_BYTES: Final = 1024
_GREETINGS: Final = {ProtocolName.IMAP: b"* OK", ProtocolName.POP3: b"+OK", ProtocolName.SMTP: b"220"}
# Debian and Ubuntu build with both, in their own way that leaves no trace but this option.
_DEBIAN_BUILD: Final = "--with-wheel-pkg-dir=/usr/share/python-wheels"
# RFC 9051 §5.4 and RFC 1939 §3.
_IDLE_IMAP_LEAST_S: Final = 30 * 60.0
_IDLE_POP3_LEAST_S: Final = 10 * 60.0


def examine(config: Config, now: datetime) -> list[Finding]:
    """Examine everything that a start needs.

    Args:
        config: A configuration without mistakes.
        now: The time to judge certificates by; aware.

    Returns:
        What was found, at least one finding for each certificate, address and backend.
    """
    findings: list[Finding] = []
    for i, files in enumerate(config.tls.certificates):
        findings += _certificate(f"tls.certificates[{i}]", files, now)
    for listener in config.listener:
        findings += [_bind(f"listener {listener.name}", bind, config.timeouts.keepalive) for bind in listener.bind]
    for name, backend in config.backend.items():
        findings += _backend(f"backend.{name}", backend, config)
    return [
        *findings,
        *hostname_findings(config),
        *_numbers(config),
        *_descriptors(config),
        *_identity(config),
        *_interpreter(),
    ]


def _certificate(subject: str, files: CertificateFiles, now: datetime) -> Iterator[Finding]:
    """One certificate and its key."""
    try:
        certificate = load_certificate(files)
    except CertificateError as error:
        yield problem(subject, str(error))
        return
    names = ", ".join(certificate.names) or "no names"
    days = certificate.days_left(now)
    if now >= certificate.not_after:
        yield problem(subject, f"{names}: expired on {certificate.not_after:%Y-%m-%d}; renew it")
    elif now < certificate.not_before:
        yield problem(subject, f"{names}: not valid before {certificate.not_before:%Y-%m-%d}; is the clock right?")
    elif days < _DAYS_LEFT_WARNING:
        yield warning(subject, f"{names}: {days} days left; does its renewal work?")
    else:
        yield ok(subject, f"{names}: {days} days left")
    for text in certificate.warnings:
        yield warning(subject, text)


def _bind(subject: str, bind: TcpAddress | InheritedSocket, keepalive_s: float) -> Finding:
    """One address to listen on."""
    if isinstance(bind, InheritedSocket):
        return ok(subject, f"{bind} is passed by systemd at start and cannot be tried here")
    try:
        listen(bind, keepalive_s).close()
    except NoIpv6Error as error:
        return warning(subject, f"{error}; it will be left out")
    except BindError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
            # tlsproxy itself, when the check comes before a reload: that must not fail.
            return warning(subject, f"{bind} is in use (is tlsproxy running already?)")
        return problem(subject, str(error))
    return ok(subject, f"{bind} can be listened on")


def _backend(subject: str, backend: BackendConfig, config: Config) -> Iterator[Finding]:
    """One old mail server: whether it answers, and how its passwords travel."""
    protocols = {listener.protocol for listener in config.listener if f"backend.{listener.backend}" == subject}
    if protocols == {ProtocolName.SMTP}:
        yield from smtp_backend(subject.removeprefix("backend."), config)
    else:
        yield _reached(subject, backend, config.timeouts.backend_connect, protocols)
    if not protocols:
        yield warning(subject, "no listener uses it")
    is_mail_alone = protocols == {ProtocolName.SMTP} and backend.login is not BackendLogin.REPLAY
    yield from _exposure(subject, backend, "mail travels" if is_mail_alone else "passwords travel")


def _reached(subject: str, backend: BackendConfig, timeout_s: float, protocols: set[ProtocolName]) -> Finding:
    """Connect, put TLS on where it comes first, and hear the greeting."""
    try:
        context = backend_context(backend)
    except OSError as error:
        return problem(subject, f"ca: {backend.ca} holds no certificate that can be used: {_reason(error)}")
    try:
        plain = _connected(backend, timeout_s)
    except OSError as error:
        hint = "is the old mail server running there?"
        return problem(subject, f"{backend.address} does not answer: {_reason(error)}; {hint}")
    with closing(plain):
        try:
            if backend.tls is not BackendTls.IMPLICIT:
                return _heard(subject, backend, _first_line(plain), protocols)
            with closing(context.wrap_socket(plain, server_hostname=_server_name(backend))) as secured:
                return _heard(subject, backend, _first_line(secured), protocols)
        except OSError as error:
            return problem(subject, f"{backend.address} answers, but not as expected: {_reason(error)}")


def _reason(error: OSError) -> str:
    """What the system or OpenSSL says, without its codes."""
    # SSLError and SSLCertVerificationError carry these; only net.tls may name them.
    said = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error.strerror or str(error)
    return str(said) or type(error).__name__


def _server_name(backend: BackendConfig) -> str | None:
    """The name that the certificate must bear."""
    if backend.server_name:
        return backend.server_name
    return backend.address.host if isinstance(backend.address, TcpAddress) else None


def _connected(backend: BackendConfig, timeout_s: float) -> socket.socket:
    """A connection, from the first address that answers."""
    match backend.address:
        case UnixAddress(path=path):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout_s)
            try:
                sock.connect(path)
            except OSError:
                sock.close()
                raise
            return sock
        case TcpAddress(host=host, port=port):
            return socket.create_connection((host, port), timeout_s)


def _first_line(sock: socket.socket) -> bytes:
    """What the server says first, as far as it comes within the time; nothing if it stays silent."""
    line = b""
    deadline = monotonic() + _GREETING_TIMEOUT_S
    while b"\n" not in line and len(line) < _GREETING_LIMIT_BYTES and (left_s := deadline - monotonic()) > 0:
        sock.settimeout(left_s)
        try:
            more = sock.recv(_GREETING_LIMIT_BYTES)
        except TimeoutError:
            break  # silence is a finding, not an error
        if not more:
            break
        line += more
    return line.partition(b"\n")[0].strip()


def _heard(subject: str, backend: BackendConfig, greeting: bytes, protocols: set[ProtocolName]) -> Finding:
    """What the greeting tells."""
    if not greeting:
        hint = "is it TLS that this port expects?" if backend.tls is not BackendTls.IMPLICIT else "is it a mail server?"
        return problem(subject, f"{backend.address} answers, but says nothing within {_GREETING_TIMEOUT_S:g} s; {hint}")
    said = f"{backend.address} says: {readable(greeting)}"
    strangers = [protocol for protocol in protocols if not greeting.startswith(_GREETINGS[protocol])]
    if strangers:
        return problem(subject, f"{said} (that is no {' or '.join(strangers).upper()} greeting; is the port right?)")
    return ok(subject, said + (" (STARTTLS is not tried here)" if backend.tls is BackendTls.STARTTLS else ""))


def _exposure(subject: str, backend: BackendConfig, what: str) -> Iterator[Finding]:
    """Ways on which secrets can be read behind us."""
    address = backend.address
    if isinstance(address, UnixAddress):
        return
    is_near = address.host == "localhost" if address.ip is None else address.ip.is_loopback
    if is_near:
        return
    if backend.tls is BackendTls.OFF:
        yield warning(subject, f"{what} in clear to {address.host}; is the way there yours alone?")
    elif not backend.verify:
        yield warning(subject, f"who {address.host} is goes unchecked (verify = false); is the way there yours alone?")


def _numbers(config: Config) -> Iterator[Finding]:
    """Numbers that are allowed and yet surprise clients."""
    if config.timeouts.idle_imap < _IDLE_IMAP_LEAST_S:
        yield warning("timeouts.idle_imap", "below the 30 minutes of RFC 9051; clients renew IDLE every 29 minutes")
    if config.timeouts.idle_pop3 < _IDLE_POP3_LEAST_S:
        yield warning("timeouts.idle_pop3", "below the 10 minutes of RFC 1939")


def _descriptors(config: Config) -> Iterator[Finding]:
    """Whether the workers may open what limits.total promises."""
    # A start raises the soft limit to the hard one.
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    total, workers = config.limits.total, worker_count(config)
    room = affordable_sessions(limit) * workers
    if total <= room:
        yield ok("limits.total", f"{total} connections fit into the limit of open files")
    else:
        wanted = DESCRIPTORS_PER_SESSION * math.ceil(total / workers) + RESERVED_DESCRIPTORS
        hint = f"raise it to {wanted} (LimitNOFILE= in the systemd unit, ulimit -Hn in a root shell)"
        yield warning("limits.total", f"{total} is lowered to {room}, since only {limit} files may be open; {hint}")


def _identity(config: Config) -> Iterator[Finding]:
    """Whom the workers run as."""
    run_as = config.server.run_as
    try:
        identity = identity_of(run_as)
    except ConfigError as error:
        yield from (problem(mistake.key, f"{mistake.value}: {mistake.hint}") for mistake in error.mistakes)
        return
    if identity is None and os.geteuid() == 0:
        yield warning("server.run_as", "the workers run as root; name a user for them, who needs no right to any file")
    elif identity is not None:
        yield ok("server.run_as", f"the workers run as {run_as}")


def _interpreter() -> Iterator[Finding]:
    """Whether Python was built for speed."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    missing = [
        name for flag, name in (("--enable-optimizations", "PGO"), ("--with-lto", "LTO")) if flag not in arguments
    ]
    if missing and _DEBIAN_BUILD not in arguments:
        yield warning("python", f"built without {' and '.join(missing)}; one with them takes less CPU a session")
    else:
        yield ok("python", "built with PGO and LTO")
