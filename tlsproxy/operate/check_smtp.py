"""What ``tlsproxy check`` examines for SMTP: what old servers offer, whether they are open relays, our name.

The conversation is that of the sessions, with the same code; no message is sent.
"""

import asyncio
import socket
from collections.abc import Collection, Iterator
from typing import Final

from tlsproxy.config.model import BackendConfig, Config
from tlsproxy.core.errors import BackendError, CertificateError
from tlsproxy.core.kinds import BackendIdentity, BackendLogin, BackendTls, SmtpRole
from tlsproxy.core.outcome import Reason
from tlsproxy.core.summary import readable
from tlsproxy.net.plane import LoopPlane
from tlsproxy.net.tls.certs import load_certificate
from tlsproxy.operate.findings import Finding, Level, ok, problem, warning
from tlsproxy.protocols.smtp.backend_side.introduction import Refusal, say_hello
from tlsproxy.protocols.smtp.capabilities import Capabilities
from tlsproxy.protocols.smtp.reply import Reply
from tlsproxy.server.smtp.delivering.knowledge import LOCAL_WORDS
from tlsproxy.server.smtp.delivering.old_server import called
from tlsproxy.server.smtp.delivering.relay_probe import is_open_relay, relay_hint
from tlsproxy.server.way.way import Way, make_backend

# Postfix's postscreen greets after 6 s.
_ANSWER_S: Final = 10.0
_GREETING_CODE: Final = 220
_XCLIENT_SETTING: Final = "name this machine in smtpd_authorized_xclient_hosts (Postfix)"
_REPLAYED: Final = frozenset({b"PLAIN", b"LOGIN"})
_LOST_HINT: Final = "is the old mail server running there?"
_LOST_HINTS: Final = {
    Reason.BACKEND_GARBAGE: "is the port right?",
    Reason.BACKEND_TIMEOUT: "does the port expect TLS, or a PROXY header?",
    Reason.BACKEND_TLS_FAILED: "are tls, ca and server_name right?",
    Reason.BACKEND_CLOSED: "does it let this machine in?",
    Reason.BACKEND_RESET: "does it let this machine in?",
}
_ONE_FOR_ALL: Final = (
    "it serves users and strangers alike and is told of no login, so it has to relay for tlsproxy whoever sends; "
    'local_domains and AUTH of tlsproxy are all that stands before it; write login = "xclient" or "replay", or give '
    "each role a backend of its own"
)


class _Unwatched:
    """The health of a backend that is tried once."""

    def is_down(self) -> bool:
        return False

    def failed(self, client: bytes, error: BackendError) -> None:
        pass

    def worked(self, address: str) -> None:
        pass


def smtp_backend(name: str, config: Config) -> list[Finding]:
    """Speak with an old SMTP server as a session would.

    Args:
        name: The backend's, used by SMTP listeners alone.
        config: A configuration without mistakes.
    """
    subject, backend = f"backend.{name}", config.backend[name]
    try:
        way = Way(make_backend(config, name, {}), _Unwatched())
    except OSError as error:
        return [problem(subject, f"ca: {backend.ca} holds no certificate that can be used: {error.strerror or error}")]
    roles = {listener.role for listener in config.listener if listener.backend == name and listener.role}
    hostname = config.smtp.hostname if config.smtp is not None else "localhost"
    return asyncio.run(_examined(subject, way, hostname, roles))


def hostname_findings(config: Config) -> Iterator[Finding]:
    """Our own name, if other servers are to come by it."""
    smtp = config.smtp
    if smtp is None or smtp.mx is None:
        return
    subject, name = "smtp.hostname", smtp.hostname
    try:
        addresses = dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(name, None))
    except OSError as error:
        yield warning(subject, f"{name} cannot be looked up: {error.strerror}; other servers find tlsproxy by it")
    else:
        yield ok(subject, f"{name} is {', '.join(addresses)}")
    if not {name, f"*.{name.partition('.')[2]}"} & _certified(config):
        yield warning(subject, f"no certificate bears {name}; servers that verify it will not deliver")


