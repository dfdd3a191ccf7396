"""Our STLS towards a backend; single behaviours are transcripts."""

from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Hangup, StartTls, ToBackend, UpgradeAction
from tlsproxy.protocols.pop3 import POP3
from tlsproxy.protocols.pop3.upgrade import Pop3Upgrade

lines = st.sampled_from([b"+OK hi\r\n", b"+OK\n", b"-ERR no\r\n", b"+", b"+ \r\n", b"x" * 9000, b"\r\n", b"+OKAY\r\n"])


def test_the_login_reads_a_greeting_of_ours() -> None:
    upgrade = POP3.make_upgrade()
    upgrade.from_backend(b"+OK <forged@greeting> [XCLIENT]\r\n")
    assert upgrade.greeting == b"+OK ready\r\n"


@given(st.lists(lines | st.binary(max_size=5), max_size=6))
def test_any_bytes_give_actions_and_nothing_after_the_end(feeds: list[bytes]) -> None:
    upgrade = Pop3Upgrade()
    actions: list[UpgradeAction] = []
    for feed in feeds:
        is_over = any(isinstance(action, Hangup | StartTls) for action in actions)
        came = list(upgrade.from_backend(feed))
        assert not (is_over and came)
        actions += came
    assert sum(isinstance(action, Hangup | StartTls) for action in actions) <= 1
    assert actions.count(ToBackend(b"STLS\r\n")) <= 1
    assert StartTls() not in actions or actions == [ToBackend(b"STLS\r\n"), StartTls()]


@given(st.binary(min_size=1, max_size=9))
def test_any_byte_behind_the_go_ahead_ends_it(behind: bytes) -> None:
    upgrade = Pop3Upgrade()
    upgrade.from_backend(b"+OK\r\n")
    assert upgrade.from_backend(b"+OK\r\n" + behind) == [Hangup(Reason.BACKEND_TLS_FAILED)]


def test_an_endless_line_ends_it() -> None:
    upgrade = Pop3Upgrade()
    for _ in range(8191):
        assert upgrade.from_backend(b"+") == []
    assert upgrade.from_backend(b"+") == [Hangup(Reason.BACKEND_GARBAGE)]
