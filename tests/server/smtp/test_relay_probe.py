"""The question whether an old server is an open relay: asked as a stranger, taken back, never a message."""

import socket
from typing import Any

import pytest
from rig.oldsmtp import OldSmtp
from rig.planes import on_both_planes
from rig.recorder import Recorder

from tlsproxy.config.model import BackendConfig
from tlsproxy.core.errors import BackendError
from tlsproxy.core.events import Event
from tlsproxy.net.backend import Backend
from tlsproxy.net.plane import Plane
from tlsproxy.server.smtp.delivering import relay_probe as room
from tlsproxy.server.smtp.delivering.relay_probe import is_open_relay, warn_if_open
from tlsproxy.server.way.way import Way


class _Health:
    def is_down(self) -> bool:
        return False

    def failed(self, client: bytes, error: BackendError) -> None: ...

    def worked(self, address: str) -> None: ...


def way_to(address: str, **keys: Any) -> Way:
    config = BackendConfig.model_validate({"address": address, **keys})
    return Way(Backend("smtp", config, connect_timeout_s=5.0, keepalive_s=60.0), _Health())


def _proxy_line(connection: socket.socket) -> bytes:
    heard = b""
    while not heard.endswith(b"\n"):
        heard += connection.recv(1)
    return heard


@on_both_planes
@pytest.mark.parametrize("is_open", [False, True])
async def test_asked_and_taken_back(plane: Plane, is_open: bool) -> None:  # noqa: FBT001 - a row of the table
    with OldSmtp(is_open=is_open) as old:
        assert await is_open_relay(plane, way_to(old.address), "mx.example.org") is is_open
    assert old.heard == [
        b"EHLO mx.example.org",
        b"MAIL FROM:<>",
        b"RCPT TO:<postmaster@example.net>",
        b"RSET",
        b"QUIT",
    ]


@on_both_planes
async def test_asked_as_a_stranger_where_strangers_are_told_of(plane: Plane) -> None:
    with OldSmtp(offers=[b"XCLIENT NAME ADDR PORT PROTO HELO"], is_open=True) as old:
        assert await is_open_relay(plane, way_to(old.address, identity="xclient"), "mx.example.org")
    (xclient,) = [line for line in old.heard if line.startswith(b"XCLIENT")]
    assert b" ADDR=192.0.2.1" in xclient
    assert b" NAME=[UNAVAILABLE]" in xclient
    with OldSmtp(is_open=True) as old:
        old.first_words = _proxy_line
        assert await is_open_relay(plane, way_to(old.address, identity="proxy-v1"), "mx.example.org")
    assert old.heard_first == [b"PROXY TCP4 192.0.2.1 192.0.2.1 49152 49152\r\n"]


@on_both_planes
async def test_one_that_takes_no_strangers_is_asked_as_sessions_would(plane: Plane) -> None:
    with OldSmtp(is_open=True) as old:
        assert await is_open_relay(plane, way_to(old.address, identity="xclient"), "mx.example.org") is None
        way = way_to(old.address, identity="xclient", identity_required=False)
        assert await is_open_relay(plane, way, "mx.example.org") is True


@on_both_planes
@pytest.mark.parametrize("verb", [b"EHLO", b"MAIL"])
async def test_one_that_cannot_be_asked(plane: Plane, verb: bytes) -> None:
    with OldSmtp() as old:
        old.answers = {verb: b"421 go away\r\n"}
        assert await is_open_relay(plane, way_to(old.address), "mx.example.org") is None
    log = Recorder()
    await warn_if_open(plane, way_to(old.address), "mx.example.org", log)
    assert log.lines(Event.RELAY_EXPOSED) == [], "nobody is there any more"


@on_both_planes
async def test_silence_is_not_waited_for_for_ever(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_LIMIT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        assert await is_open_relay(plane, way_to(f"{host}:{port}"), "mx.example.org") is None


@on_both_planes
@pytest.mark.parametrize(
    ("identity", "words"), [("none", "it takes tlsproxy's address for one of its own"), ("xclient", "for strangers")]
)
async def test_told_with_the_settings_to_look_at(plane: Plane, identity: str, words: str) -> None:
    log = Recorder()
    with OldSmtp(offers=[b"XCLIENT ADDR"], is_open=True) as old:
        await warn_if_open(plane, way_to(old.address, identity=identity), "mx.example.org", log)
        old.is_open = False
        await warn_if_open(plane, way_to(old.address, identity=identity), "mx.example.org", log)
    (line,) = log.lines(Event.RELAY_EXPOSED)
    assert (line["level"], line["backend"], line["address"]) == ("warning", "smtp", old.address)
    assert words in line["hint"]
    assert "mynetworks" in line["hint"]
