"""The way to the old server: its addresses one by one, shares of one deadline, and what is told of a failure."""

import asyncio
import errno
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from rig.pki import Pki
from rig.planes import on_both_planes

from tlsproxy.config.model import BackendConfig
from tlsproxy.core.errors import BackendError
from tlsproxy.core.outcome import Reason
from tlsproxy.net import backend as backend_room
from tlsproxy.net.backend import Backend
from tlsproxy.net.lookup import Candidate
from tlsproxy.net.plane import Plane


def make(address: str, timeout_s: float = 5.0, **keys: Any) -> Backend:
    config = BackendConfig.model_validate({"address": address, **keys})
    return Backend("old", config, connect_timeout_s=timeout_s, keepalive_s=60.0)


def listening(closing: Any, backlog: int = 5) -> tuple[socket.socket, int]:
    sock = closing(socket.create_server(("127.0.0.1", 0), backlog=backlog))
    return sock, sock.getsockname()[1]


def full(closing: Any) -> int:
    """A port that answers nobody: its queue is full and never looked at."""
    sock = closing(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(4):
        waiting = closing(socket.socket())
        waiting.settimeout(0)
        waiting.connect_ex(sock.getsockname())
    port: int = sock.getsockname()[1]
    return port


def refusing() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def knows(backend: Backend, *ports: int) -> Backend:
    """As if the name had these addresses."""
    candidates = [Candidate(family=socket.AF_INET, address=("127.0.0.1", port)) for port in ports]
    backend._candidates, backend._candidates_until = candidates, time.monotonic() + 1000
    return backend


async def failure(backend: Backend, plane: Plane) -> tuple[Reason, str]:
    with pytest.raises(BackendError) as caught:
        await backend.connect(plane)
    return caught.value.reason, caught.value.detail


def test_candidates_are_written_as_an_administrator_would() -> None:
    written = {
        "192.0.2.1:143": Candidate(family=socket.AF_INET, address=("192.0.2.1", 143)),
        "[2001:db8::1]:143": Candidate(family=socket.AF_INET6, address=("2001:db8::1", 143, 0, 0)),
        "/run/old": Candidate(family=socket.AF_UNIX, address="/run/old"),
    }
    assert {str(candidate): candidate for candidate in written.values()} == written


@on_both_planes
async def test_connected(plane: Plane, closing: Any, ends: Any) -> None:
    _, port = listening(closing)
    endpoint, candidate = await make(f"127.0.0.1:{port}").connect(plane)
    ends(endpoint)
    assert str(candidate) == f"127.0.0.1:{port}"
    assert endpoint.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    assert endpoint.sock.gettimeout() == 0


@on_both_planes
async def test_unix_socket(plane: Plane, closing: Any, ends: Any, tmp_path: Path) -> None:
    path = tmp_path / "old"
    assert await failure(make(f"unix:{path}"), plane) == (
        Reason.BACKEND_DOWN,
        f"{path}: No such file or directory",
    )
    sock = closing(socket.socket(socket.AF_UNIX))
    sock.bind(str(path))
    sock.listen()
    endpoint, candidate = await make(f"unix:{path}").connect(plane)
    ends(endpoint)
    assert str(candidate) == str(path)


@on_both_planes
async def test_dead_addresses_do_not_use_up_the_time_of_the_living(plane: Plane, closing: Any, ends: Any) -> None:
    _, port = listening(closing)
    backend = knows(make("old.example:143", timeout_s=0.6), full(closing), refusing(), port)
    endpoint, candidate = await backend.connect(plane)
    ends(endpoint)
    assert str(candidate) == f"127.0.0.1:{port}"


@on_both_planes
async def test_each_address_is_named_in_a_failure(plane: Plane, closing: Any) -> None:
    silent, dead = full(closing), refusing()
    backend = knows(make("old.example:143", timeout_s=0.2), silent, dead)
    assert await failure(backend, plane) == (
        Reason.BACKEND_DOWN,
        f"127.0.0.1:{silent}: no answer; 127.0.0.1:{dead}: Connection refused",
    )


@on_both_planes
async def test_all_silent_is_a_time_out(plane: Plane, closing: Any) -> None:
    ports = full(closing), full(closing)
    began = time.monotonic()
    reason, detail = await failure(knows(make("old.example:143", timeout_s=0.2), *ports), plane)
    assert time.monotonic() - began >= 0.19
    assert reason is Reason.BACKEND_TIMEOUT
    assert all(f"127.0.0.1:{port}: no answer" in detail for port in ports[:1])


@on_both_planes
async def test_name_that_nobody_knows(plane: Plane) -> None:
    reason, detail = await failure(make("old.invalid:143"), plane)
    assert reason is Reason.BACKEND_DOWN
    assert detail.startswith("old.invalid:143: ")


@on_both_planes
async def test_names_are_kept_for_a_while_and_longer_in_need(
    plane: Plane, closing: Any, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = listening(closing)
    asked: list[str] = []
    failing: list[Exception] = []

    async def candidates(host: str, asked_port: int) -> list[Candidate]:
        asked.append(host)
        if failing:
            raise failing[0]
        return [Candidate(family=socket.AF_INET, address=("127.0.0.1", asked_port))]

    backend = make(f"old.example:{port}")
    monkeypatch.setattr(backend._lookup, "candidates", candidates)
    for _ in range(3):
        ends((await backend.connect(plane))[0])
    assert asked == ["old.example"]
    monkeypatch.setattr(backend, "_candidates_until", 0.0)
    failing.append(socket.gaierror(socket.EAI_AGAIN, "try again"))
    ends((await backend.connect(plane))[0])
    assert len(asked) == 2, "looked up anew, and what was known is used"
    monkeypatch.setattr(backend, "_candidates", [])
    assert await failure(backend, plane) == (Reason.BACKEND_DOWN, f"old.example:{port}: try again")


@on_both_planes
async def test_look_up_that_takes_too_long(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make("old.example:143", timeout_s=0.02)

    async def candidates(_host: str, _port: int) -> list[Candidate]:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return] # never

    monkeypatch.setattr(backend._lookup, "candidates", candidates)
    assert await failure(backend, plane) == (Reason.BACKEND_TIMEOUT, "no answer within the deadline")


@on_both_planes
async def test_cancelled_attempt_closes_its_socket(plane: Plane, closing: Any) -> None:
    backend = knows(make("old.example:143"), full(closing))
    attempt = asyncio.create_task(backend.connect(plane))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt


@on_both_planes
async def test_immediate_error_of_connect(plane: Plane) -> None:
    """A broadcast address is refused before anything is sent."""
    backend = make("old.example:143")
    candidate = Candidate(family=socket.AF_INET, address=("255.255.255.255", 1))
    backend._candidates, backend._candidates_until = [candidate], time.monotonic() + 1000
    reason, detail = await failure(backend, plane)
    assert reason is Reason.BACKEND_DOWN
    assert (
        detail == f"255.255.255.255:1: {OSError(errno.EACCES, 'Permission denied').strerror}" or "unreachable" in detail
    )


@on_both_planes
async def test_tls_towards_it(plane: Plane, closing: Any, ends: Any, rig_pki: Pki) -> None:
    listener, port = listening(closing)
    keys = {"tls": "implicit", "ca": str(rig_pki.ca_file)}
    backend = make(f"127.0.0.1:{port}", 0.3, **keys)
    assert (backend.wants_tls, backend.wants_upgrade) == (True, False)
    for act, words in (
        (lambda _: None, "no TLS handshake within the deadline"),
        (lambda sock: sock.close(), "closed during the TLS handshake"),
        (lambda sock: sock.send(b"* OK I speak no TLS\r\n"), "wrong_version_number"),
    ):
        endpoint, _ = await backend.connect(plane)
        server = closing(listener.accept()[0])
        act(server)
        with pytest.raises(BackendError) as caught:
            await backend.secure(endpoint)
        assert (caught.value.reason, caught.value.detail) == (Reason.BACKEND_TLS_FAILED, words)
        endpoint.close()


def test_which_name_the_certificate_must_bear(tmp_path: Path) -> None:
    assert make("old.example:993", tls="implicit")._server_name() == "old.example"
    assert make("127.0.0.1:993", tls="starttls", server_name="b.example")._server_name() == "b.example"
    assert make("127.0.0.1:993", tls="starttls").wants_upgrade
    assert make(f"unix:{tmp_path}/x", tls="implicit", verify=False)._server_name() is None
    assert backend_room._why(OSError("odd")) == "odd"
    assert backend_room._why(TimeoutError(110, "Connection timed out")) == "Connection timed out"
