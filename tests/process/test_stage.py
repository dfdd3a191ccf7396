"""Everything that a configuration needs is built, or nothing is, and all that is missing is told at once."""

import itertools
import os
import resource
import socket
from collections.abc import Callable, Container
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from rig.pki import Pki
from rig.proxy import make_config
from rig.recorder import Recorder

from tlsproxy.config.model import BackendConfig, Config
from tlsproxy.core.errors import CertificateError, ConfigError, NoIpv6Error, UnavailableError
from tlsproxy.net.tls.certs import Certificate
from tlsproxy.process import stage as stage_room
from tlsproxy.process.crew.identity import Identity
from tlsproxy.process.door import sockets as sockets_room
from tlsproxy.process.door.sockets import Place
from tlsproxy.process.stage import Stage, make_caps, raise_descriptor_limit, set_stage
from tlsproxy.process.watches.backend import BackendWatch

NUMBERS = itertools.count(1)
Setter = Callable[..., Stage]


def make_watch(name: str, config: BackendConfig) -> BackendWatch:
    return BackendWatch(name, config, next(NUMBERS), Recorder(), tell=lambda _: None, knock=lambda _: None)


@pytest.fixture
def build(closing: Any) -> Setter:
    """Build a stage whose sockets are closed after the test."""

    def set_one(config: Config, old: Stage | None = None, open_places: Container[Place] = (), **more: Any) -> Stage:
        inherited = {"inherited": {}, **more}
        stage = set_stage(config, old=old, open_places=open_places, make_watch=make_watch, **inherited)
        for sock in stage.fresh_sockets.values():
            closing(sock)
        return stage

    return set_one


def config_of(pki: Pki, address: str = "127.0.0.1:1", **sections: Any) -> Config:
    return make_config(pki, address, **sections)


