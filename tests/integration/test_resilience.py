"""Restarts, reloads and caps: what a user notices of them is nothing, or one clear line."""

import contextlib
import resource
import signal
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.realmail.backend import Account, deliver
from integration.realmail.clients import Wire
from integration.realmail.dovecot import Dovecot
from integration.realmail.messages import big
from integration.realmail.pki import Pki, make_pki
from integration.realmail.site import Site, SiteMaker, open_site

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("mailbox")]

_CAP = 20
_BURST = 200
_SILENCE_S = 0.5
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture
def frail(pki: Pki, tmp_path: Path) -> Iterator[Site]:
    """A site whose old server the test may stop and start; no tap, so that a stopped server refuses connections."""
    server = Dovecot()
    try:
        server.start()
        site = open_site(server, pki, tmp_path, {"timeouts": {"backend_hold": "3s"}}, has_taps=False)
        try:
            yield site
        finally:
            site.close()
    finally:
        server.discard()


def _login(client: Wire, account: Account, way: str) -> None:
    """Send a login in one go, as a client does that knows the server."""
    user, password = account.user.encode(), account.password.encode()
    if way == "imaps":
        client.send(b"a LOGIN %s %s\r\n" % (user, password))
    else:
        client.send(b"USER %s\r\nPASS %s\r\n" % (user, password))


def _assert_silent(client: Wire) -> None:
    """The client is held: it hears nothing, above all no refusal."""
    client.timeout(_SILENCE_S)
    with pytest.raises(TimeoutError):
        pytest.fail(f"heard {client.line()!r}")
    client.timeout(20)


def _assert_logged_in(client: Wire, way: str) -> None:
    if way == "imaps":
        assert client.until(b"a").startswith(b"a OK")
    else:
        assert client.line().startswith(b"+OK")
        assert client.line().startswith(b"+OK")


@pytest.mark.parametrize("way", ["imaps", "pop3s"])
def test_a_login_during_a_restart_of_the_server_is_held(frail: Site, way: str) -> None:
    account = frail.account()
    watch = frail.watch()
    with Wire(frail, way) as client:
        assert client.line()
        frail.backend.stop()
        # Nor does the client hear of the loss. Only a login that reached the old server before is lost with it.
        _assert_silent(client)
        _login(client, account, way)
        _assert_silent(client)
        frail.backend.start()
        _assert_logged_in(client, way)
    (line,) = watch.closed()
    assert (line["user"], line["login"], line["phase"]) == (account.user, "ok", "relay")
    watch.events("login.failed", 0)


@pytest.mark.parametrize("way", ["imaps", "pop3s"])
def test_a_connection_during_a_restart_of_the_server_is_held(frail: Site, way: str) -> None:
    account = frail.account()
    watch = frail.watch()
    frail.backend.stop()
    with Wire(frail, way) as client:
        _assert_silent(client)
        frail.backend.start()
        assert client.line().startswith((b"* OK", b"+OK"))
        _login(client, account, way)
        _assert_logged_in(client, way)
    (line,) = watch.closed()
    assert (line["user"], line["login"], line["phase"]) == (account.user, "ok", "relay")


@pytest.mark.parametrize(("way", "told"), [("imaps", b"* BYE [UNAVAILABLE]"), ("pop3s", b"-ERR [SYS/TEMP]")])
def test_a_server_that_stays_away_is_not_taken_for_a_wrong_password(frail: Site, way: str, told: bytes) -> None:
    watch = frail.watch()
    frail.backend.stop()
    with Wire(frail, way) as client:
        line = client.line()
    assert line.startswith(told)
    (closed,) = watch.closed()
    assert (closed["phase"], closed["reason"], closed["side"]) == ("connect", "backend_down", "backend")
    assert f"ref={closed['session']}".encode() in line
    assert closed["source_port"] is None


def _burst(site: Site, way: str) -> list[socket.socket]:
    """Many connections as fast as the kernel takes them."""
    return [socket.create_connection(("127.0.0.1", site.ports[way]), 20) for _ in range(_BURST)]


def _first_lines(connections: list[socket.socket]) -> list[bytes]:
    return [connection.makefile("rb").readline() for connection in connections]


@pytest.mark.parametrize("cap", ["total", "per_address"])
@pytest.mark.parametrize("way", ["imap", "pop3"])
def test_a_burst_gives_exactly_the_cap(make_site: SiteMaker, cap: str, way: str) -> None:
    site = make_site(limits={cap: _CAP})
    watch = site.watch()
    for turn in (1, 2):
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(each) for each in _burst(site, way)]
            lines = _first_lines(connections)
        said = Counter(line.split()[1 if way == "imap" else 0] for line in lines)
        assert said == (
            {b"OK": _CAP, b"BYE": _BURST - _CAP} if way == "imap" else {b"+OK": _CAP, b"-ERR": _BURST - _CAP}
        )
        refusals = [line for line in lines if b"ref=" in line]
        assert len(refusals) == _BURST - _CAP
        assert all(b"ref=" in line and str(_CAP).encode() in line for line in refusals)
        # All slots are free before the second burst.
        closed = watch.closed(turn * _BURST)
    reason = "total_full" if cap == "total" else "address_full"
    assert Counter(line["reason"] for line in closed)[reason] == 2 * (_BURST - _CAP)


def test_every_kind_of_ending_frees_the_slot(make_site: SiteMaker) -> None:
    site = make_site(limits={"per_address": 1}, timeouts={"tls_handshake": "1s"})
    watch = site.watch()
    account = site.account()
    endings = ("logout", "rst", "half_close", "rst_in_handshake", "silent_handshake", "rst_logged_in")
    for number, ending in enumerate(endings, 1):
        _end(site, account, ending)
        watch.closed(number)
    with Wire(site, "imaps") as client:
        assert client.line().startswith(b"* OK")
    reasons = [line["reason"] for line in watch.closed(len(endings) + 1)]
    assert reasons[1:5] == ["client_reset", "client_closed", "client_reset", "handshake_timeout"]


