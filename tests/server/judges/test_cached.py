"""Who was right is not asked for again for a while; nothing else is remembered."""

import gc

from tlsproxy.server.judges.base import Verdict
from tlsproxy.server.judges.cached import CachedJudge


class Known:
    """Knows passwords, and is told what it was asked."""

    def __init__(self, **passwords: str) -> None:
        self.passwords = passwords
        self.asked: list[str] = []
        self.is_up = True

    async def judge(self, user: bytes, password: bytes, client_key: bytes) -> Verdict:
        assert client_key == b"\1"
        self.asked.append(f"{user.decode()}:{password.decode()}")
        if not self.is_up:
            return Verdict.UNAVAILABLE
        return Verdict.OK if self.passwords.get(user.decode()) == password.decode() else Verdict.WRONG


class Rig:
    def __init__(self, ttl_s: float = 60.0, entries: int = 10) -> None:
        self.now = 1000.0
        self.known = Known(anna="a", bert="b", carl="c")
        self.judge = CachedJudge(self.known, lambda: self.now, ttl_s=ttl_s, entries=entries)

    async def ask(self, user: str, password: str) -> Verdict:
        return await self.judge.judge(user.encode(), password.encode(), b"\1")

    def was_asked(self) -> list[str]:
        asked, self.known.asked = self.known.asked, []
        return asked


async def test_success_is_remembered_for_a_while() -> None:
    rig = Rig(ttl_s=3600)
    for _ in range(3):
        assert await rig.ask("anna", "a") is Verdict.OK
        rig.now += 29.9
    assert rig.was_asked() == ["anna:a"]
    assert await rig.ask("anna", "a") is Verdict.OK
    assert rig.was_asked() == ["anna:a"], "never longer than a minute"


async def test_nothing_but_success_is_remembered() -> None:
    rig = Rig()
    assert [await rig.ask("anna", "x") for _ in range(2)] == [Verdict.WRONG] * 2
    rig.known.is_up = False
    assert [await rig.ask("anna", "a") for _ in range(2)] == [Verdict.UNAVAILABLE] * 2
    assert rig.was_asked() == ["anna:x", "anna:x", "anna:a", "anna:a"]
    assert len(rig.judge) == 0


async def test_success_outlives_a_guess_and_a_backend() -> None:
    rig = Rig()
    await rig.ask("anna", "a")
    rig.known.is_up = False
    await rig.ask("anna", "x")
    rig.was_asked()
    assert await rig.ask("anna", "a") is Verdict.OK
    assert rig.was_asked() == []


async def test_new_password_takes_the_place_of_the_old() -> None:
    rig = Rig()
    await rig.ask("anna", "a")
    rig.known.passwords["anna"] = "new"
    assert await rig.ask("anna", "new") is Verdict.OK
    assert await rig.ask("anna", "a") is Verdict.WRONG
    assert len(rig.judge) == 1


async def test_where_the_user_ends_counts() -> None:
    rig = Rig()
    rig.known.passwords |= {"ab": "c"}
    await rig.ask("ab", "c")
    assert await rig.ask("a", "bc") is Verdict.WRONG


async def test_a_full_memory_forgets_who_was_right_longest_ago() -> None:
    rig = Rig(entries=2)
    for user in ("anna", "bert", "anna", "carl"):
        await rig.ask(user, user[0])
    assert len(rig.judge) == 2
    rig.was_asked()
    for user in ("bert", "carl"):
        await rig.ask(user, user[0])
    assert rig.was_asked() == []


async def test_success_that_holds_for_no_time() -> None:
    rig = Rig(ttl_s=0)
    await rig.ask("anna", "a")
    await rig.ask("anna", "a")
    assert rig.was_asked() == ["anna:a"] * 2


async def test_no_password_is_kept() -> None:
    rig = Rig()
    rig.known.passwords["anna"] = "geheim" * 3
    await rig.ask("anna", "geheim" * 3)
    kept = [found for found in gc.get_referents(rig.judge) if isinstance(found, dict)]
    assert b"geheim" not in repr(kept).encode()
    assert b"anna" not in repr(kept).encode()
