"""What the IMAP tests share."""

import pytest

from tlsproxy.protocols.base import DialogueLimits


@pytest.fixture
def limits() -> DialogueLimits:
    return DialogueLimits(
        line_bytes=8192,
        sasl_line_bytes=12288,
        literal_bytes=4096,
        total_bytes=65536,
        bad_commands=3,
        failed_logins=3,
    )
