"""Old SMTP servers and the proxy before each of them, started once for a worker and only when a test needs them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, TypeVar

import pytest
from integration.realmail.backend import require
from integration.realmail.pki import Pki
from integration.realsmtp.exim import Exim
from integration.realsmtp.kinds import Addresses, OldServer, SiteMaker, Stand
from integration.realsmtp.opensmtpd import OpenSmtpd
from integration.realsmtp.postfix import Postfix
from integration.realsmtp.sink import Sink
from integration.realsmtp.site import Route, SmtpSite, open_smtp_site
from rig.nameserver import NameServer
from rig.zones import simple_zones

_IP = "/usr/sbin/ip"
_ALONE = {"workers": 1}  # Postfix has a proxy with as many as it takes by itself
_Server = TypeVar("_Server", bound=OldServer)


@pytest.fixture(scope="session")
def addresses() -> Addresses:
    """Where those sit who send from outside; each of xdist's workers has its own."""
    number = 10 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
    return Addresses(f"192.0.2.{number}", f"2001:db8::{number}")


@pytest.fixture(scope="session")
def nameserver(addresses: Addresses) -> Iterator[NameServer]:
    """Knows the names of those who send from public addresses."""
    name, domain = "mail.sender.example", "sender.example"
    own = {
        name: [f"A {addresses.v4}", f"AAAA {addresses.v6}"],
        domain: [f"TXT v=spf1 ip4:{addresses.v4} ip6:{addresses.v6} -all"],
    }
    names = {ip_address(address).reverse_pointer: [f"PTR {name}"] for address in addresses}
    with NameServer(simple_zones({**own, **names})) as server:
        yield server


@pytest.fixture(scope="session")
def strangers(addresses: Addresses) -> Iterator[Addresses]:
    """This machine has these public addresses for a while, since of private ones nothing is checked."""
    require(_IP)
    places = [(f"{addresses.v4}/32",), (f"{addresses.v6}/128", "nodad")]
    for place in places:
        done = subprocess.run([_IP, "address", "replace", *place, "dev", "lo"], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"this machine's addresses cannot be changed: {done.stderr.decode()}")
    yield addresses
    for place in places:
        subprocess.run([_IP, "address", "delete", place[0], "dev", "lo"], check=False)


@contextmanager
def _running(server: _Server) -> Iterator[_Server]:
    try:
        server.start()
        yield server
    finally:
        server.discard()


@pytest.fixture(scope="session")
def postfix(pki: Pki) -> Iterator[Postfix]:
    with _running(Postfix(pki)) as server:
        yield server


@pytest.fixture(scope="session")
def exim(pki: Pki) -> Iterator[Exim]:
    with _running(Exim(pki)) as server:
        yield server


@pytest.fixture(scope="session")
def opensmtpd() -> Iterator[OpenSmtpd]:
    with _running(OpenSmtpd()) as server:
        yield server


@pytest.fixture(scope="session")
def sink() -> Iterator[Sink]:
    with _running(Sink()) as server:
        yield server


@pytest.fixture(scope="session")
def open_stand(pki: Pki, nameserver: NameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteMaker]:
    """Opens the proxy for the rest of the run."""
    made: list[SmtpSite] = []

    def make(name: str, routes: list[Route], **settings: dict[str, Any]) -> SmtpSite:
        site = open_smtp_site(pki, routes, nameserver, tmp_path_factory.mktemp(name), settings)
        made.append(site)
        return site

    yield make
    for site in made:
        site.close()


def _users(port: int) -> list[Route]:
    keys: dict[str, Any] = {"port": port, "role": "submission", "backend": {"login": "replay"}}
    return [Route(name="submissions", tls="implicit", **keys), Route(name="submission", **keys)]


def _proxied(port: int, *versions: str) -> list[Route]:
    return [Route(name=f"proxy-{each}", port=port, backend={"identity": f"proxy-{each}"}) for each in versions]


@pytest.fixture(scope="session")
def at_postfix(postfix: Postfix, open_stand: SiteMaker) -> Stand[Postfix]:
    told = {"identity": "xclient"}
    routes = [
        Route(name="mx", port=postfix.port, backend=told),
        Route(name="none", port=postfix.port),
        *_proxied(postfix.proxy_port, "v1", "v2"),
        Route(name="ipv4", port=postfix.ipv4_port, backend=told),
        Route(name="ipv4-lax", port=postfix.ipv4_port, backend={**told, "identity_required": False}),
        *_users(postfix.user_port),
        Route(name="named", port=postfix.user_port, role="submission", backend={**told, "login": "replay"}),
    ]
    return Stand(postfix, open_stand(postfix.name, routes))


@pytest.fixture(scope="session")
def at_exim(exim: Exim, open_stand: SiteMaker) -> Stand[Exim]:
    xclient = Route(name="xclient", port=exim.port, backend={"identity": "xclient"})
    routes = [Route(name="mx", port=exim.port), xclient, *_proxied(exim.proxy_port, "v1", "v2")]
    return Stand(exim, open_stand(exim.name, routes, server=_ALONE))


@pytest.fixture(scope="session")
def at_opensmtpd(opensmtpd: OpenSmtpd, open_stand: SiteMaker) -> Stand[OpenSmtpd]:
    routes = [Route(name="mx", port=opensmtpd.port), *_proxied(opensmtpd.proxy_port, "v1", "v2")]
    return Stand(opensmtpd, open_stand(opensmtpd.name, routes, server=_ALONE))


@pytest.fixture(scope="session")
def at_aiosmtpd(sink: Sink, open_stand: SiteMaker) -> Stand[Sink]:
    routes = [Route(name="mx", port=sink.port), *_users(sink.port)]
    return Stand(sink, open_stand(sink.name, routes, server=_ALONE))


@pytest.fixture(params=["postfix", "exim", "opensmtpd", "aiosmtpd"])
def stand(request: pytest.FixtureRequest) -> Stand[OldServer]:
    """Each old server with the proxy before it."""
    found: Stand[OldServer] = request.getfixturevalue(f"at_{request.param}")
    return found
