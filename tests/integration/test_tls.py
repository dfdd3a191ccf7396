"""The default profile as a scanner sees it: nothing below TLS 1.2, no weak cipher, and a reason for each refusal."""

import subprocess
from typing import Final

import pytest
from integration.realmail.backend import require
from integration.realmail.site import Site, Watch

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("clients")]

_OPENSSL: Final = "/usr/bin/openssl"
# Everything that the library can still offer, broken or not; level 0 takes off its own safety catch.
_EVERYTHING: Final = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
# Forward secrecy and an AEAD: Mozilla's intermediate profile for TLS 1.2.
_GOOD: Final = ("ECDHE-", "DHE-")
_AEAD: Final = ("GCM", "CHACHA20")


def _offers(site: Site, way: str, *options: str) -> bool:
    """Whether a handshake with these options of s_client works."""
    starttls = () if way.endswith("s") else ("-starttls", way)
    require(_OPENSSL)
    done = subprocess.run(
        [_OPENSSL, "s_client", "-connect", f"127.0.0.1:{site.ports[way]}", "-brief", *starttls, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    return b"CONNECTION ESTABLISHED" in done.stderr


@pytest.mark.parametrize("way", ["imaps", "imap", "pop3s", "pop3"])
def test_nothing_below_tls_1_2(dovecot_site: Site, way: str) -> None:
    watch = dovecot_site.watch()
    for version in ("-tls1", "-tls1_1"):
        assert not _offers(dovecot_site, way, version, "-cipher", _EVERYTHING)
    for line in watch.closed(2):
        assert (line["phase"], line["reason"]) == ("handshake", "tls_version_too_old")
    for version in ("-tls1_2", "-tls1_3"):
        assert _offers(dovecot_site, way, version)
    found = [line["tls_version"] for line in watch.closed(4)[2:]]
    assert found == ["TLSv1.2", "TLSv1.3"]


def test_no_weak_cipher(dovecot_site: Site) -> None:
    listed = subprocess.run(
        [_OPENSSL, "ciphers", "-s", "-tls1_2", _EVERYTHING], capture_output=True, check=True, timeout=20
    )
    ciphers = listed.stdout.decode().strip().split(":")
    watch = dovecot_site.watch()
    accepted = {name for name in ciphers if _offers(dovecot_site, "imaps", "-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")}
    lines = watch.closed(len(ciphers))
    assert accepted
    assert all(name.startswith(_GOOD) and any(aead in name for aead in _AEAD) for name in accepted)
    refused = [line for line in lines if line["tls_version"] is None]
    assert {line["reason"] for line in refused} == {"no_shared_cipher"}
    assert len(refused) == len(ciphers) - len(accepted) > 10


def test_no_renegotiation_by_the_client(site: Site, watch: Watch) -> None:
    """RFC 9325 §3.4 and old denials of service: the letter R makes s_client ask for it."""
    done = subprocess.run(
        [_OPENSSL, "s_client", "-connect", f"127.0.0.1:{site.ports['imaps']}", "-tls1_2"],
        input=b"R\n",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert b"RENEGOTIATING" in done.stdout + done.stderr
    assert done.returncode != 0
    watch.closed()
