"""Fixtures for all floors."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from rig.kinds import Caller, Closing, ProxyMaker
from rig.peers import Peer, ScriptedBackend, dial
from rig.pki import Pki, make_pki
from rig.proxy import RunningProxy, make_config

from tlsproxy.core.kinds import LoopKind


@pytest.fixture(scope="session")
def rig_pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("rig"))


@pytest.fixture(params=[LoopKind.SELECTOR, LoopKind.UVLOOP])
def loop_kind(request: pytest.FixtureRequest) -> LoopKind:
    kind: LoopKind = request.param
    return kind


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls1.2", "tls1.3"])
def tls_version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    version: ssl.TLSVersion = request.param
    return version


@pytest.fixture(scope="session", autouse=True)
def warmed_up() -> None:
    """uvloop and libuv open a few descriptors with the first loop and keep them for the life of the process."""
    loop = uvloop.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.fixture
def closing() -> Iterator[Closing]:
    """Enter a context for the rest of the test."""
    before = _descriptors()
    with ExitStack() as stack:
        yield stack.enter_context
    assert _descriptors() == before, "descriptors are left open"


@pytest.fixture
def backend(closing: Closing) -> ScriptedBackend:
    found: ScriptedBackend = closing(ScriptedBackend())
    return found


@pytest.fixture
def make_proxy(rig_pki: Pki, backend: ScriptedBackend, loop_kind: LoopKind, closing: Closing) -> ProxyMaker:
    """Start a proxy in front of the scripted backend; sections of the configuration as keyword arguments."""

    def make(**sections: dict[str, Any]) -> RunningProxy:
        proxy: RunningProxy = closing(RunningProxy(make_config(rig_pki, backend.address, **sections), loop_kind))
        return proxy

    return make


@pytest.fixture
def call(rig_pki: Pki, closing: Closing) -> Caller:
    """Connect to a listener of a proxy; on an implicit-TLS one the handshake is made."""

    def connect(proxy: RunningProxy, listener: str, version: ssl.TLSVersion | None = None) -> Peer:
        peer: Peer = closing(dial(proxy.ports[listener]))
        if listener.endswith("s"):
            peer.secure(rig_pki.client_context(version))
        return peer

    return connect


def _descriptors() -> set[str]:
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{fd.name} {fd.readlink()}")
        except FileNotFoundError:
            continue
    return found
