"""Caps at the door: exact, told truthfully, and released by every kind of ending."""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from rig.kinds import Caller, Closing, ProxyMaker
from rig.peers import Peer, ScriptedBackend, dial
from rig.pki import Pki

from tlsproxy.core.events import Event

GREETING: Final = b"* OK old\r\n"
ROOMY: Final = {"unauthenticated_per_address": None, "connection_rate": None}


def burst(port: int, count: int, closing: Closing) -> list[Peer]:
    """Connect as fast as one can, before anybody is listened to."""
    return [closing(dial(port)) for _ in range(count)]


@pytest.mark.parametrize("key", ["per_address", "total", "unauthenticated_per_address"])
def test_burst_is_cut_exactly(make_proxy: ProxyMaker, closing: Closing, key: str) -> None:
    cap = 7
    limits = {**ROOMY, key: cap}
    proxy = make_proxy(limits=limits)
    peers = burst(proxy.ports["imap"], 10 * cap, closing)
    firsts = [peer.line() for peer in peers]
    assert sum(line.startswith(b"* OK [CAPABILITY") for line in firsts) == cap
    refused = [line for line in firsts if not line.startswith(b"* OK")]
    number = {
        "total": b"All 7 connections are in use",
        "per_address": b"Too many connections from your address (7)",
        "unauthenticated_per_address": b"Too many connections from your address wait for a login (7)",
    }[key]
    assert all(line.startswith(b"* BYE [UNAVAILABLE] " + number) for line in refused)
    refs = {line.rstrip().rpartition(b"ref=")[2].decode() for line in refused}
    assert len(refs) == 9 * cap
    closed = proxy.log.wait(Event.SESSION_CLOSED, 9 * cap)
    assert {line["session"] for line in closed} == refs
    assert {(line["phase"], line["level"]) for line in closed} == {("admit", "warning")}
    for peer in peers:
        peer.close()
    proxy.log.wait(Event.SESSION_CLOSED, 10 * cap)
    proxy.idle()


def test_pop3_words_it_its_own_way(make_proxy: ProxyMaker, closing: Closing) -> None:
    proxy = make_proxy(limits={"per_address": 1})
    first, second = burst(proxy.ports["pop3"], 2, closing)
    assert first.line() == b"+OK ready\r\n"
    assert second.line().startswith(b"-ERR [SYS/TEMP] Too many connections from your address (1)")
    assert second.rest() == b""
    first.close()
    proxy.idle()


def test_rate(make_proxy: ProxyMaker, closing: Closing) -> None:
    proxy = make_proxy(limits={"connection_rate": "2/1h", "connection_burst": 3, "unauthenticated_per_address": None})
    lines = [peer.line() for peer in burst(proxy.ports["imap"], 6, closing)]
    assert sum(line.startswith(b"* OK") for line in lines) == 3
    assert sum(line.startswith(b"* BYE [UNAVAILABLE] Your address connects too often (2 per") for line in lines) == 3
    other = closing(dial(proxy.ports["imap"], source="127.0.0.9"))
    assert other.line().startswith(b"* OK"), "another address has a bucket of its own"


def test_allowed_network_is_exempt(make_proxy: ProxyMaker, closing: Closing) -> None:
    proxy = make_proxy(limits={"per_address": 1, "connection_rate": "1/1h", "allow": ["127.0.0.8/32"]})
    peers = [closing(dial(proxy.ports["imap"], source="127.0.0.8")) for _ in range(5)]
    assert all(peer.line().startswith(b"* OK") for peer in peers)


def test_tls_port_tells_one_and_closes_the_others(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, closing: Closing
) -> None:
    """A text costs a handshake there: one an address in ten seconds gets it, the rest is closed at once."""
    proxy = make_proxy(limits={"per_address": 1})
    first = call(proxy, "imaps")
    backend.accept(GREETING)
    first.line()
    told = call(proxy, "imaps")
    assert told.line().startswith(b"* BYE [UNAVAILABLE] Too many connections from your address (1)")
    assert told.rest() == b""
    told.close()
    silent = closing(dial(proxy.ports["imaps"]))
    with contextlib.suppress(ConnectionError):
        assert silent.rest() == b""
    closed = proxy.log.wait(Event.SESSION_CLOSED, 2)
    assert {(line["phase"], line["reason"]) for line in closed} == {("admit", "address_full")}
    first.close()
    proxy.log.wait(Event.SESSION_CLOSED, 3)
    proxy.idle()


