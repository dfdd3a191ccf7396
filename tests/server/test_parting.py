"""Which last words a client gets, and when it gets none."""

import pytest

from tlsproxy.core.kinds import ProtocolName
from tlsproxy.core.outcome import Phase, Reason
from tlsproxy.protocols.base import DialogueLimits, Login
from tlsproxy.protocols.registry import PROTOCOLS
from tlsproxy.server.parting import last_words

IMAP, POP3 = PROTOCOLS[ProtocolName.IMAP], PROTOCOLS[ProtocolName.POP3]
LIMITS = DialogueLimits(
    line_bytes=512, sasl_line_bytes=512, literal_bytes=512, total_bytes=4096, bad_commands=3, failed_logins=3
)
WHY = "why. ref=1"


def words(
    protocol: object, phase: Phase, reason: Reason, login: Login | None = None, *, is_between: bool = False
) -> bytes:
    return last_words(protocol, phase, login, reason, WHY, is_between=is_between)  # type: ignore[arg-type] # one of two


@pytest.mark.parametrize("reason", list(Reason))
def test_nothing_can_be_said_in_a_handshake(reason: Reason) -> None:
    assert words(IMAP, Phase.HANDSHAKE, reason) == b""


@pytest.mark.parametrize("phase", [Phase.ADMIT, Phase.DIALOGUE])
def test_before_tls_everything_is_told(phase: Phase) -> None:
    assert words(IMAP, phase, Reason.BACKEND_DOWN) == b"* BYE [UNAVAILABLE] why. ref=1\r\n"
    assert words(POP3, phase, Reason.ADDRESS_FULL) == b"-ERR [SYS/TEMP] why. ref=1\r\n"


def test_in_the_relay_only_ours_and_only_between_responses() -> None:
    for reason in Reason:
        is_ours = reason in {Reason.SHUTDOWN, Reason.IDLE_TIMEOUT}
        assert bool(words(IMAP, Phase.RELAY, reason, is_between=True)) is is_ours
        assert words(IMAP, Phase.RELAY, reason) == b"", "never inside a literal"
        assert words(POP3, Phase.RELAY, reason, is_between=True) == b"", "POP3 has no line that comes unasked"


def test_in_a_login_the_dialogue_knows() -> None:
    login = POP3.make_login(LIMITS, True)  # noqa: FBT003 - the interface's signature
    assert words(POP3, Phase.LOGIN, Reason.BACKEND_DOWN, login) == b"-ERR [SYS/TEMP] why. ref=1\r\n", (
        "a greeting is owed"
    )
    login.from_backend(b"+OK hello\r\n")
    assert words(POP3, Phase.LOGIN, Reason.SHUTDOWN, login) == b"", "nobody asked"
    assert words(POP3, Phase.LOGIN, Reason.LOGIN_TIMEOUT, login) == b"-ERR why. ref=1\r\n", "but it has to know this"
    assert words(POP3, Phase.LOGIN, Reason.BACKEND_CLOSED, login) == b"-ERR [SYS/TEMP] why. ref=1\r\n", "and this"
    login.from_client(b"CAPA\r\n")
    assert words(POP3, Phase.LOGIN, Reason.LOGIN_TIMEOUT, login).startswith(b"-ERR"), "as the answer"
    login.from_backend(b"+OK\r\nTOP\r\n")
    assert words(POP3, Phase.LOGIN, Reason.LOGIN_TIMEOUT, login) == b"", "never inside a list"
