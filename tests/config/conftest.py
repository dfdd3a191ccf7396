"""What the tests of the configuration share: files written, mistakes read."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tlsproxy.config.load import load_config
from tlsproxy.config.model import Config
from tlsproxy.core.errors import ConfigError

Load = Callable[..., Config]
Told = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def _load(text: str | bytes, environ: Mapping[str, str] | None = None) -> Config:
        file = tmp_path / "tlsproxy.toml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_config(file, environ or {})

    return _load


@pytest.fixture
def told(load: Load, tmp_path: Path) -> Told:
    """Every mistake of a file, as its line; the folder is written as DIR."""

    def _told(text: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        return [str(mistake).replace(str(tmp_path), "DIR") for mistake in caught.value.mistakes]

    return _told
