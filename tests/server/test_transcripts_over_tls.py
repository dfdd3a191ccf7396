"""Every transcript of a gate or a login through a running proxy: real sockets, real TLS, and what the log says of it.

The fourth way of driving them; the other three, without a network, stand in ``tests/protocols/test_transcripts.py``.
"""

import asyncio
import dataclasses
import itertools
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Final

import pytest
from protocols.transcripts import Room, Speaker, Step, Transcript, load_all
from rig.peers import WITHIN_S, Peer, ScriptedBackend, dial
from rig.pki import Pki
from rig.proxy import RunningProxy, make_config
from rig.recorder import Line

from tlsproxy.core.events import Event
from tlsproxy.core.kinds import LoopKind, ProtocolName
from tlsproxy.core.outcome import Reason
from tlsproxy.core.summary import readable
from tlsproxy.protocols.base import ClientIdentified, Hangup, LoggedIn, LoginFailed, MailProtocol, PasswordExposed
from tlsproxy.protocols.registry import PROTOCOLS
from tlsproxy.protocols.replies import sentence
from tlsproxy.protocols.sasl import known_mechanism
from tlsproxy.server.plan import Plan
from tlsproxy.server.session import Session

# Nothing is said in either direction but this once somebody is logged in: neither protocol could have a part in it.
RAW: Final = b"\x00\xff{9}\r\nDELE 1\r\n"
LISTENERS: Final = {
    (ProtocolName.IMAP, True): "imaps",
    (ProtocolName.IMAP, False): "imap",
    (ProtocolName.POP3, True): "pop3s",
    (ProtocolName.POP3, False): "pop3",
}
START_TLS: Final = {ProtocolName.IMAP: (b"s STARTTLS\r\n", b"s OK"), ProtocolName.POP3: (b"STLS\r\n", b"+OK")}
# What is said behind a STARTTLS, to see that the login phase is whole: greeting, command, answer.
NOOP: Final = {
    ProtocolName.IMAP: (b"* OK old\r\n", b"n NOOP\r\n", b"n OK done\r\n"),
    ProtocolName.POP3: (b"+OK old\r\n", b"NOOP\r\n", b"+OK done\r\n"),
}

VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
LOOPS: Final = (LoopKind.SELECTOR, LoopKind.UVLOOP)


def cases() -> Iterator[Any]:
    """Loops and TLS versions take turns over the files instead of multiplying them."""
    turns = itertools.cycle(itertools.product(LOOPS, VERSIONS))
    for name in PROTOCOLS:
        for transcript in load_all(name):
            if transcript.room is not Room.UPGRADE:
                loop, version = next(turns)
                label = f"{name}/{transcript.name}-{loop}-{version.name}"
                yield pytest.param(PROTOCOLS[name], transcript, loop, version, id=label)


@pytest.fixture(scope="module")
def old_server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as backend:
        yield backend


@pytest.fixture(scope="module")
def proxies(rig_pki: Pki, old_server: ScriptedBackend) -> Iterator[Mapping[LoopKind, RunningProxy]]:
    roomy = {"connection_rate": None, "unauthenticated_per_address": None}
    config = make_config(rig_pki, old_server.address, limits=roomy)
    with ExitStack() as stack:
        yield {kind: stack.enter_context(RunningProxy(config, kind)) for kind in LOOPS}


class Stage:
    """One transcript's client, proxy session and old server."""

    def __init__(
        self,
        protocol: MailProtocol,
        transcript: Transcript,
        proxy: RunningProxy,
        old_server: ScriptedBackend,
        context: ssl.SSLContext,
    ) -> None:
        self.protocol = protocol
        self.transcript = transcript
        self.proxy = proxy
        self.old_server = old_server
        self.context = context
        self.old: Peer | None = None
        self.said = {Speaker.CLIENT: 0, Speaker.BACKEND: 0}
        listener = LISTENERS[protocol.name, transcript.room is Room.LOGIN_IMPLICIT]
        self.lines_before = len(proxy.log.lines(Event.SESSION_CLOSED))
        self.client = dial(proxy.ports[listener])

    def open(self) -> None:
        """Come as far as where the transcript begins."""
        if self.transcript.room is Room.GATE:
            if self.transcript.steps[0].speaker is not None:  # a file need not repeat the greeting
                self.client.line()
            return
        if self.transcript.room is Room.LOGIN_STARTTLS:
            command, answer = START_TLS[self.protocol.name]
            self.client.line()
            self.client.send(command)
            self.said[Speaker.CLIENT] += len(command)
            assert self.client.line().startswith(answer)
        self.secure()

    def secure(self) -> None:
        self.client.secure(self.context)
        self.old = self.old_server.accept()

    def play(self, step: Step) -> None:
        match step.speaker:
            case Speaker.CLIENT:
                self.client.send(step.heard)
            case Speaker.BACKEND:
                assert self.old is not None
                self.old.send(step.heard)
        if step.speaker is not None:
            self.said[step.speaker] += len(step.heard)
        assert self.client.take(len(step.to_client)) == step.to_client
        if step.to_backend:
            assert self.old is not None
            assert self.old.take(len(step.to_backend)) == step.to_backend
        if step != self.transcript.steps[-1]:
            self.proxy.wait_for(self.has_heard())

    async def has_heard(self) -> None:
        """So that a step that shows no result is over before the next one begins."""
        async with asyncio.timeout(WITHIN_S):
            while (session := self.session()) is not None:
                client, backend = session._scene.client, session._scene.backend
                heard = client.bytes_in, backend.bytes_in if backend is not None else 0
                if heard == tuple(self.said.values()):
                    return
                await asyncio.sleep(0.001)

    def session(self) -> Session | None:
        return next(iter(self.proxy.worker.roster._sessions), None)

    def end(self) -> Line:
        """Look at what is left to hear on both sides; returns the one line of the log."""
        match self.transcript.outcome:
            case "starttls":
                self.start_tls()
                self.leave()
            case "logged_in":
                self.relay()
                self.leave()
            case "open":
                self.leave()
        last_words = self.client.rest()
        self.client.close()
        if self.old is not None:
            assert self.old.rest() == b"", "nothing reached the old server but what the transcript says"
        self.close()
        closed = self.proxy.log.wait(Event.SESSION_CLOSED, self.lines_before + 1)[self.lines_before]
        assert last_words == self.parting(closed["session"])
        return closed

    def start_tls(self) -> None:
        """The gate's words are forgotten; a login phase begins that knows nothing of them."""
        self.secure()
        greeting, command, answer = NOOP[self.protocol.name]
        assert self.old is not None
        self.old.send(greeting)
        self.client.send(command)
        assert self.old.line() == command
        self.old.send(answer)
        assert self.client.line() == answer

    def relay(self) -> None:
        assert self.old is not None
        self.client.send(RAW)
        assert self.old.take(len(RAW)) == RAW
        self.old.send(RAW)
        assert self.client.take(len(RAW)) == RAW

    def leave(self) -> None:
        """Half close, so that whatever the proxy would still say can be heard."""
        socket.socket.shutdown(self.client.sock, socket.SHUT_WR)
        if self.transcript.outcome == "logged_in" and self.old is not None:
            assert self.old.rest() == b""
            self.old.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.client.close()
        self.old_server.forget()

    def parting(self, ref: str) -> bytes:
        """What the session says at the end because the Login leaves it to it."""
        if self.transcript.room is Room.GATE or self.transcript.outcome in {"open", "logged_in"}:
            return b""
        login = self.protocol.make_login(self.transcript.limits, self.transcript.room is Room.LOGIN_IMPLICIT)
        for step in self.transcript.steps:
            (login.from_backend if step.speaker is Speaker.BACKEND else login.from_client)(step.heard)
        reason = Reason(self.transcript.outcome)
        return login.parting(reason, sentence(reason, ref))


