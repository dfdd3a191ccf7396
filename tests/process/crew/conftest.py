"""What the tests of the crew share."""

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def nothing_is_left_open(closing: Any) -> Any:
    """A descriptor that a test leaves behind fails it."""
    return closing
