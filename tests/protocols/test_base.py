"""The actions: a secret in them must not be seen in a repr."""

import pytest

from tlsproxy.protocols.base import ToBackend, ToClient


@pytest.mark.parametrize("kind", [ToBackend, ToClient])
def test_repr_shows_no_data(kind: type[ToBackend | ToClient]) -> None:
    action = kind(b"PASS secret\r\n")
    assert "secret" not in repr(action)
    assert "secret" not in str([action])
    assert action == kind(b"PASS secret\r\n")
