"""What systemd is told, and that nobody is missed where there is none."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tlsproxy.process import notify


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, closing: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    sock = closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    sock.settimeout(5)
    name = str(tmp_path / "notify") if request.param == "path" else f"@tlsproxy-test-{os.getpid()}"
    sock.bind("\0" + name[1:] if name.startswith("@") else name)
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    return sock


def test_states(systemd: socket.socket) -> None:
    notify.ready()
    assert systemd.recv(100) == b"READY=1"
    notify.reloading()
    first, _, second = systemd.recv(100).partition(b"\n")
    assert first == b"RELOADING=1"
    key, _, value = second.partition(b"=")
    assert key == b"MONOTONIC_USEC"
    assert int(value) > 0
    notify.stopping()
    assert systemd.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify", "@nobody-listens-here", "x" * 200])
def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, closing: Any, address: str | None) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.ready()


@pytest.fixture
def watched(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    systemd.settimeout(0)
    return systemd


async def signs(systemd: socket.socket, count: int) -> None:
    async with asyncio.timeout(5):
        for _ in range(count):
            assert await asyncio.get_running_loop().sock_recv(systemd, 100) == b"WATCHDOG=1"


async def silence(systemd: socket.socket) -> None:
    await asyncio.sleep(0.05)
    with pytest.raises(BlockingIOError):
        systemd.recv(100)


async def test_signs_of_life(watched: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    began = asyncio.get_running_loop().time()
    with notify.Watchdog():
        await signs(watched, 4)
    assert asyncio.get_running_loop().time() - began >= 0.025, "twice in each period, the first at once"
    with contextlib.suppress(BlockingIOError):
        watched.recv(100)
    await silence(watched)


@pytest.mark.parametrize(
    ("key", "value"), [("WATCHDOG_PID", "1"), ("WATCHDOG_USEC", ""), ("WATCHDOG_USEC", "x"), ("WATCHDOG_USEC", "0")]
)
async def test_nobody_waits_for_signs(
    watched: socket.socket, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    monkeypatch.setenv(key, value)
    with notify.Watchdog():
        await silence(watched)
