"""Old SMTP servers and the proxy before each of them, started once for a worker and only when a test needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.realmail.pki import Pki
from integration.realsmtp.postfix import Postfix
from integration.realsmtp.site import Route, SmtpSite, open_smtp_site
from rig.nameserver import NameServer
from rig.zones import simple_zones


@pytest.fixture(scope="session")
def nameserver() -> Iterator[NameServer]:
    """Knows the names of those who send from public addresses."""
    zones = simple_zones(
        {
            "10.2.0.192.in-addr.arpa": ["PTR mail.sender.example"],
            "mail.sender.example": ["A 192.0.2.10"],
            "sender.example": ["TXT v=spf1 ip4:192.0.2.10 -all", "MX 10 mail.sender.example"],
        }
    )
    with NameServer(zones) as server:
        yield server


@contextmanager
def _running(site: SmtpSite) -> Iterator[SmtpSite]:
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="session")
def postfix() -> Iterator[Postfix]:
    server = Postfix()
    try:
        server.start()
        yield server
    finally:
        server.discard()


@pytest.fixture(scope="session")
def postfix_site(
    postfix: Postfix, pki: Pki, nameserver: NameServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SmtpSite]:
    folder: Path = tmp_path_factory.mktemp("postfix")
    user: dict[str, Any] = {"port": postfix.user_port, "role": "submission", "backend": {"login": "replay"}}
    routes = [
        Route(name="mx", port=postfix.port, backend={"identity": "xclient"}),
        Route(name="none", port=postfix.port),
        Route(name="proxy-v1", port=postfix.proxy_port, backend={"identity": "proxy-v1"}),
        Route(name="proxy-v2", port=postfix.proxy_port, backend={"identity": "proxy-v2"}),
        Route(name="ipv4", port=postfix.ipv4_port, backend={"identity": "xclient"}),
        Route(name="ipv4-lax", port=postfix.ipv4_port, backend={"identity": "xclient", "identity_required": False}),
        Route(name="submissions", tls="implicit", **user),
        Route(name="submission", **user),
    ]
    with _running(open_smtp_site(pki, routes, nameserver, folder)) as site:
        yield site
