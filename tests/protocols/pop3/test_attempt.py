"""What a command attempts."""

from tlsproxy.protocols.pop3.attempt import Attempt


def test_a_response_outside_of_an_exchange_names_nobody() -> None:
    attempt = Attempt(b"PASS", b"joe")
    attempt.see(b"AGpvZQBzZWNyZXQ=")
    assert attempt.user == b"joe"