async def _examined(subject: str, way: Way, hostname: str, roles: Collection[SmtpRole]) -> list[Finding]:
    plane = LoopPlane(asyncio.get_running_loop())
    backend = way.backend.config
    try:
        greeting, known = await _heard(plane, way, hostname)
    except BackendError as error:
        return [problem(subject, _lost(backend, error))]
    said = f"{backend.address} says: {greeting.code} {readable(greeting.text)}"
    if greeting.code != _GREETING_CODE:
        return [problem(subject, f"{said} (it takes no mail from this machine now)")]
    if isinstance(known, Refusal):
        return [problem(subject, f"{said}, but {known}")]
    shown = f"{said}, after STARTTLS" if backend.tls is BackendTls.STARTTLS else said
    findings = [ok(subject, shown), *_offer(subject, backend, known)]
    if SmtpRole.MX not in roles:
        return findings
    if SmtpRole.SUBMISSION in roles and backend.login is BackendLogin.NONE:
        return [*findings, warning(subject, _ONE_FOR_ALL)]
    if all(finding.level is not Level.PROBLEM for finding in findings):
        findings.append(_relaying(subject, backend, await is_open_relay(plane, way, hostname)))
    return findings


async def _heard(plane: LoopPlane, way: Way, hostname: str) -> tuple[Reply, Capabilities | Refusal]:
    """The greeting, and the answer to EHLO."""
    first_words = LOCAL_WORDS.get(way.backend.config.identity, b"")
    async with called(plane, way, b"", first_words, _ANSWER_S) as server:
        greeting = await server.greeting()
        if greeting.code != _GREETING_CODE:
            return greeting, Refusal.NO_HELLO
        return greeting, await server.perform(say_hello(hostname.encode("ascii")))


def _lost(backend: BackendConfig, error: BackendError) -> str:
    """What came instead of a conversation."""
    address = str(backend.address)
    where = "" if address in error.detail else f"{address}: "
    return f"{where}{error.detail}; {_LOST_HINTS.get(error.reason, _LOST_HINT)}"


def _offer(subject: str, backend: BackendConfig, known: Capabilities) -> Iterator[Finding]:
    """Whether it offers what the configuration asks of it."""
    if backend.identity is BackendIdentity.XCLIENT:
        yield _xclient(subject, backend, known)
    if backend.login is BackendLogin.XCLIENT and b"LOGIN" not in known.xclient:
        yield problem(subject, f'{Refusal.NO_XCLIENT_LOGIN} (login = "xclient"); {_XCLIENT_SETTING}')
    if backend.login is BackendLogin.REPLAY and not known.mechanisms & _REPLAYED:
        hint = "" if backend.tls is not BackendTls.OFF else '; some do so under TLS alone: tls = "starttls"'
        yield problem(subject, f'{Refusal.NO_MECHANISM}, which login = "replay" needs{hint}')


def _xclient(subject: str, backend: BackendConfig, known: Capabilities) -> Finding:
    if b"ADDR" in known.xclient:
        return ok(subject, f"XCLIENT takes {_list(known.xclient)}")
    why = f'{Refusal.NO_XCLIENT} (identity = "xclient"); {_XCLIENT_SETTING}'
    if backend.identity_required:
        return problem(subject, why)
    return warning(subject, f"{why}; until then all mail seems to come from tlsproxy")


def _relaying(subject: str, backend: BackendConfig, is_open: bool | None) -> Finding:  # noqa: FBT001 - the answer itself
    if is_open is None:
        return warning(subject, "it could not be asked whether it relays for strangers: it refuses MAIL FROM:<>")
    if is_open:
        return warning(subject, f"it is an open relay for what comes from tlsproxy: {relay_hint(backend.identity)}")
    return ok(subject, "it relays nothing for strangers")


def _certified(config: Config) -> set[str]:
    """The names that certificates bear; those that cannot be read are told of elsewhere."""
    names: set[str] = set()
    for files in config.tls.certificates:
        try:
            names.update(load_certificate(files).names)
        except CertificateError:
            continue
    return names


def _list(words: Collection[bytes]) -> str:
    return ", ".join(sorted(readable(word) or "" for word in words))
