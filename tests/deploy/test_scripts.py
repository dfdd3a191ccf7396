import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [path for path in (ROOT / "deploy/certbot-deploy-hook.sh", ROOT / ".ci/run") if path.exists()]


@pytest.fixture(params=SCRIPTS, ids=lambda path: path.name)
def script(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_it_is_executable_and_starts_with_a_shell(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    assert script.read_text().startswith(("#!/bin/sh\n", "#!/bin/bash\n", "#!/usr/bin/env bash\n"))


def test_the_shell_can_read_it(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("tool", ["shellcheck"], indirect=True)
def test_shellcheck_finds_nothing(script: Path, tool: str) -> None:
    done = subprocess.run([tool, str(script)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