def mistakes_of(build: Setter, config: Config, kind: type[ConfigError] = ConfigError, **more: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        build(config, **more)
    assert type(caught.value) is kind
    return {mistake.key: mistake.hint for mistake in caught.value.mistakes}


def test_all_stands(build: Setter, rig_pki: Pki) -> None:
    stage = build(config_of(rig_pki))
    assert set(stage.plan) == {"imaps", "imap", "pop3s", "pop3"}
    assert set(stage.fresh_sockets) == set(stage.listeners)
    assert len(stage.fresh_sockets) == 4
    assert stage.skipped == {}
    assert [certificate.names for certificate in stage.certificates] == [("localhost", "127.0.0.1")]


def test_limits_of_the_dialogues(build: Setter, rig_pki: Pki) -> None:
    limits = {"line_imap": 9000, "line_pop3": 300, "sasl_line": 10000, "literal": 4000, "before_login": 20000}
    stage = build(config_of(rig_pki, limits={**limits, "bad_commands": 7, "failed_logins": 2}))
    imap, pop3 = stage.plan["imap"].limits, stage.plan["pop3"].limits
    assert (imap.line_bytes, pop3.line_bytes) == (9000, 300)
    for found in (imap, pop3):
        told = (found.sasl_line_bytes, found.literal_bytes, found.total_bytes, found.bad_commands, found.failed_logins)
        assert told == (10000, 4000, 20000, 7, 2)
    assert (stage.plan["imap"].idle_limit_s, stage.plan["pop3"].idle_limit_s) == (2100, 660)


def test_everything_that_is_missing_is_told_at_once(build: Setter, rig_pki: Pki, tmp_path: Path, closing: Any) -> None:
    taken = closing(socket.create_server(("127.0.0.1", 0)))
    config = Config.model_validate(
        {
            "tls": {"certificates": [{"chain": "/nowhere/a", "key": "/nowhere/b"}]},
            "listener": [
                {"protocol": "imap", "bind": ["127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"]},
            ],
            "backend": {"imap": {"address": "127.0.0.1:1", "tls": "implicit", "ca": str(tmp_path / "none")}},
        }
    )
    mistakes = mistakes_of(build, config)
    assert set(mistakes) == {"tls.certificates[0]", "backend.imap.ca", "listener[0].bind[1]"}
    assert "cannot be read" in mistakes["tls.certificates[0]"]
    assert "Address already in use" in mistakes["listener[0].bind[1]"]


def test_only_an_address_is_missing(build: Setter, rig_pki: Pki, closing: Any) -> None:
    """Nothing is wrong with the configuration, and what was bound is closed again."""
    taken = closing(socket.create_server(("127.0.0.1", 0)))
    listener = [
        {"protocol": "imap", "bind": ["127.0.0.1:0"]},
        {"protocol": "pop3", "bind": [f"127.0.0.1:{taken.getsockname()[1]}"]},
    ]
    files = {"chain": str(rig_pki.chain), "key": str(rig_pki.key)}
    backend = {"address": "127.0.0.1:1"}
    config = Config.model_validate(
        {"tls": {"certificates": [files]}, "listener": listener, "backend": {"imap": backend, "pop3": backend}}
    )
    assert set(mistakes_of(build, config, UnavailableError)) == {"listener[1].bind[0]"}


def test_pair_that_openssl_does_not_take(build: Setter, rig_pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(*_: object) -> None:
        raise CertificateError("OpenSSL does not take this pair")

    monkeypatch.setattr(Certificate, "load_into", refuse)
    assert mistakes_of(build, config_of(rig_pki)) == {"tls.certificates": "OpenSSL does not take this pair"}


def test_machine_without_ipv6(build: Setter, rig_pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:

    def listen(address: Any, keepalive_s: float) -> socket.socket:
        if address.host == "::":
            raise NoIpv6Error("this machine has no IPv6")
        return sockets_room.listen(address, keepalive_s)

    monkeypatch.setattr(stage_room, "listen", listen)
    files = {"chain": str(rig_pki.chain), "key": str(rig_pki.key)}
    listener = [{"protocol": "imap", "bind": ["127.0.0.1:0", "[::]:0"]}]
    stage = build(
        Config.model_validate(
            {"tls": {"certificates": [files]}, "listener": listener, "backend": {"imap": {"address": "127.0.0.1:1"}}}
        )
    )
    assert len(stage.fresh_sockets) == 1
    ((place, error),) = stage.skipped.items()
    assert str(place[0]) == "[::]:0"
    assert str(error) == "this machine has no IPv6"


def test_reload_keeps_what_is_the_same(build: Setter, rig_pki: Pki) -> None:
    old = build(config_of(rig_pki))
    new = build(config_of(rig_pki, limits={"per_address": 3}), old=old, open_places=old.listeners)
    assert new.fresh_sockets == {}
    assert all(new.watches[name] is old.watches[name] for name in old.watches)
    assert new.plan["imap"].server_tls is old.plan["imap"].server_tls, "a reload ends nobody's resumption"
    assert new.caps.per_address == 3


def test_reload_builds_anew_what_is_another(build: Setter, rig_pki: Pki) -> None:
    old = build(config_of(rig_pki))
    for config in (config_of(rig_pki, "127.0.0.1:2"), config_of(rig_pki, timeouts={"backend_connect": 2})):
        new = build(config, old=old, open_places=old.listeners)
        assert all(new.watches[name] is not old.watches[name] for name in old.watches)
    with_ca = {"tls": "implicit", "ca": str(rig_pki.ca_file)}
    old = build(config_of(rig_pki, backend=with_ca))
    new = build(config_of(rig_pki, backend=with_ca), old=old, open_places=old.listeners)
    assert new.watches["imap"] is not old.watches["imap"], "the file may have changed under its name"


def test_expired_pair_is_better_than_none_but_not_than_a_good_one(build: Setter, rig_pki: Pki, tmp_path: Path) -> None:

    issued = trustme.CA().issue_cert("mail.example", not_after=datetime.now(UTC) - timedelta(days=1))
    chain, key = tmp_path / "chain", tmp_path / "key"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    expired = config_of(rig_pki, tls={"certificates": [{"chain": str(chain), "key": str(key)}]})
    assert build(expired).certificates[0].names == ("mail.example",)
    old = build(config_of(rig_pki))
    mistakes = mistakes_of(build, expired, old=old, open_places=old.listeners)
    assert mistakes["tls.certificates[0]"].endswith("which is not now")


def test_caps(rig_pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1064, 1064))
    limits = config_of(rig_pki, limits={"total": 4096, "connection_rate": "6/2m"}).limits
    caps = make_caps(limits, 1)
    assert caps.total == 500, "two descriptors a session"
    assert make_caps(limits, 3).total == 1500, "each worker has a table of its own"
    assert (caps.rate_count, caps.rate_period_s, caps.rate_burst) == (6, 120, 12)
    caps = make_caps(config_of(rig_pki, limits={"total": 10, "connection_rate": None}).limits, 1)
    assert (caps.total, caps.rate_count, caps.rate_burst) == (10, None, 0)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 10))
    assert make_caps(limits, 1).total == 1


