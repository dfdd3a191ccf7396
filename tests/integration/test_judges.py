"""Real old servers judge passwords of those who send: right ones, wrong ones, and what only literals can say."""

import pytest
from integration.realmail.backend import Backend as OldServer
from rig.planes import on_both_planes

from tlsproxy.config.model import BackendConfig
from tlsproxy.core.errors import BackendError
from tlsproxy.core.kinds import ProtocolName
from tlsproxy.net.backend import Backend
from tlsproxy.net.plane import Plane
from tlsproxy.protocols.registry import PROTOCOLS
from tlsproxy.server.judges.backend import ServerJudge
from tlsproxy.server.judges.base import Verdict
from tlsproxy.server.way.way import Way

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("mailbox")]


class Fit:
    """A backend's health that nobody asks about."""

    def is_down(self) -> bool:
        return False

    def failed(self, client: bytes, error: BackendError) -> None:
        raise AssertionError(client, error)

    def worked(self, address: str) -> None:
        assert address


@pytest.fixture(params=["dovecot", "cyrus"])
def old_server(request: pytest.FixtureRequest) -> OldServer:
    found: OldServer = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("protocol", [ProtocolName.IMAP, ProtocolName.POP3])
@on_both_planes
async def test_verdicts(plane: Plane, old_server: OldServer, protocol: ProtocolName) -> None:
    port = old_server.imap_port if protocol is ProtocolName.IMAP else old_server.pop3_port
    config = BackendConfig.model_validate({"address": f"127.0.0.1:{port}"})
    way = Way(Backend("old", config, connect_timeout_s=5.0, keepalive_s=60.0), Fit())
    told: list[BackendError] = []
    judge = ServerJudge(way, plane, PROTOCOLS[protocol], deadline_s=20.0, tell=told.append)
    account = old_server.account()
    user, password = account.user.encode(), account.password.encode()
    given = {
        (user, password): Verdict.OK,
        (user, password + b"x"): Verdict.WRONG,
        (user, b'"\\ {3}'): Verdict.WRONG,
        (user, "größer".encode()): Verdict.WRONG,
        (user, b""): Verdict.WRONG,
        (b"nobody", password): Verdict.WRONG,
    }
    for (who, what), verdict in given.items():
        assert await judge.judge(who, what, b"\1") is verdict, (who, told)
    assert told == []
