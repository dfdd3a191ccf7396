"""What the tests of the worker share."""

import gc
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def nothing_is_left_open(closing: Any) -> Any:
    """A descriptor that a test leaves behind fails it."""
    return closing


@pytest.fixture(autouse=True)
def nothing_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker keeps to its end is garbage after a test."""
    monkeypatch.setattr(gc, "freeze", lambda: None)
