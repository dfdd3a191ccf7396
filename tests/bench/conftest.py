"""The programs in C, compiled with every warning for the tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import pytest

_SOURCES: Final = Path(__file__).parents[2] / "bench" / "native"


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where they are, for the benchmark as well; without a compiler the tests are skipped."""
    compiler = shutil.which("cc")
    if compiler is None:
        _miss("there is no C compiler")
    if shutil.which("taskset") is None:
        _miss("taskset (util-linux) is missing")
    folder = tmp_path_factory.mktemp("native")
    for source in _SOURCES.glob("*.c"):
        command = [compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-o", folder / source.stem, source]
        built = subprocess.run([*command, "-lssl", "-lcrypto"], capture_output=True, text=True, check=False)
        if "openssl/" in built.stderr and "No such file" in built.stderr:
            _miss("the headers of OpenSSL (libssl-dev) are missing")
        assert built.returncode == 0, built.stderr
    with pytest.MonkeyPatch.context() as patch:
        for module in ("rig", "runs", "mail"):
            patch.setattr(f"bench.{module}.NATIVE", folder)
        yield folder


def _miss(what: str) -> NoReturn:
    """Skip, but not where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)
