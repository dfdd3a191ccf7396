"""When a backend counts as down: failures in a row, seen by more than one client."""

import pytest

from tlsproxy.server.way.health import Health

ONE, TWO, THREE = b"\1", b"\2", b"\3"


@pytest.fixture
def health() -> Health:
    return Health()


def down(health: Health, now: float = 100.0) -> None:
    for client in (ONE, TWO, ONE, TWO, ONE):
        health.failed(client, now)


def test_five_failures_of_two_clients(health: Health) -> None:
    told = [health.failed(client, 100.0) for client in (ONE, TWO, ONE, TWO)]
    assert told == [False] * 4
    assert not health.is_down(100.0)
    assert health.failed(THREE, 101.0) is True
    assert health.is_down(101.0)
    assert health.failed(ONE, 102.0) is False, "told once"


def test_one_client_alone_closes_no_door(health: Health) -> None:
    assert not any(health.failed(ONE, 100.0) for _ in range(1000))
    assert not health.is_down(100.0)
    assert health.failed(TWO, 101.0)
    assert len(health._clients) == 2, "no more are kept"


def test_down_for_a_while(health: Health) -> None:
    down(health)
    assert health.is_down(129.9)
    assert not health.is_down(130.0)
    health.still_down(129.0)
    assert health.is_down(158.9)
    assert not health.is_down(159.0)


def test_success_forgets(health: Health) -> None:
    down(health)
    assert health.worked(125.0) == 25.0
    assert not health.is_down(125.0)
    assert health.worked(126.0) is None
    for client in (ONE, TWO, ONE, TWO):
        assert not health.failed(client, 200.0)
    assert health.worked(201.0) is None, "it never counted as down"
    assert not health.failed(ONE, 202.0)
