"""Sessions that are stopped at awkward moments: the stop is heard, and nothing comes after it."""

from typing import Final

import pytest
from rig.kinds import Caller, ProxyMaker
from rig.peers import ScriptedBackend
from rig.proxy import RunningProxy

from tlsproxy.core.outcome import Reason
from tlsproxy.net.plane import READ
from tlsproxy.server.session import Session

GREETING: Final = b"* OK old\r\n"


def session(proxy: RunningProxy) -> Session:
    (found,) = proxy.worker.roster._sessions
    assert isinstance(found, Session)
    return found


def evict(proxy: RunningProxy) -> None:
    ticket = session(proxy).ticket
    assert ticket is not None
    proxy.worker.evict(ticket.id, "7")


def be_late(proxy: RunningProxy) -> None:
    opening = session(proxy)._scene
    opening._deadline.until = 0.0  # type: ignore[union-attr] # it is one
    proxy._plane.deadlines._look()


@pytest.mark.parametrize(("stop", "reason"), [(evict, Reason.UNAUTHENTICATED_FULL), (be_late, Reason.LOGIN_TIMEOUT)])
def test_stop_behind_what_the_client_said(make_proxy: ProxyMaker, call: Caller, stop: object, reason: Reason) -> None:
    """In one batch of events: the client's bytes, and the word or the moment that ends it."""
    proxy = make_proxy(timeouts={"login": 600.0, "login_stressed": 600.0})
    client = call(proxy, "imap")
    client.line()

    def batch() -> None:
        client.send(b"a NOOP\r\n")
        while not session(proxy)._scene.client.bytes_in:
            session(proxy)._scene.client.ready(READ)
        stop(proxy)  # type: ignore[operator] # one of two

    proxy.call(batch)
    assert client.line().startswith(b"a OK"), "what it asked before is answered"
    assert client.line().startswith(b"* BYE")
    client.close()
    assert proxy.log.closed()["reason"] == reason
    proxy.idle()


def test_yes_that_comes_behind_a_goodbye(make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller) -> None:
    """The client was told that it may not stay; that the backend would have taken it changes nothing."""
    proxy = make_proxy()
    client = call(proxy, "imaps")
    old = backend.accept(GREETING)
    client.line()
    client.send(b"a LOGIN joe word\r\n")
    old.line()
    proxy.call(lambda: session(proxy).stop(Reason.SHUTDOWN))
    assert client.line().startswith(b"a NO [UNAVAILABLE]")
    assert client.line().startswith(b"* BYE")
    old.send(b"a OK in\r\n")
    assert client.rest() == b""
    client.close()
    closed = proxy.log.closed()
    assert (closed["reason"], closed["login"]) == ("shutdown", "none")
    proxy.idle()
