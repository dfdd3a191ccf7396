"""What the tests of deploy/ share: where the files are, and tools that a machine may lack."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def deploy() -> Path:
    return ROOT / "deploy"


@pytest.fixture
def tool(request: pytest.FixtureRequest) -> str:
    """Path of the program named by the parameter; a test is skipped without it, and fails where CI is set."""
    name: str = request.param
    path = shutil.which(name)
    if path:
        return path
    reason = f"{name} is not installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