def test_descriptor_limit_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: asked.append((what, limits)))
    raise_descriptor_limit()
    assert asked == [(resource.RLIMIT_NOFILE, (4096, 4096))]


def test_no_limit_of_descriptors(rig_pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert make_caps(config_of(rig_pki, limits={"total": 4096}).limits, 1).total == 4096


def test_descriptor_limit_that_is_as_high_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("nothing is to be set"))
    raise_descriptor_limit()


def test_workers(build: Setter, rig_pki: Pki) -> None:
    assert build(config_of(rig_pki)).workers == len(os.sched_getaffinity(0))
    assert build(config_of(rig_pki, server={"workers": 3})).workers == 3


def test_identity(build: Setter, rig_pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody = Identity(user_id=1, group_id=2, group_ids=[2])
    monkeypatch.setattr(stage_room, "identity_of", {"joe": somebody}.get)
    assert build(config_of(rig_pki, server={"run_as": "joe"})).identity is somebody


def test_identity_that_is_not_to_be_had_is_told_with_the_rest(build: Setter, rig_pki: Pki) -> None:
    config = config_of(rig_pki, server={"run_as": "nobody-of-this-name"}, backend={"tls": "implicit", "ca": "/nowhere"})
    assert set(mistakes_of(build, config)) == {"server.run_as", "backend.imap.ca", "backend.pop3.ca"}


def test_ca_file_without_a_certificate(build: Setter, rig_pki: Pki, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("no certificate")
    config = config_of(rig_pki, backend={"tls": "implicit", "ca": str(ca)})
    assert set(mistakes_of(build, config)) == {"backend.imap.ca", "backend.pop3.ca"}


def test_what_workers_are_given(build: Setter, rig_pki: Pki) -> None:
    stage = build(config_of(rig_pki, backend={"tls": "implicit", "ca": str(rig_pki.ca_file)}))
    supply = stage.supply()
    assert supply.config is stage.config
    assert supply.certificates == stage.certificates
    pem = rig_pki.ca_file.read_bytes()
    assert supply.authorities == {"imap": pem, "pop3": pem}
    assert supply.backends == {name: watch.number for name, watch in stage.watches.items()}
    assert supply.listeners == ["imaps", "imap", "pop3s", "pop3"]


def test_inherited_sockets_are_taken_where_they_are_wanted(build: Setter, rig_pki: Pki, closing: Any) -> None:
    config = config_of(rig_pki)
    (place, *_) = build(config).listeners
    sock = closing(socket.create_server(("127.0.0.1", 0)))
    unwanted = closing(socket.create_server(("127.0.0.1", 0)))
    kept = {place: sock, (place[0], "no listener of this name"): unwanted}
    stage = build(config, inherited=kept)
    assert stage.fresh_sockets[place] is sock
    assert unwanted not in stage.fresh_sockets.values()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 120
    assert unwanted.fileno() >= 0, "whoever gave it closes it"