def limited(plan: Plan, transcript: Transcript) -> Plan:
    """The plan under the transcript's limits, some of which are smaller than a configuration may ask for."""
    return {name: dataclasses.replace(service, limits=transcript.limits) for name, service in plan.items()}


def user_of(name: bytes | None) -> str | None:
    return readable(name) if name is not None else None


def lines_of(log: Any, event: Event, closed: Line, *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(line[key] for key in fields) for line in log.lines(event) if line["session"] == closed["session"]]


@pytest.mark.parametrize(("protocol", "transcript", "loop", "version"), list(cases()))
def test_over_tls(
    proxies: Mapping[LoopKind, RunningProxy],
    old_server: ScriptedBackend,
    rig_pki: Pki,
    closing: Any,
    protocol: MailProtocol,
    transcript: Transcript,
    loop: LoopKind,
    version: ssl.TLSVersion,
) -> None:
    proxy = proxies[loop]
    proxy.call(lambda: setattr(proxy.worker, "plan", limited(proxy.stage.plan, transcript)))
    stage = Stage(protocol, transcript, proxy, old_server, rig_pki.client_context(version))
    try:
        stage.open()
        for step in transcript.steps:
            stage.play(step)
        closed = stage.end()
    finally:
        stage.close()
        proxy.idle()
    is_reason = transcript.outcome not in {"open", "starttls", "logged_in"}
    assert closed["reason"] == (transcript.outcome if is_reason else Reason.CLIENT_CLOSED)
    if transcript.room is Room.GATE and transcript.outcome != "starttls":
        assert closed["phase"] == "dialogue"
        assert closed["backend_address"] is None, "a gate never asks for the old server"
    elif is_reason or transcript.outcome == "logged_in":
        assert closed["phase"] in ({"relay"} if transcript.outcome == "logged_in" else {"connect", "login"})
    check_events(transcript, proxy, closed)


def check_events(transcript: Transcript, proxy: RunningProxy, closed: Line) -> None:
    """The log's lines of this session are those that the ``!:`` lines ask for, and no other."""
    events = [event for step in transcript.steps for event in step.events]
    injected = [(closed["session"],) for event in events if event == Hangup(Reason.STARTTLS_INJECTION)]
    exposed = [(user_of(e.user), known_mechanism(e.mechanism)) for e in events if isinstance(e, PasswordExposed)]
    failed = [
        (user_of(e.user), known_mechanism(e.mechanism), e.is_credential) for e in events if isinstance(e, LoginFailed)
    ]
    logged_in = [(user_of(e.user), known_mechanism(e.mechanism)) for e in events if isinstance(e, LoggedIn)]
    identified = [readable(e.client_id) for e in events if isinstance(e, ClientIdentified)]
    assert lines_of(proxy.log, Event.STARTTLS_INJECTION, closed, "session") == injected
    assert lines_of(proxy.log, Event.PASSWORD_EXPOSED, closed, "user", "mechanism") == exposed
    assert lines_of(proxy.log, Event.LOGIN_FAILED, closed, "user", "mechanism", "credential") == failed
    assert lines_of(proxy.log, Event.LOGIN_SUCCEEDED, closed, "user", "mechanism") == logged_in
    assert closed["client_id"] == (identified[-1] if identified else None)
    assert closed["login_attempts"] == len(failed) + len(logged_in)