def _end(site: Site, account: Account, ending: str) -> None:
    """Come in once and leave in a certain way."""
    if ending in {"logout", "rst_logged_in"}:
        with Wire(site, "imaps") as client:
            client.line()
            client.say(b"a LOGIN %s %s" % (account.user.encode(), account.password.encode()))
            if ending == "logout":
                client.say(b"b LOGOUT")
                client.rest()
            else:
                client.reset()
        return
    way = "imaps" if "handshake" in ending else "imap"
    with socket.create_connection(("127.0.0.1", site.ports[way]), 20) as raw:
        if way == "imap":
            assert raw.recv(200).startswith(b"* OK")
        else:
            raw.sendall(b"\x16\x03\x01")
        if ending.startswith("rst"):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        elif ending == "half_close":
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(1000):
                pass
        else:
            # The deadline ends it; what was sent and never read makes that an RST.
            with contextlib.suppress(ConnectionResetError):
                while raw.recv(1000):
                    pass


def _logged_in(site: Site, account: Account) -> Wire:
    """A client that is logged in, for ``with`` to close."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(Wire(site, "imaps"))
        client.line()
        assert client.say(b"a LOGIN %s %s" % (account.user.encode(), account.password.encode())).startswith(b"a OK")
        stack.pop_all()
    return client


def test_a_stop_says_goodbye_and_ends_well(make_site: SiteMaker) -> None:
    site = make_site(timeouts={"drain": "1s"})
    watch = site.watch()
    with _logged_in(site, site.account()) as client:
        site.program.signal(signal.SIGTERM)
        assert client.rest().startswith(b"* BYE")
        (line,) = watch.closed()
    assert (line["reason"], line["side"], line["phase"]) == ("shutdown", "proxy", "relay")
    assert site.program.events("server.draining")


def test_a_reload_shows_the_new_certificate_and_drops_nobody(make_site: SiteMaker, pki: Pki, tmp_path: Path) -> None:
    site = make_site()
    watch = site.watch()
    new = make_pki(tmp_path)
    assert new.key.name == pki.key.name
    with _logged_in(site, site.account()) as client:
        site.program.rewrite(
            lambda text: text.replace(str(pki.chain), str(new.chain)).replace(str(pki.key), str(new.key))
        )
        site.program.signal(signal.SIGHUP)
        watch.events("config.loaded", 1)
        old, site.pki = site.pki, new
        with Wire(site, "imaps") as fresh:
            assert fresh.line().startswith(b"* OK")
        # The private key of another certificate: nothing changes, and the log says what is wrong.
        site.program.rewrite(lambda text: text.replace(str(new.key), str(old.key)))
        site.program.signal(signal.SIGHUP)
        watch.events("config.rejected", 1)
        with Wire(site, "imaps") as fresh:
            assert fresh.line().startswith(b"* OK")
        assert client.say(b"b NOOP").startswith(b"b OK")
        client.say(b"c LOGOUT")
    watch.closed(3)


def _descriptors(site: Site) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in _processes(site))


def _resident_bytes(site: Site) -> int:
    """The resident memory of the proxy's processes, by proc(5)'s statm, which counts pages."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _processes(site)]
    return sum(pages) * resource.getpagesize()


def _processes(site: Site) -> list[int]:
    """The supervisor and its workers."""
    pid = site.program.pid
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def _come_and_go(site: Site, count: int) -> None:
    """Connections of every kind, in batches that fit into the listening socket's queue."""
    for _ in range(count // 100):
        with contextlib.ExitStack() as stack:
            for number in range(100):
                way = ("imap", "pop3", "imaps", "pop3s")[number % 4]
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", site.ports[way]), 20))
                if number % 3 == 0:
                    raw.sendall(b"x" * 20)
                if number % 5 == 0:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)


def test_five_thousand_connections_leave_nothing_behind(make_site: SiteMaker) -> None:
    # Without caps: thousands of refusals would only be counted, and not have a line each.
    site = make_site(log={"level": "info"}, limits={"unauthenticated_per_address": "none", "per_address": "none"})
    watch = site.watch()
    _come_and_go(site, 1000)
    watch.closed(1000)
    descriptors, resident = _descriptors(site), _resident_bytes(site)
    _come_and_go(site, 5000)
    watch.closed(6000)
    assert _descriptors(site) == descriptors
    assert _resident_bytes(site) - resident < 4 << 20


def test_a_client_that_stops_reading_costs_little_and_disturbs_nobody(make_site: SiteMaker) -> None:
    site = make_site()
    account = site.account()
    deliver(site.backend, account, [big()])
    watch = site.watch()
    with _logged_in(site, account) as lazy, _logged_in(site, account) as busy:
        for client in (lazy, busy):
            client.say(b"b EXAMINE INBOX")
        resident = _resident_bytes(site)
        lazy.send(b"c FETCH 1 BODY.PEEK[]\r\n")
        assert lazy.line().startswith(b"* 1 FETCH")
        busy.timeout(1)
        for number in range(200):
            assert busy.say(b"%d NOOP" % number).startswith(b"%d OK" % number)
        # 20 MB wait at the old server; what the proxy holds of them is a chunk.
        assert _resident_bytes(site) - resident < 4 << 20
        assert lazy.until(b"c").startswith(b"c OK")
        for client in (lazy, busy):
            client.say(b"d LOGOUT")
    watch.closed(2)
