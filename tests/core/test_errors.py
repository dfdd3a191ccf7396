"""Our own errors carry what their readers need."""

import pytest

from tlsproxy.core.errors import BackendError, BindError, CertificateError, ConfigError, Mistake, TlsProxyError
from tlsproxy.core.outcome import Reason


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        (Mistake(key="listener[0].tls", value="maybe", hint="say implicit"), "listener[0].tls = maybe: say implicit"),
        (Mistake(key="listener", value="", hint="is missing"), "listener: is missing"),
        (Mistake(key="", value="", hint="the file is empty"), "the file is empty"),
        (Mistake(key="", value="x", hint="the file is empty"), "the file is empty"),
    ],
)
def test_mistake_is_one_line_for_a_person(mistake: Mistake, text: str) -> None:
    assert str(mistake) == text


def test_config_error_tells_every_mistake_in_order() -> None:
    mistakes = [Mistake(key=key, value="", hint="is wrong") for key in ("b", "a")]
    error = ConfigError(mistakes)
    assert str(error) == "b: is wrong\na: is wrong"
    assert error.mistakes == mistakes


def test_backend_error_has_a_reason_for_the_client_and_a_detail_for_the_log() -> None:
    error = BackendError(Reason.BACKEND_DOWN, "Connection refused")
    assert (error.reason, error.detail, str(error)) == (Reason.BACKEND_DOWN, "Connection refused", "Connection refused")


@pytest.mark.parametrize("kind", [ConfigError, CertificateError, BindError, BackendError])
def test_all_are_of_one_tree(kind: type[Exception]) -> None:
    assert issubclass(kind, TlsProxyError)
