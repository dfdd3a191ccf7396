"""Whether a user's password is right: by the judge, and by the old SMTP server where it is to hear of the login."""

import asyncio

from tlsproxy.core.kinds import BackendLogin
from tlsproxy.protocols.smtp.steps import Credentials
from tlsproxy.server.judges.base import WRONG_AFTER_S, Verdict
from tlsproxy.server.smtp.delivering.delivery import Delivery
from tlsproxy.server.smtp.service import SmtpService


class PasswordCheck:
    """Judges the logins of one session."""

    def __init__(self, service: SmtpService, delivery: Delivery, client: bytes) -> None:
        """Judge nobody yet; ``client`` is ``Peer.key``."""
        self._service = service
        self._delivery = delivery
        self._client = client

    async def judge(self, given: Credentials) -> Verdict:
        """Judge; that a password is wrong is said no sooner for one user than for another."""
        now = asyncio.get_running_loop().time
        until = now() + WRONG_AFTER_S
        verdict = await self._verdict(given)
        if verdict is Verdict.WRONG:
            await asyncio.sleep(until - now())
        return verdict

    async def _verdict(self, given: Credentials) -> Verdict:
        judge = self._service.tools.judge
        if judge is not None:
            verdict = await judge.judge(given.user, given.password, self._client)
            if verdict is not Verdict.OK:
                return verdict
        if self._service.backend_login is BackendLogin.REPLAY:
            return Verdict(await self._delivery.log_in(given.user, given.password))
        return Verdict.OK if judge is not None else Verdict.UNAVAILABLE
