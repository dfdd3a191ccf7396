"""When it is tried whether old SMTP servers are open relays, and that the program tells it of one that is."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from rig.crewed import Crewed
from rig.oldsmtp import OldSmtp
from rig.pki import Pki
from rig.program import wait_until
from rig.recorder import Recorder

from tlsproxy.config.model import BackendConfig, Config
from tlsproxy.process.watches.backend import BackendWatch
from tlsproxy.process.watches.relay import RelayWatch


class Watched:
    """A watch on a loop whose clock is moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.tried: list[int] = []
        self._timers: list[tuple[float, Any, Any]] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self._call_later)
        self.watch = RelayWatch(self.tried.append)

    def go_to(self, now: float) -> list[int]:
        """Which were tried until then."""
        while due := sorted((timer for timer in self._timers if timer[0] <= now), key=lambda timer: timer[0]):
            self.now, action, number = due[0]
            self._timers.remove(due[0])
            action(number)
        self.now = now
        tried = self.tried[:]
        self.tried.clear()
        return tried

    def _call_later(self, seconds: float, action: Any, number: int) -> Any:
        timer = (self.now + seconds, action, number)
        self._timers.append(timer)
        watched = self

        class Handle:
            def cancel(self) -> None:
                watched._timers.remove(timer)

        return Handle()


def _config(roles: dict[str, str], login: str = "none") -> Config:
    """Backends with the roles that they serve."""
    listeners = [
        {"name": f"{name}-{role}", "protocol": "smtp", "role": role, "backend": name, "bind": ["127.0.0.1:0"]}
        for name, words in roles.items()
        for role in words.split()
    ]
    imap = {"name": "imaps", "protocol": "imap", "backend": "imap", "bind": ["127.0.0.1:0"]}
    every = {role for words in roles.values() for role in words.split()}
    tables: dict[str, Any] = {"hostname": "mx.example.org"}
    tables |= {"mx": {"local_domains": ["example.org"]}} if "mx" in every else {}
    tables |= {"submission": {}} if "submission" in every else {}
    return Config.model_validate(
        {
            "tls": {"certificates": [{"chain": "a", "key": "b"}]},
            "listener": [imap, *listeners],
            "backend": {
                "imap": {"address": "127.0.0.1:1"},
                **{
                    name: {"address": "127.0.0.1:2", **({"login": login} if "submission" in words else {})}
                    for name, words in roles.items()
                },
            },
            "smtp": tables,
        }
    )


def _watches(numbers: dict[str, int]) -> dict[str, BackendWatch]:
    config = BackendConfig.model_validate({"address": "127.0.0.1:1"})
    return {
        name: BackendWatch(name, config, number, Recorder(), tell=print, knock=print)
        for name, number in numbers.items()
    }


async def test_at_once_and_then_hourly(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    watched.watch.change(_config({"in": "mx", "out": "submission"}), _watches({"imap": 1, "in": 2, "out": 3}))
    assert watched.tried == [], "not before the start is told"
    assert watched.go_to(1.0) == [2]
    assert watched.go_to(3599.0) == []
    assert watched.go_to(3600.0) == [2]
    assert watched.go_to(3 * 3600.0) == [2, 2]
    watched.watch.close()
    assert watched.go_to(10 * 3600.0) == []


async def test_a_reload_tries_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    config = _config({"in": "mx", "other": "mx"})
    watched.watch.change(config, _watches({"imap": 1, "in": 2, "other": 3}))
    assert watched.go_to(10.0) == [2, 3]
    watched.watch.change(config, _watches({"imap": 1, "in": 2, "other": 4}))
    assert watched.go_to(20.0) == [4]
    watched.watch.change(_config({"other": "mx"}), _watches({"imap": 1, "other": 4}))
    assert watched.go_to(4000.0) == [4]
    watched.watch.close()


@pytest.mark.parametrize(("login", "tried"), [("none", []), ("replay", [2])])
async def test_one_that_has_to_trust_us_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, login: str, tried: list[int]
) -> None:
    watched = Watched(monkeypatch)
    watched.watch.change(_config({"in": "mx submission"}, login), _watches({"imap": 1, "in": 2}))
    assert watched.go_to(1.0) == tried
    watched.watch.close()


def _text(pki: Pki, address: str, identity: str = "none") -> str:
    return f"""
[tls]
certificates = [{{ chain = "{pki.chain}", key = "{pki.key}" }}]
[[listener]]
protocol = "smtp"
role = "mx"
bind = ["127.0.0.1:0"]
[smtp]
hostname = "mx.example.org"
[smtp.mx]
local_domains = ["example.org"]
[dns]
servers = ["127.0.0.1:9"]
[backend.smtp]
address = "{address}"
identity = "{identity}"
[server]
workers = 2
"""


def test_the_program_tells_of_an_open_relay(rig_pki: Pki, tmp_path: Path) -> None:
    with (
        OldSmtp(is_open=True) as open_one,
        OldSmtp() as sound_one,
        Crewed(tmp_path, _text(rig_pki, open_one.address)) as program,
    ):
        (line,) = program.wait("relay.exposed")
        assert (line["level"], line["backend"], line["address"]) == ("warning", "smtp", open_one.address)
        assert "mynetworks" in line["hint"]
        assert open_one.verbs() == [b"EHLO", b"MAIL", b"RCPT", b"RSET", b"QUIT"], "by one worker, and no message"
        program.signal(signal.SIGHUP)
        program.wait("config.loaded", 2)
        program.config_file.write_text(_text(rig_pki, sound_one.address))
        program.signal(signal.SIGHUP)
        program.wait("config.loaded", 3)
        wait_until(lambda: b"QUIT" in sound_one.verbs())
        program.signal(signal.SIGTERM)
        assert program.ends() == 0
        assert len(program.lines("relay.exposed")) == 1, "a reload that changed nothing asks nothing"
        assert open_one.connections == 1


def test_the_program_starts_and_stops_though_nobody_answers(rig_pki: Pki, tmp_path: Path) -> None:
    with OldSmtp() as old:
        old.greeting = b""
        with Crewed(tmp_path, _text(rig_pki, old.address)) as program:
            wait_until(lambda: old.connections == 1)
            program.signal(signal.SIGTERM)
            assert program.ends() == 0
            assert program.lines("relay.exposed") == []