def test_oldest_stranger_goes_first(
    make_proxy: ProxyMaker, backend: ScriptedBackend, call: Caller, closing: Closing
) -> None:
    proxy = make_proxy(limits={"unauthenticated": 2})
    user = call(proxy, "imaps")
    old = backend.accept(GREETING)
    user.line()
    user.send(b"a LOGIN joe word\r\n")
    old.line()
    old.send(b"a OK in\r\n")
    user.line()
    oldest, second = burst(proxy.ports["imap"], 2, closing)
    assert oldest.line().startswith(b"* OK")
    assert second.line().startswith(b"* OK")
    third = closing(dial(proxy.ports["imap"]))
    assert third.line().startswith(b"* OK")
    assert oldest.line().startswith(b"* BYE [UNAVAILABLE] Too many connections are waiting for a login (2)")
    assert oldest.rest() == b""
    (closed,) = proxy.log.wait(Event.SESSION_CLOSED)
    assert (closed["reason"], closed["level"]) == ("unauthenticated_full", "warning")
    user.send(b"b NOOP\r\n")
    assert old.line() == b"b NOOP\r\n", "who has logged in stays"
    for peer in (user, old, oldest, second, third):
        peer.close()
    proxy.log.wait(Event.SESSION_CLOSED, 4)
    proxy.idle()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def clean(peer: Peer) -> None:
    peer.close()


def reset(peer: Peer) -> None:
    peer.reset()


def half_closed(peer: Peer) -> None:
    peer.sock.shutdown(socket.SHUT_WR)


def mid_handshake(peer: Peer) -> None:
    peer.send(b"\x16\x03\x01\x02\x00\x01")
    peer.close()


def not_tls(peer: Peer) -> None:
    peer.send(os.urandom(10) + b"\n")


@pytest.mark.parametrize("ending", [clean, reset, half_closed, mid_handshake, not_tls])
@pytest.mark.parametrize("listener", ["imap", "imaps", "pop3", "pop3s"])
def test_every_ending_frees_the_place(
    make_proxy: ProxyMaker, closing: Closing, ending: Callable[[Peer], None], listener: str
) -> None:
    proxy = make_proxy(limits={**ROOMY, "per_address": 3})
    for round_number in range(1, 4):
        peers = burst(proxy.ports[listener], 3, closing)
        for peer in peers:
            with contextlib.suppress(OSError):
                ending(peer)
        closed = proxy.log.wait(Event.SESSION_CLOSED, 3 * round_number)
        assert "admit" not in {line["phase"] for line in closed}
        proxy.idle()


def test_two_thousand_connections_leave_nothing(
    make_proxy: ProxyMaker, backend: ScriptedBackend, rig_pki: Pki, closing: Closing
) -> None:
    """Of every kind in turn; afterwards descriptors and tables are where they were."""
    proxy = make_proxy(limits=ROOMY)
    context = rig_pki.client_context()

    def round_of(count: int) -> None:
        for number in range(count):
            with dial(proxy.ports[("imap", "imaps")[number % 2]]) as peer:
                if number % 4 == 1:
                    peer.secure(context)
                    backend.accept(GREETING).close()
                elif number % 5 == 0:
                    peer.reset()
        proxy.log.wait(Event.SESSION_CLOSED, count)
        proxy.idle()

    round_of(200)
    before = open_descriptors()
    backend.forget()
    round_of(1800)
    backend.forget()
    assert open_descriptors() <= before


def test_descriptors_run_out(make_proxy: ProxyMaker, closing: Closing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepting pauses, says so, and goes on."""
    proxy = make_proxy()
    failures = iter([OSError(24, "Too many open files")])
    (acceptor,) = {entrance.acceptor for entrance in proxy.door._open.values() if entrance.name == "imap"}
    real = acceptor._accept

    def accept() -> Any:
        if error := next(failures, None):
            raise error
        return real()

    monkeypatch.setattr(acceptor, "_accept", accept)
    peer = closing(dial(proxy.ports["imap"]))
    assert peer.line().startswith(b"* OK")
    (paused,) = proxy.log.wait(Event.LISTENER_PAUSED)
    assert (paused["listener"], paused["error"], paused["level"]) == ("imap", "Too many open files", "error")
    peer.close()
    proxy.log.wait(Event.SESSION_CLOSED)
    proxy.idle()


def test_not_a_word_in_clear_on_a_tls_port(make_proxy: ProxyMaker, closing: Closing) -> None:
    """Even who is dropped before it could say anything hears nothing where TLS is expected."""
    proxy = make_proxy(limits={"unauthenticated": 2})
    peers = burst(proxy.ports["imaps"], 12, closing)
    proxy.log.wait(Event.SESSION_CLOSED, 10)
    for peer in peers[:10]:
        with contextlib.suppress(ConnectionError):
            assert peer.rest() == b""
    for peer in peers:
        peer.close()
    proxy.log.wait(Event.SESSION_CLOSED, 12)
    proxy.idle()


def test_who_is_told_must_be_gone_soon(make_proxy: ProxyMaker, closing: Closing) -> None:
    """It has no ticket, so that its descriptor is one of the few in reserve."""
    proxy = make_proxy(limits={"per_address": 1})
    first = closing(dial(proxy.ports["imap"]))
    first.line()
    silent = closing(dial(proxy.ports["imaps"]))
    assert silent.rest() == b""
    (closed,) = proxy.log.wait(Event.SESSION_CLOSED)
    assert closed["reason"] == "handshake_timeout"
    assert closed["duration"] < 5
    first.close()
    proxy.log.wait(Event.SESSION_CLOSED, 2)
    proxy.idle()
