"""A judge that remembers who was right a moment ago; must not remember a password, nor that one was wrong."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tlsproxy.server.judges.base import PasswordJudge, Verdict

_LONGEST_S: Final = 60.0  # for so long at most a password works on that was changed
_ENTRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Success:
    mark: bytes
    """Of the user and the password."""
    until: float


class CachedJudge:
    """Asks another judge, but not twice within a minute about the same right password.

    There is one success for each user, and it is kept as a hash under a key that nobody else has and that ends with the
    process. Another password that turns out right takes its place at once, since the first may have been changed. One
    that turns out wrong changes nothing: else anybody could make every message of a user cost a login.
    """

    __slots__ = ("_entries", "_judge", "_key", "_now", "_right", "_ttl_s")

    def __init__(
        self, judge: PasswordJudge, now: Callable[[], float], *, ttl_s: float = _LONGEST_S, entries: int = _ENTRIES
    ) -> None:
        """Remember nobody yet.

        Args:
            judge: Who is asked.
            now: Monotonic seconds.
            ttl_s: For how many seconds a success holds; at most 60.
            entries: For how many users; the longest known is forgotten for a new one.
        """
        self._judge = judge
        self._now = now
        self._ttl_s = min(ttl_s, _LONGEST_S)
        self._entries = entries
        self._key = secrets.token_bytes(hashlib.blake2b.MAX_KEY_SIZE)
        self._right: dict[bytes, _Success] = {}
        """By the user's mark; who was right longest ago stands first."""

    def __len__(self) -> int:
        """How many users are remembered."""
        return len(self._right)

    async def judge(self, user: bytes, password: bytes, client_key: bytes) -> Verdict:
        """See PasswordJudge."""
        self._forget_the_old()
        who = self._mark(user)
        mark = self._mark(len(user).to_bytes(8, "big") + user + password)
        known = self._right.get(who)
        if known is not None and hmac.compare_digest(known.mark, mark):
            return Verdict.OK
        verdict = await self._judge.judge(user, password, client_key)
        if verdict is Verdict.OK:
            self._remember(who, mark)
        return verdict

    def _remember(self, who: bytes, mark: bytes) -> None:
        self._right.pop(who, None)  # so that it is put at the end
        if len(self._right) >= self._entries:
            del self._right[next(iter(self._right))]
        self._right[who] = _Success(mark, self._now() + self._ttl_s)

    def _forget_the_old(self) -> None:
        now = self._now()
        while self._right:
            who = next(iter(self._right))
            if now < self._right[who].until:
                return
            del self._right[who]

    def _mark(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key).digest()
