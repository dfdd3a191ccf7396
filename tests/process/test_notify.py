"""What systemd is told, and that nobody is missed where there is none."""

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
