"""aiosmtpd as the old server: in this process, so that it can also do what real servers do only on bad days."""

import asyncio
from typing import Any, Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from integration.realmail.backend import Account, new_account
from integration.realmail.daemon import free_port
from integration.realsmtp.letters import Letter

SLOW: Final = "slow@example.org"
"""Whose mail takes longer than anybody waits."""

_SLOW_S: Final = 60
_SIZE_BYTES: Final = 40_000_000


class Sink:
    """A running aiosmtpd; keeps what it takes in memory, and wants a login for mail to other domains."""

    def __init__(self) -> None:
        self.name = "aiosmtpd"
        self.port = free_port()
        self.envelopes: list[Any] = []
        """What clients have said of each message."""
        self._letters: list[Letter] = []
        self._accounts: dict[bytes, bytes] = {}
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            data_size_limit=_SIZE_BYTES,
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            authenticator=self._judge,
        )

    def account(self) -> Account:
        """A new user."""
        account = new_account(len(self._accounts) + 1)
        self._accounts[account.user.encode()] = account.password.encode()
        return account

    def letters(self) -> list[Letter]:
        """All mail that it has taken, once for each recipient."""
        return list(self._letters)

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a message, slowly if it is for SLOW."""
        if SLOW in envelope.rcpt_tos:
            await asyncio.sleep(_SLOW_S)
        self.envelopes.append((session, envelope))
        for recipient in envelope.rcpt_tos:
            self._letters.append(Letter(recipient, envelope.original_content))
        return "250 2.0.0 kept"

    def start(self) -> None:
        """Serve, again on the same port."""
        self._controller.start()

    def stop(self) -> None:
        """Stop serving."""
        self._controller.stop()

    def discard(self) -> None:
        """Stop."""
        self.stop()

    def _judge(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, words: Any) -> AuthResult:
        is_right = isinstance(words, LoginPassword) and self._accounts.get(words.login) == words.password
        return AuthResult(success=is_right, auth_data=words.login if is_right else None)
