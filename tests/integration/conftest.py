"""Fixtures of the integration tests; real servers are started once for a worker and only when a test needs them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.realmail.backend import Account, Backend
from integration.realmail.cyrus import Cyrus
from integration.realmail.dovecot import Dovecot
from integration.realmail.pki import Pki, make_pki
from integration.realmail.site import Settings, Site, SiteMaker, Watch, open_site


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    server = Dovecot()
    try:
        server.start()
        yield server
    finally:
        server.discard()


@pytest.fixture(scope="session")
def cyrus() -> Iterator[Cyrus]:
    server = Cyrus()
    try:
        server.start()
        yield server
    finally:
        server.discard()


def _site(backend: Backend, pki: Pki, folder: Path, settings: Settings) -> Iterator[Site]:
    site = open_site(backend, pki, folder, settings)
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="session")
def dovecot_site(dovecot: Dovecot, pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from _site(dovecot, pki, tmp_path_factory.mktemp("dovecot"), {"server": {"loop": "uvloop"}})


@pytest.fixture(scope="session")
def cyrus_site(cyrus: Cyrus, pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from _site(cyrus, pki, tmp_path_factory.mktemp("cyrus"), {"server": {"loop": "selector"}})


# Not a parametrized session fixture: with tests in random order that would start and stop the servers over and over.
@pytest.fixture(params=["dovecot", "cyrus"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found


@pytest.fixture
def watch(site: Site) -> Watch:
    return site.watch()


@pytest.fixture
def account(site: Site) -> Account:
    return site.account()


@pytest.fixture
def make_site(dovecot: Dovecot, pki: Pki, tmp_path: Path) -> Iterator[SiteMaker]:
    """A proxy of one's own in front of Dovecot, with settings as ``make_site(limits={"total": 20})``."""
    made: list[Site] = []

    def make(**settings: dict[str, str | int]) -> Site:
        site = open_site(dovecot, pki, tmp_path, settings)
        made.append(site)
        return site

    yield make
    for site in made:
        site.close()
