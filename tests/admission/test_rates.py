"""Token buckets: exact, bounded, forgetful only of what says nothing."""

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.admission.rates import RateTable


def table(count: int = 2, period_s: float = 1.0, burst: int = 3, capacity: int = 8) -> RateTable:
    return RateTable(count=count, period_s=period_s, burst=burst, capacity=capacity)


def test_first_comer_finds_a_full_bucket() -> None:
    rates = table()
    assert [rates.take(b"a", 5.0) for _ in range(5)] == [True, True, True, False, False]


def test_keys_do_not_share() -> None:
    rates = table(burst=1)
    assert rates.take(b"a", 5.0)
    assert rates.take(b"b", 5.0)
    assert not rates.take(b"a", 5.0)


def test_tokens_come_back_with_time_and_never_beyond_the_bucket() -> None:
    rates = table()
    assert all(rates.take(b"a", 5.0) for _ in range(3))
    assert not rates.take(b"a", 5.499)
    assert rates.take(b"a", 5.5)
    assert not rates.take(b"a", 5.5)
    assert [rates.take(b"a", 1000.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_stands_still_gives_nothing_back() -> None:
    rates = table(burst=2)
    assert [rates.take(b"a", 7.0) for _ in range(100)].count(True) == 2


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    rates = table(burst=2)
    assert all(rates.take(b"a", 7.0) for _ in range(2))
    assert not any(rates.take(b"a", 7.0 - n) for n in range(5))


def test_asking_is_not_taking() -> None:
    rates = table(burst=1)
    assert rates.has(b"a", 5.0)
    assert len(rates) == 0
    assert rates.take(b"a", 5.0)
    assert not rates.has(b"a", 5.0)
    assert rates.has(b"a", 5.5)


def test_thirds_are_exact() -> None:
    rates = table(count=3, burst=3)
    moment = 1_000_000.0
    assert [rates.take(b"a", moment) for _ in range(4)] == [True, True, True, False]
    assert [rates.take(b"a", moment + 1) for _ in range(4)] == [True, True, True, False]


def test_full_buckets_go_first() -> None:
    rates = table(burst=1)
    for key in (b"a", b"b", b"c"):
        rates.take(key, 5.0)
    rates.take(b"d", 6.0)
    assert len(rates) == 2  # c and d: two were dropped for one that came
    rates.take(b"e", 6.0)
    assert len(rates) == 2  # d is not full yet


def test_table_is_bounded_and_forgets_the_least_recently_used() -> None:
    rates = table(burst=1, capacity=3)
    for key in (b"a", b"b", b"c"):
        assert rates.take(key, 5.0)
    assert not rates.take(b"a", 5.0)  # in vain, and yet a use
    assert rates.take(b"d", 5.0)
    assert len(rates) == 3
    assert not rates.take(b"a", 5.0)
    assert not rates.take(b"c", 5.0)
    assert rates.take(b"b", 5.0)  # was forgotten


def test_bucket_without_room_gives_nothing() -> None:
    rates = table(burst=0)
    assert not rates.take(b"a", 5.0)
    assert len(rates) == 0


@given(
    count=st.integers(1, 5),
    burst=st.integers(1, 5),
    steps=st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 3)), max_size=60),
)
def test_same_as_a_bucket_counted_in_quarters(count: int, burst: int, steps: list[tuple[bytes, int]]) -> None:
    rates = table(count=count, period_s=1.0, burst=burst)
    now = 100
    quarters = {b"a": (burst * 4, now), b"b": (burst * 4, now)}  # token quarters, seen at (quarter seconds)
    for key, pause in steps:
        now += pause
        level, seen = quarters[key]
        level = min(burst * 4, level + (now - seen) * count)
        is_allowed = level >= 4
        quarters[key] = (level - 4 if is_allowed else level, now)
        assert rates.take(key, now / 4) is is_allowed


def test_several_tokens_at_once() -> None:
    rates = table(burst=5)
    assert not rates.has(b"a", 5.0, 6)
    assert rates.take(b"a", 5.0, 3)
    assert rates.has(b"a", 5.0, 2)
    assert not rates.take(b"a", 5.0, 3)
    assert rates.take(b"a", 5.0, 2)
    assert not rates.has(b"a", 5.0)


def test_asking_counts_as_use() -> None:
    rates = table(burst=1, capacity=2)
    assert rates.take(b"a", 5.0)
    assert rates.take(b"b", 5.0)
    assert not rates.has(b"a", 5.0)
    assert rates.take(b"c", 5.0)
    assert not rates.has(b"a", 5.0)
    assert rates.has(b"b", 5.0)  # was forgotten
