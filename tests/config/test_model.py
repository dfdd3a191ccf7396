"""The configuration as a value: defaults, what follows from what, what one section can judge alone."""

import inspect
from typing import Any

import pytest
from pydantic import ValidationError

from tlsproxy.config import describe, limits, model, sections
from tlsproxy.config.model import (
    BackendConfig,
    Config,
    InheritedSocket,
    Limits,
    ListenerConfig,
    Rate,
    Section,
    TcpAddress,
    Timeouts,
)
from tlsproxy.config.smtp import dns, mx, submission, table
from tlsproxy.core.kinds import BackendTls, ListenerTls, LogLevel, ProtocolName, TlsProfile

TLS = {"certificates": [{"chain": "mail.pem", "key": "mail.key"}]}


def _config(**parts: Any) -> Config:
    return Config.model_validate({"tls": TLS, "backend": {"imap": {"address": "127.0.0.1:1143"}}, **parts})


def test_each_backend_with_a_protocols_name_gets_two_listeners() -> None:
    backends = {name: {"address": "127.0.0.1:1143"} for name in ("pop3", "other", "imap")}
    config = _config(backend=backends)
    assert [
        (each.name, each.protocol, each.tls, each.backend, [str(bind) for bind in each.bind])
        for each in config.listener
    ] == [
        ("imaps", ProtocolName.IMAP, ListenerTls.IMPLICIT, "imap", ["0.0.0.0:993", "[::]:993"]),
        ("imap", ProtocolName.IMAP, ListenerTls.STARTTLS, "imap", ["0.0.0.0:143", "[::]:143"]),
        ("pop3s", ProtocolName.POP3, ListenerTls.IMPLICIT, "pop3", ["0.0.0.0:995", "[::]:995"]),
        ("pop3", ProtocolName.POP3, ListenerTls.STARTTLS, "pop3", ["0.0.0.0:110", "[::]:110"]),
    ]


def test_an_empty_list_of_listeners_is_none_written() -> None:
    assert _config(listener=[]) == _config()


def test_the_largest_buffer_is_allowed() -> None:
    assert Limits(before_login="16MiB").before_login == 16 << 20


def test_a_written_listener_replaces_them() -> None:
    config = _config(listener=[{"protocol": "imap", "bind": ["127.0.0.1:0", "fd:imaps"], "name": "mine"}])
    assert [each.name for each in config.listener] == ["mine"]
    assert config.listener[0].bind == (TcpAddress("127.0.0.1", 0), InheritedSocket("imaps"))


def test_a_listener_may_have_a_profile_of_its_own() -> None:
    config = _config(listener=[{"protocol": "imap"}, {"protocol": "imap", "tls": "starttls", "profile": "old"}])
    assert [config.profile_of(each) for each in config.listener] == [TlsProfile.INTERMEDIATE, TlsProfile.OLD]


def test_the_default_numbers() -> None:
    config = _config()
    assert config.limits == Limits.model_construct(
        total=4096,
        per_address=100,
        connection_rate=Rate(120, 60),
        connection_burst=None,
        unauthenticated=512,
        unauthenticated_per_address=30,
        allow=(),
        bad_commands=3,
        failed_logins=3,
        line_imap=8192,
        line_pop3=512,
        line_smtp=2048,
        sasl_line=12288,
        literal=4096,
        before_login=65536,
        message_rate=None,
        recipient_rate=None,
    )
    assert config.timeouts == Timeouts.model_construct(
        tls_handshake=10,
        login=60,
        login_stressed=20,
        backend_connect=5,
        backend_login=30,
        backend_hold=10,
        backend_retry=1,
        idle_imap=2100,
        idle_pop3=660,
        keepalive=120,
        drain=30,
        upgrade_grace=600,
    )
    backend = config.backend["imap"]
    assert (backend.tls, backend.verify, backend.ca, backend.server_name, backend.legacy_tls) == (
        BackendTls.OFF,
        True,
        None,
        None,
        False,
    )
    assert (config.log.format, config.log.file, config.log.level) == ("json", "", LogLevel.INFO)
    assert (config.server.workers, config.server.run_as, config.server.loop) == ("auto", "", "auto")


def test_the_burst_follows_the_rate() -> None:
    assert Limits().burst == 240
    assert Limits(connection_rate="10/1s").burst == 20
    assert Limits(connection_burst=7).burst == 7
    assert Limits(connection_rate="none").burst == 0


def test_only_the_word_none_is_unlimited() -> None:
    numbers = Limits(
        per_address="none", connection_rate="none", unauthenticated="none", unauthenticated_per_address="none"
    )
    assert numbers.per_address is numbers.connection_rate is numbers.unauthenticated is None
    assert numbers.unauthenticated_per_address is None


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        _config().limits.total = 1


def test_it_can_be_written_and_read_again() -> None:
    config = _config(
        limits={"allow": ["192.0.2.0/24", "2001:db8::1"], "per_address": "none", "connection_rate": "7/30s"},
        server={"workers": 3},
        backend={
            "imap": {"address": "unix:/run/imap"},
            "pop3": {"address": "[::1]:1110", "tls": "implicit", "ca": "ca.pem"},
            "unchecked": {"address": "h:993", "tls": "implicit", "verify": False},
        },
    )
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_sections_may_be_made_of_one_another() -> None:
    config = Config(
        tls=model.TlsSection(certificates=(model.CertificateFiles(chain="a", key="b"),)),
        backend={"imap": BackendConfig(address=TcpAddress("127.0.0.1", 1))},
        listener=[ListenerConfig(protocol="imap", bind=[TcpAddress("127.0.0.1", 0), InheritedSocket("imaps")])],
        limits=Limits(allow=Limits(allow=["::1"]).allow, connection_rate=Rate(1, 2)),
    )
    assert [str(bind) for bind in config.listener[0].bind] == ["127.0.0.1:0", "fd:imaps"]


_SECTIONS = [
    each
    for module in (sections, limits, model, dns, mx, submission, table)
    for each in vars(module).values()
    if inspect.isclass(each) and issubclass(each, Section) and each not in (Section, Config)
]


@pytest.mark.parametrize("section", _SECTIONS)
def test_every_key_is_documented(section: type[Section]) -> None:
    assert section.__doc__
    keys = [field for field in section.model_fields.values() if not describe._table_in(field.annotation)]
    for field in keys:  # a table's own doc explains it
        assert field.description
        assert field.description.endswith(".")
