"""What the tests know of an old mail server, whichever it is: two plaintext ports and accounts with a mailbox."""

import imaplib
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest


@dataclass(frozen=True, slots=True)
class Account:
    """A user with a mailbox; the password occurs nowhere else, so that finding it in a log means that it was logged."""

    user: str
    password: str = field(repr=False)


class Backend(Protocol):
    """A running old mail server."""

    name: str
    imap_port: int
    pop3_port: int

    def account(self) -> Account:
        """A new account with an empty mailbox."""
        ...

    def stop(self) -> None:
        """Stop serving, keep the data."""
        ...

    def start(self) -> None:
        """Serve again on the same ports."""
        ...


def new_account(number: int) -> Account:
    """An account that no server knows yet."""
    return Account(f"user{number}", f"Geheim{secrets.token_hex(8)}")


@contextmanager
def direct_imap(backend: Backend, account: Account) -> Iterator[imaplib.IMAP4]:
    """A login in clear at the old server itself: how mail is put there and what it truly holds is read."""
    client = imaplib.IMAP4("127.0.0.1", backend.imap_port, timeout=60)
    try:
        # imaplib writes a literal and its line end apart; Nagle would make each APPEND wait for a delayed ACK.
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.login(account.user, account.password)
        client.select()
        yield client
    finally:
        hang_up(client)


def hang_up(client: imaplib.IMAP4) -> None:
    """Log out if the test did not, and close; imaplib does not take a second close."""
    try:
        if client.state != "LOGOUT":
            client.logout()
    except (imaplib.IMAP4.abort, OSError):
        client.shutdown()


def deliver(backend: Backend, account: Account, messages: Iterable[bytes]) -> None:
    """Put messages into an account's INBOX, past the proxy."""
    with direct_imap(backend, account) as client:
        for message in messages:
            # imaplib would mend line ends; these bytes are to arrive as they are.
            client.literal = message
            status, answer = client._simple_command("APPEND", "INBOX")
            assert status == "OK", answer


def require(*programs: str | Path) -> None:
    """Skip the test where Debian's packages are missing; where CI runs, that is a failure.

    Args:
        programs: Absolute paths of programs.
    """
    missing = [str(program) for program in programs if not Path(program).exists()]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)} (see .ci/packages and tests/integration/fetch-servers)"
    if os.environ.get("CI", "") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
