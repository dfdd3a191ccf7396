"""The door: who is handed over, who is turned away and in which words, and what happens on a reload."""

from typing import Any

import pytest
from rig.peers import Peer, ScriptedBackend, dial
from rig.proxy import RunningProxy

from tlsproxy.core.events import Event


def greeted(peer: Peer) -> None:
    assert peer.line().startswith((b"* OK", b"+OK"))


def test_listener_that_is_dropped_and_its_neighbour(make_proxy: Any, closing: Any) -> None:
    proxy: RunningProxy = make_proxy()
    gone = next(place for place, listener in proxy.stage.listeners.items() if listener.name == "imap")
    there = {place: listener for place, listener in proxy.stage.listeners.items() if place != gone}
    inside = closing(dial(proxy.ports["imap"]))
    greeted(inside)
    proxy.call(lambda: proxy.door.change(there, {}, 60.0))
    (stopped,) = proxy.log.lines(Event.LISTENER_STOPPED)
    assert stopped["listener"] == "imap"
    with pytest.raises(ConnectionRefusedError):
        dial(proxy.ports["imap"])
    greeted(closing(dial(proxy.ports["pop3"])))
    inside.send(b"a NOOP\r\n")
    assert inside.line() == b"a OK Nothing done\r\n", "who is inside stays"
    assert proxy.call(proxy.door.places) == frozenset(there)


def test_turned_away_with_one_line(make_proxy: Any, closing: Any) -> None:
    proxy: RunningProxy = make_proxy(limits={"per_address": 1})
    greeted(closing(dial(proxy.ports["imap"])))
    refused = closing(dial(proxy.ports["pop3"]))
    line = refused.line()
    assert refused.rest() == b""
    (closed,) = proxy.log.wait(Event.SESSION_CLOSED)
    assert line.rstrip().endswith(b"ref=" + closed["session"].encode())
    assert (closed["phase"], closed["reason"], closed["bytes_to_client"]) == ("admit", "address_full", len(line))


def test_one_who_is_gone_when_turned_away(make_proxy: Any, backend: ScriptedBackend, closing: Any) -> None:
    proxy: RunningProxy = make_proxy(limits={"per_address": 1})
    greeted(closing(dial(proxy.ports["imap"])))
    for _ in range(5):
        dial(proxy.ports["imap"]).reset()
    closed = proxy.log.wait(Event.SESSION_CLOSED, 5)
    assert {line["reason"] for line in closed} == {"address_full"}
