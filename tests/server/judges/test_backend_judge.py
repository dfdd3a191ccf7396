"""Passwords judged by an old server: what comes of what it says, on both data planes."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

import pytest
from rig.peers import ScriptedBackend
from rig.pki import Pki
from rig.planes import on_both_planes, read_all, reset

from tlsproxy.config.model import BackendConfig
from tlsproxy.core.errors import BackendError
from tlsproxy.core.kinds import ProtocolName
from tlsproxy.core.outcome import Reason
from tlsproxy.net.backend import Backend
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.base import MailProtocol
from tlsproxy.protocols.registry import PROTOCOLS
from tlsproxy.server.judges.backend import ServerJudge
from tlsproxy.server.judges.base import Verdict
from tlsproxy.server.way.way import Way

IMAP: Final = PROTOCOLS[ProtocolName.IMAP]
POP3: Final = PROTOCOLS[ProtocolName.POP3]
LOGIN: Final = b'T1 LOGIN "anna" "secret"\r\n'
PASS: Final = b"PASS secret\r\n"
LOGOUT: Final = b"T2 LOGOUT\r\n"
Script = Sequence[tuple[bytes, bytes]]
"""What the old server says, and what it must then hear."""


class KnownHealth:
    def __init__(self) -> None:
        self.down = False
        self.failures: list[tuple[bytes, Reason]] = []
        self.successes: list[str] = []

    def is_down(self) -> bool:
        return self.down

    def failed(self, client: bytes, error: BackendError) -> None:
        self.failures.append((client, error.reason))

    def worked(self, address: str) -> None:
        self.successes.append(address)


class Court:
    """A judge, and an old server that a test plays."""

    def __init__(self, plane: Plane, closing: Any, protocol: Any = IMAP, deadline_s: float = 10.0, **keys: Any) -> None:
        self._closing = closing
        self.sock = closing(socket.create_server(("127.0.0.1", 0)))
        self.sock.settimeout(0)
        address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        config = BackendConfig.model_validate({"address": address} | keys)
        self.health = KnownHealth()
        self.told: list[BackendError] = []
        way = Way(Backend("old", config, connect_timeout_s=5.0, keepalive_s=60.0), self.health)
        self.judge = ServerJudge(way, plane, protocol, deadline_s=deadline_s, tell=self.told.append, at_once=2)

    @property
    def reasons(self) -> list[Reason]:
        return [error.reason for error in self.told]

    def ask(self) -> "asyncio.Task[Verdict]":
        return asyncio.create_task(self.judge.judge(b"anna", b"secret", b"\1"))

    async def accept(self) -> socket.socket:
        connection, _ = await asyncio.get_running_loop().sock_accept(self.sock)
        found: socket.socket = self._closing(connection)
        return found

    async def play(self, script: Script) -> socket.socket:
        loop = asyncio.get_running_loop()
        peer = await self.accept()
        for said, expected in script:
            await loop.sock_sendall(peer, said)
            heard = b""
            while len(heard) < len(expected):
                heard += await loop.sock_recv(peer, 4096)
            assert heard == expected
        return peer


@pytest.mark.parametrize(("answer", "verdict"), [(b"T1 OK in\r\n", Verdict.OK), (b"T1 NO wrong\r\n", Verdict.WRONG)])
@on_both_planes
async def test_imap(plane: Plane, closing: Any, answer: bytes, verdict: Verdict) -> None:
    court = Court(plane, closing)
    asked = court.ask()
    peer = await court.play([(b"* OK old\r\n", LOGIN), (answer, LOGOUT)])
    await asyncio.get_running_loop().sock_sendall(peer, b"* BYE\r\nT2 OK\r\n")
    assert await read_all(peer) == b"", "asked once, then a goodbye and a FIN"
    peer.close()
    assert await asked is verdict
    assert court.told == []
    assert court.health.successes


@on_both_planes
async def test_pop3(plane: Plane, closing: Any) -> None:
    court = Court(plane, closing, POP3)
    asked = court.ask()
    script = [(b"+OK\r\n", b"USER anna\r\n"), (b"+OK\r\n", b"PASS secret\r\n"), (b"+OK\r\n", b"QUIT\r\n")]
    peer = await court.play(script)
    peer.close()
    assert await asked is Verdict.OK


@pytest.mark.parametrize("protocol", [IMAP, POP3])
@on_both_planes
async def test_under_tls_that_starts_with_a_command(
    plane: Plane, closing: Any, backend: ScriptedBackend, rig_pki: Pki, protocol: MailProtocol
) -> None:
    """The greeting was heard before TLS; the judge goes on with the one that the way gives it."""
    is_imap = protocol is IMAP
    court = Court(plane, closing, protocol, address=backend.address, tls="starttls", verify=False)
    asked = court.ask()

    def play() -> None:
        peer = backend.accept(b"* OK [CAPABILITY LOGINDISABLED] old\r\n" if is_imap else b"+OK old\r\n")
        assert peer.line() == (b"T1 STARTTLS\r\n" if is_imap else b"STLS\r\n")
        peer.send(b"T1 OK go\r\n" if is_imap else b"+OK go\r\n")
        peer.secure_as_server(server_context(rig_pki))
        answers = [(LOGIN, b"T1 OK in\r\n")] if is_imap else [(b"USER anna\r\n", b"+OK\r\n"), (PASS, b"+OK\r\n")]
        for expected, answer in answers:
            assert peer.line() == expected
            peer.send(answer)
        assert peer.line() == (LOGOUT if is_imap else b"QUIT\r\n")
        peer.close()

    await asyncio.to_thread(play)
    assert await asked is Verdict.OK


def server_context(pki: Pki) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki.chain, pki.key)
    return context


@on_both_planes
async def test_the_verdict_stands_whatever_the_goodbye_is_answered(plane: Plane, closing: Any) -> None:
    court = Court(plane, closing, deadline_s=0.5)
    asked = court.ask()
    peer = await court.play([(b"* OK old\r\n", LOGIN), (b"T1 OK in\r\n", LOGOUT)])
    assert await asked is Verdict.OK, "it lingers longer than the deadline, and not for ever"
    assert await read_all(peer) == b""


@pytest.mark.parametrize(
    ("script", "end", "reason"),
    [
        ([(b"* BYE full\r\n", b"")], "wait", Reason.BACKEND_REFUSED),
        ([(b"* OK old\r\n", LOGIN), (b"T1 NO [UNAVAILABLE] later\r\n", b"")], "wait", Reason.BACKEND_REFUSED),
        ([(b"+OK pop3\r\n", b"")], "wait", Reason.BACKEND_GARBAGE),
        ([(b"* OK old\r\n", LOGIN)], "close", Reason.BACKEND_CLOSED),
        ([(b"* OK old\r\n", LOGIN)], "reset", Reason.BACKEND_RESET),
        ([(b"* OK old\r\n", LOGIN)], "wait", Reason.BACKEND_TIMEOUT),
        ([], "wait", Reason.BACKEND_TIMEOUT),
    ],
)
@on_both_planes
async def test_no_verdict(plane: Plane, closing: Any, script: Script, end: str, reason: Reason) -> None:
    court = Court(plane, closing, deadline_s=0.3 if reason is Reason.BACKEND_TIMEOUT else 10.0)
    asked = court.ask()
    peer = await court.play(script)
    if end == "close":
        peer.close()
    elif end == "reset":
        reset(peer)
    assert await asked is Verdict.UNAVAILABLE
    assert court.reasons == [reason]
    assert "secret" not in f"{court.told[0]}{court.told[0]!r}"


@on_both_planes
async def test_backend_that_is_down(plane: Plane, closing: Any) -> None:
    court = Court(plane, closing)
    court.sock.close()
    assert await court.ask() is Verdict.UNAVAILABLE
    assert court.health.failures == [(b"\1", Reason.BACKEND_DOWN)]
    court.health.down = True
    assert await court.ask() is Verdict.UNAVAILABLE
    assert court.health.failures == [(b"\1", Reason.BACKEND_DOWN)], "nobody tries"
    assert court.reasons == [Reason.BACKEND_DOWN] * 2


@on_both_planes
async def test_few_at_once(plane: Plane, closing: Any) -> None:
    court = Court(plane, closing)
    asked = [court.ask() for _ in range(3)]
    first, second = await court.accept(), await court.accept()
    await asyncio.sleep(0.05)
    with pytest.raises(BlockingIOError):
        court.sock.accept()
    first.close()
    third = await court.accept()
    second.close()
    third.close()
    assert await asyncio.gather(*asked) == [Verdict.UNAVAILABLE] * 3


@on_both_planes
async def test_a_client_that_leaves_takes_the_connection_with_it(plane: Plane, closing: Any) -> None:
    court = Court(plane, closing)
    asked = court.ask()
    peer = await court.play([(b"* OK old\r\n", LOGIN)])
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await read_all(peer) == b""
    assert court.told == []
