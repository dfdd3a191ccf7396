"""What the tests of the rooms with sockets share."""

from contextlib import AbstractContextManager
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def nothing_is_left_open(closing: Any) -> Any:
    """A descriptor that a test leaves behind fails it."""
    return closing


@pytest.fixture
def ends(closing: Any) -> Any:
    """Close an endpoint, or anything with ``close``, after the test."""

    class Closes(AbstractContextManager[Any]):
        def __init__(self, thing: Any) -> None:
            self.thing = thing

        def __exit__(self, *_: object) -> None:
            self.thing.close()

    def keep(thing: Any) -> Any:
        closing(Closes(thing))
        return thing

    return keep
