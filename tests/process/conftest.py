"""Fixtures for tests of the program with two worker processes."""

import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rig.crewed import PLAIN, Crewed
from rig.kinds import Closing
from rig.oldserver import OldServer
from rig.peers import Peer, dial
from rig.pki import Pki
from rig.program import config_text

QUICK = 'drain = "1s"'
NO_LIMITS = """[limits]
connection_rate = "none"
per_address = "none"
unauthenticated = "none"
unauthenticated_per_address = "none"
"""


@pytest.fixture
def old_server(closing: Closing) -> OldServer:
    found: OldServer = closing(OldServer())
    return found


@pytest.fixture(params=["selector"])
def loop(request: pytest.FixtureRequest) -> str:
    """The program's event loop; a test where it matters asks for both with ``parametrize``."""
    found: str = request.param
    return found


@pytest.fixture
def text(rig_pki: Pki, old_server: OldServer, loop: str) -> Callable[..., str]:
    """The configuration of a program with two workers."""

    def make(
        limits: str = NO_LIMITS,
        timeouts: str = QUICK,
        server: str = "workers = 2",
        address: str = old_server.address,
        **kwargs: Any,
    ) -> str:
        more = f'{limits}[timeouts]\n{timeouts}\n[server]\nloop = "{loop}"\n{server}\n'
        return config_text(rig_pki, address, more, **kwargs)

    return make


@pytest.fixture
def crew(tmp_path: Path, text: Callable[..., str], closing: Closing) -> Callable[..., Crewed]:
    """Start the program with two workers."""

    def begin(
        limits: str = NO_LIMITS,
        *,
        command: Sequence[str | Path] = PLAIN,
        environment: dict[str, str] | None = None,
        kind: type[Crewed] = Crewed,
        **parts: Any,
    ) -> Crewed:
        program: Crewed = closing(kind(tmp_path, text(limits, **parts), environment, command))
        return program

    return begin


@pytest.fixture
def log_in(rig_pki: Pki, closing: Closing) -> Callable[..., Peer]:
    """A client that is logged in."""

    def open_one(program: Crewed, source: str | None = None) -> Peer:
        client: Peer = closing(dial(program.ports["imaps"], source=source))
        client.secure(rig_pki.client_context())
        assert client.line().startswith(b"* OK")
        client.send(b"a LOGIN joe word\r\n")
        assert client.line() == b"a OK done\r\n"
        return client

    return open_one


@pytest.fixture
def come_in(closing: Closing) -> Callable[..., Peer]:
    """A client that is greeted on the plaintext port."""

    def open_one(program: Crewed, source: str | None = None) -> Peer:
        client: Peer = closing(dial(program.ports["imap"], source=source))
        line = client.line()
        assert line.startswith(b"* OK"), line
        return client

    return open_one


@pytest.fixture(scope="session", autouse=True)
def room_for_many() -> Iterator[None]:
    """Thousands of clients take more descriptors than a soft limit gives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
