"""What a worker's SMTP sessions work with: kept over reloads where nothing changed, and watched."""

import socket
from typing import Any

import pytest
from rig.pki import Pki
from rig.planes import on_both_planes
from rig.recorder import Recorder
from rig.smtpscene import smtp_config

from tlsproxy.config.model import Config
from tlsproxy.core.errors import BackendError
from tlsproxy.core.events import Event
from tlsproxy.net.backend import Backend
from tlsproxy.net.plane import Plane
from tlsproxy.senders.passwords.book import parse_book
from tlsproxy.senders.passwords.hashes import Scrypt, hash_password
from tlsproxy.server.judges.base import Verdict
from tlsproxy.server.smtp.tools import Toolbox
from tlsproxy.server.way.way import Way

NOBODY = "127.0.0.1:1"
DNS = {"servers": ["127.0.0.1:5353"]}


class Health:
    """Takes no notice."""

    def is_down(self) -> bool:
        return False

    def failed(self, client: bytes, error: BackendError) -> None: ...

    def worked(self, address: str) -> None: ...


def made(pki: Pki, address: str = NOBODY, **sections: Any) -> Config:
    return smtp_config(pki, address, **{"dns": DNS, **sections})


def ways_of(config: Config) -> dict[str, Way]:
    return {
        name: Way(Backend(name, backend, connect_timeout_s=0.3, keepalive_s=60.0), Health())
        for name, backend in config.backend.items()
    }


@on_both_planes
async def test_what_is_the_same_is_kept(plane: Plane, rig_pki: Pki) -> None:
    toolbox, config = Toolbox(plane, Recorder()), made(rig_pki)
    ways = ways_of(config)
    first, second = (toolbox.tools(config, ways, None) for _ in range(2))
    assert first.lookup == second.lookup
    assert first.knowledge == second.knowledge
    assert set(first.knowledge) == {"strangers", "users"}
    toolbox.close()


@on_both_planes
async def test_what_has_changed_is_made_anew(plane: Plane, rig_pki: Pki) -> None:
    toolbox, config = Toolbox(plane, Recorder()), made(rig_pki)
    ways = ways_of(config)
    first = toolbox.tools(config, ways, None)
    other_way = {**ways, "users": ways_of(config)["users"]}
    second = toolbox.tools(made(rig_pki, dns={"servers": ["127.0.0.1:5354"]}), other_way, None)
    assert first.lookup != second.lookup
    assert first.knowledge["strangers"] is second.knowledge["strangers"]
    assert first.knowledge["users"] is not second.knowledge["users"]
    third = toolbox.tools(made(rig_pki, smtp={"hostname": "other.example"}), other_way, None)
    assert second.knowledge["users"] is not third.knowledge["users"]
    toolbox.close()


@on_both_planes
async def test_without_smtp_there_is_nothing_to_make(plane: Plane, rig_pki: Pki) -> None:
    toolbox = Toolbox(plane, Recorder())
    tables = {
        "tls": {"certificates": [{"chain": str(rig_pki.chain), "key": str(rig_pki.key)}]},
        "backend": {"imap": {"address": NOBODY}},
    }
    tools = toolbox.tools(Config.model_validate(tables), {}, None)
    assert tools.judge is None
    assert tools.knowledge == {}
    toolbox.close()


@on_both_planes
async def test_name_servers_that_fail_are_told_of_once_a_minute(plane: Plane, rig_pki: Pki) -> None:
    log = Recorder()
    toolbox, config = Toolbox(plane, log), made(rig_pki)
    toolbox.tools(config, ways_of(config), None)
    assert toolbox._dns is not None
    tally = toolbox._dns[1].tally
    for asked, failed in ((9, 9), (20, 10), (20, 11), (0, 0), (30, 30)):
        tally.asked += asked
        tally.failed += failed
        toolbox.close()
        toolbox._look()
    toolbox.close()
    told = [(line["asked"], line["failed"], line["seconds"]) for line in log.lines(Event.DNS_FAILED)]
    assert told == [(20, 11, 60.0), (30, 30, 60.0)], "few questions say nothing, nor does what was told before"


@on_both_planes
@pytest.mark.parametrize("auth", ["imap", "pop3"])
async def test_a_judge_who_cannot_be_asked_is_told_of(plane: Plane, rig_pki: Pki, auth: str) -> None:
    log = Recorder()
    toolbox = Toolbox(plane, log)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    config = made(rig_pki, address, submission={"auth": auth, "auth_backend": "imap"})
    judge = toolbox.tools(config, ways_of(config), None).judge
    assert judge is not None
    assert await judge.judge(b"anna", b"word", b"") is Verdict.UNAVAILABLE
    (told,) = log.lines(Event.JUDGE_FAILED)
    assert (told["backend"], told["reason"]) == ("imap", "backend_down")
    assert "Connection refused" in told["error"]
    toolbox.close()


@on_both_planes
async def test_a_file_judges_where_there_is_one(plane: Plane, rig_pki: Pki) -> None:
    toolbox = Toolbox(plane, Recorder())
    config = made(rig_pki, submission={"auth": "file", "password_file": "/nowhere"})
    book = parse_book(b"anna:" + hash_password(b"word", bytes(16), Scrypt(ln=4)).encode().encode())
    judge = toolbox.tools(config, ways_of(config), book).judge
    assert judge is not None
    verdicts = [await judge.judge(b"anna", word, b"") for word in (b"guess", b"word")]
    assert verdicts == [Verdict.WRONG, Verdict.OK]
    toolbox.close()


@on_both_planes
async def test_nobody_judges_where_the_old_server_does(plane: Plane, rig_pki: Pki) -> None:
    toolbox = Toolbox(plane, Recorder())
    config = made(rig_pki, backend={"login": "replay"}, submission={"auth": "replay"})
    assert toolbox.tools(config, ways_of(config), None).judge is None
    toolbox.close()
