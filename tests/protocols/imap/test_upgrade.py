"""Our own STARTTLS beyond what its transcripts show."""

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.base import Hangup
from tlsproxy.protocols.imap.backend_side.upgrade import ImapUpgrade


def test_the_greeting_holds_nothing_heard_before_tls() -> None:
    upgrade = ImapUpgrade()
    upgrade.from_backend(b"* OK [CAPABILITY INJECTED] x\r\n")
    assert upgrade.greeting == b"* OK ready\r\n"


def test_endless_untagged_lines() -> None:
    upgrade = ImapUpgrade()
    upgrade.from_backend(b"* OK x\r\n")
    assert list(upgrade.from_backend(b"* OK x\r\n" * 16)) == []
    assert list(upgrade.from_backend(b"* OK x\r\n" * 9)) == [Hangup(Reason.BACKEND_GARBAGE)]


def test_a_line_without_end() -> None:
    assert list(ImapUpgrade().from_backend(b"x" * 65536)) == [Hangup(Reason.BACKEND_GARBAGE)]
