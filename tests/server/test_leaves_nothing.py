"""A session that is over is gone: nothing of it waits for the garbage collector, whatever it ended by."""

import asyncio
import gc
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from rig.kinds import Caller, Closing, ProxyMaker
from rig.peers import Peer, ScriptedBackend, dial
from rig.proxy import RunningProxy

from tlsproxy.core.outcome import Reason
from tlsproxy.core.summary import Summary
from tlsproxy.net.endpoint import Endpoint
from tlsproxy.net.relay import Relay
from tlsproxy.server.exchange import Exchange
from tlsproxy.server.opening import Opening
from tlsproxy.server.session import Session

GREETING: Final = b"* OK [CAPABILITY IMAP4rev1] old\r\n"
OURS: Final = (Session, Opening, Exchange, Relay, Endpoint, Summary)


@pytest.fixture(autouse=True)
def before() -> Iterator[list[Any]]:
    """What other tests of this process hold; no collector from here on."""
    gc.collect()
    gc.disable()
    yield ours()
    gc.enable()


def ours() -> list[Any]:
    return [each for each in gc.get_objects() if isinstance(each, OURS)]


class Scene:
    def __init__(self, proxy: RunningProxy, backend: ScriptedBackend, client: Peer) -> None:
        self.proxy = proxy
        self.backend = backend
        self.client = client

    def log_in(self) -> Peer:
        old = self.backend.accept(GREETING)
        self.client.line()
        self.client.send(b"a LOGIN joe x\r\n")
        old.line()
        old.send(b"a OK in\r\n")
        self.client.line()
        return old

    def session(self) -> Session:
        return next(iter(self.proxy.worker.roster._sessions))


def closes_at_once(scene: Scene) -> None:
    scene.client.close()


def closes_its_side(scene: Scene) -> None:
    scene.client.sock.shutdown(1)


def resets_before_login(scene: Scene) -> None:
    scene.backend.accept(GREETING)
    scene.client.line()
    scene.client.reset()


def is_refused(scene: Scene) -> None:
    old = scene.backend.accept(GREETING)
    scene.client.line()
    for tag in (b"a", b"b", b"c"):
        scene.client.send(tag + b" LOGIN joe x\r\n")
        old.line()
        old.send(tag + b" NO\r\n")
    scene.client.rest()
    scene.client.close()


def logs_out(scene: Scene) -> None:
    old = scene.log_in()
    scene.client.send(b"b LOGOUT\r\n")
    old.line()
    old.send(b"* BYE\r\nb OK\r\n")
    old.close()
    scene.client.rest()
    scene.client.close()


def closes_in_relay(scene: Scene) -> None:
    old = scene.log_in()
    scene.client.close()
    old.rest()
    old.close()


def loses_its_backend(scene: Scene) -> None:
    scene.log_in().reset()
    scene.client.rest()
    scene.client.close()


def is_stopped(scene: Scene) -> None:
    scene.log_in()
    scene.proxy.call(lambda: scene.session().stop(Reason.SHUTDOWN))
    assert b"BYE" in scene.client.rest()
    scene.client.close()


def is_evicted(scene: Scene) -> None:
    scene.backend.accept(GREETING)
    scene.client.line()
    scene.proxy.call(lambda: scene.session().stop(Reason.UNAUTHENTICATED_FULL, "512"))
    scene.client.rest()
    scene.client.close()


def is_late(scene: Scene) -> None:
    scene.backend.accept(GREETING)
    scene.client.line()
    scene.client.rest()
    scene.client.close()


LIFE = (closes_at_once, resets_before_login, is_refused, logs_out, closes_in_relay, loses_its_backend, is_stopped)
LIFE += (is_evicted, is_late)


@pytest.mark.parametrize("life", LIFE)
def test_over_tls(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, life: Callable[[Scene], None], before: list[Any]
) -> None:
    limits = {"login": 0.3, "login_stressed": 0.3} if life is is_late else {"backend_hold": 0.1}
    proxy = make_proxy(timeouts=limits)
    life(Scene(proxy, backend, call(proxy, "imaps", ssl.TLSVersion.TLSv1_3)))
    assert_gone(proxy, before)


@pytest.mark.parametrize("life", [closes_at_once, closes_its_side])
@pytest.mark.parametrize("listener", ["imap", "imaps"])
def test_before_tls(
    make_proxy: ProxyMaker,
    backend: ScriptedBackend,
    closing: Closing,
    life: Callable[[Scene], None],
    listener: str,
    before: list[Any],
) -> None:
    proxy = make_proxy()
    life(Scene(proxy, backend, closing(dial(proxy.ports[listener]))))
    assert_gone(proxy, before)


def test_without_a_backend(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, before: list[Any]) -> None:
    backend.close()
    proxy = make_proxy(timeouts={"backend_hold": 0.0})
    client = call(proxy, "imaps")
    client.rest()
    client.close()
    assert_gone(proxy, before)


def assert_gone(proxy: RunningProxy, before: list[Any]) -> None:
    proxy.log.closed()
    proxy.idle()
    proxy.wait_for(turns())
    known = {id(each) for each in before}
    assert [type(each) for each in ours() if id(each) not in known] == []


async def turns() -> None:
    """Until the last task has ended too."""
    for _ in range(3):
        await asyncio.sleep(0)
