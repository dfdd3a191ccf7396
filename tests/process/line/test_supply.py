"""What a worker is given is what the supervisor has, to the last key of the configuration."""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.pki import Pki

from tlsproxy.config.model import CertificateFiles, Config
from tlsproxy.net.tls.certs import load_certificate
from tlsproxy.process.line.supply import Supply, read_supply
from tlsproxy.senders.passwords.book import parse_book, password_line

WHOLE: Final[dict[str, Any]] = {
    "listener": [
        {
            "name": "office",
            "protocol": "imap",
            "tls": "starttls",
            "bind": ["127.0.0.1:1143", "[::1]:0", "fd:office"],
            "backend": "old",
            "profile": "old",
        },
        {"protocol": "pop3", "bind": ["127.0.0.1:0"]},
        {"protocol": "smtp", "role": "mx", "bind": ["127.0.0.1:0"], "require_tls": True},
        {"protocol": "smtp", "role": "submission", "backend": "out"},
    ],
    "backend": {
        "old": {
            "address": "unix:/run/old mail.sock",
            "tls": "starttls",
            "ca": "/etc/ca.pem",
            "server_name": "old.invalid",
        },
        "pop3": {"address": "[::1]:110", "tls": "implicit", "verify": False, "legacy_tls": True},
        "smtp": {"address": "127.0.0.1:2525", "identity": "proxy-v2", "identity_required": False},
        "out": {"address": "127.0.0.1:2587", "identity": "xclient", "login": "xclient"},
    },
    "limits": {
        "total": 99,
        "per_address": "none",
        "connection_rate": "7/90s",
        "connection_burst": 5,
        "unauthenticated": 3,
        "unauthenticated_per_address": "none",
        "allow": ["192.0.2.0/24", "2001:db8::/32"],
        "bad_commands": 9,
        "line_imap": "9KiB",
        "literal": 4097,
        "message_rate": "5/1m",
    },
    "timeouts": {"login": "61500ms", "drain": "1s", "keepalive": "2m", "upgrade_grace": "0s", "idle_imap": "31m"},
    "log": {"format": "console", "file": "/var/log/ü.jsonl", "level": "debug"},
    "server": {"workers": 5, "run_as": "joe:mail", "loop": "uvloop"},
    "dns": {"servers": ["127.0.0.1:5353", "::1"], "timeout": "1500ms", "max_ttl": "1m"},
    "smtp": {
        "hostname": "MX.example.org.",
        "max_message_size": "70000B",
        "mx": {
            "local_domains": ["Example.org"],
            "exempt_networks": ["192.0.2.0/24"],
            "trusted_forwarders": {"networks": ["2001:db8::/32"], "ptr_suffixes": [".forwarder.example"]},
            "identity": {"both": "defer", "relaxed": False},
            "spf": {"helo": "reject", "explanation": True},
        },
        "submission": {"auth": "file", "password_file": "/etc/ü", "mechanisms": ["LOGIN"], "cache": "0s"},
    },
}


def supply_of(pki: Pki, folder: Path, **sections: Any) -> Supply:
    more = pki.pair(folder, "ünï.example".encode("idna").decode())
    pairs = [CertificateFiles(chain=pki.chain, key=pki.key), CertificateFiles(chain=more[0], key=more[1])]
    tls = {"certificates": [{"chain": str(pair.chain), "key": str(pair.key)} for pair in pairs], "profile": "modern"}
    config = Config.model_validate({"tls": tls, **WHOLE, **sections})
    return Supply(
        config=config,
        certificates=[load_certificate(pair) for pair in pairs],
        authorities={"old": bytes(range(256))},
        backends={"old": 1, "pop3": 2, "smtp": 3, "out": 4},
        passwords=parse_book(password_line(b"j\xf6e", b"word")),
    )


def test_all_of_it_arrives(rig_pki: Pki, tmp_path: Path, closing: Any) -> None:
    given = supply_of(rig_pki, tmp_path)
    found = read_supply(given.write())
    assert found.config == given.config
    assert found.config.limits.allow == (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    assert found.listeners == given.listeners == ["office", "pop3s", "smtp", "submissions"]
    assert found.authorities == given.authorities
    assert found.backends == given.backends
    assert found.passwords is not None
    assert given.passwords is not None
    assert found.passwords.as_json() == given.passwords.as_json()
    assert [one.names for one in found.certificates] == [one.names for one in given.certificates]
    for one, other in zip(found.certificates, given.certificates, strict=True):
        assert (one.chain_pem, one.key_pem, one.chain_file) == (other.chain_pem, other.key_pem, other.chain_file)
        assert (one.not_before, one.not_after) == (other.not_before, other.not_after)
        assert one == other, "so that a worker knows on a reload that a context can be kept"


def test_every_section_is_tried_here() -> None:
    assert {*WHOLE, "tls"} == set(Config.model_fields)


def test_many_read_the_same_file(rig_pki: Pki, tmp_path: Path, closing: Any) -> None:
    fd = supply_of(rig_pki, tmp_path).write()
    assert not os.get_inheritable(fd)
    first, second = (read_supply(os.dup(fd)) for _ in range(2))
    os.close(fd)
    assert first.config == second.config


@given(st.sampled_from(["backend_connect", "keepalive", "drain", "upgrade_grace"]), st.integers(1, 9_999_999))
def test_durations_lose_nothing(key: str, milliseconds: int) -> None:
    pair = {"chain": "/a", "key": "/b"}
    raw = {"tls": {"certificates": [pair]}, "backend": {"imap": {"address": "127.0.0.1:1"}}}
    config = Config.model_validate({**raw, "timeouts": {key: f"{milliseconds}ms"}})
    empty = Supply(config=config, certificates=[], authorities={}, backends={}, passwords=None)
    found = read_supply(empty.write())
    assert (found.config, found.passwords) == (config, None)


def test_what_is_no_supply(closing: Any) -> None:
    fd = os.memfd_create("nonsense")
    os.write(fd, b"no json")
    with pytest.raises(ValueError, match="invalid literal"):
        read_supply(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
