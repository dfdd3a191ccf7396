"""Refusals: one line each, never about credentials, with a reference."""

import pytest

from tlsproxy.core.outcome import Reason
from tlsproxy.protocols.replies import coded, imap_parting, pop3_parting, refusal, sentence, smtp_parting

# RFC 5530 §3 and RFC 3206 §5: what makes a client ask its user for a password.
CREDENTIAL_CODES = {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "AUTH"}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_one_printable_line_with_its_reference(reason: Reason) -> None:
    why = sentence(reason, "r7", "100")
    assert why.endswith(". ref=r7")
    assert ".. " not in why
    assert "{" not in why
    for line, start in (
        (imap_parting(reason, why), b"* BYE "),
        (pop3_parting(reason, why), b"-ERR "),
        (smtp_parting(reason, why), refusal(reason).smtp_code.encode() + b" "),
    ):
        assert line.startswith(start)
        assert line.endswith(why.encode() + b"\r\n")
        assert len(line) <= 512  # RFC 2449 §4
        assert line[:-2].isascii()
        assert line[:-2].decode().isprintable()


@pytest.mark.parametrize("reason", Reason)
def test_no_refusal_looks_like_a_wrong_password(reason: Reason) -> None:
    assert not {refusal(reason).imap_code, refusal(reason).pop3_code} & CREDENTIAL_CODES
    assert not refusal(reason).smtp_code.startswith("535")  # RFC 4954 §6


@pytest.mark.parametrize("reason", Reason)
def test_only_a_client_that_breaks_the_rules_is_not_told_to_come_again(reason: Reason) -> None:
    is_out_of_step = reason in {Reason.STARTTLS_INJECTION, Reason.NOT_SYNCHRONIZED, Reason.SPOKE_EARLY}
    code, _, status = refusal(reason).smtp_code.partition(" ")
    assert code == ("554" if is_out_of_step else "421")
    assert status.startswith("5." if is_out_of_step else "4.")


def test_the_number_that_was_reached_is_said() -> None:
    assert sentence(Reason.ADDRESS_FULL, "r7", "100") == (
        "Too many connections from your address (100), try again later. ref=r7"
    )


@pytest.mark.parametrize(
    ("reason", "imap", "pop3", "smtp"),
    [
        (Reason.TOTAL_FULL, b"* BYE [UNAVAILABLE] x\r\n", b"-ERR [SYS/TEMP] x\r\n", b"421 4.3.2 x\r\n"),
        (Reason.BACKEND_DOWN, b"* BYE [UNAVAILABLE] x\r\n", b"-ERR [SYS/TEMP] x\r\n", b"421 4.3.2 x\r\n"),
        (Reason.SHUTDOWN, b"* BYE [UNAVAILABLE] x\r\n", b"-ERR [SYS/TEMP] x\r\n", b"421 4.3.2 x\r\n"),
        (Reason.BACKEND_TLS_FAILED, b"* BYE [SERVERBUG] x\r\n", b"-ERR [SYS/PERM] x\r\n", b"421 4.3.5 x\r\n"),
        (Reason.LOGIN_TIMEOUT, b"* BYE x\r\n", b"-ERR x\r\n", b"421 4.4.2 x\r\n"),
        (Reason.BAD_COMMANDS, b"* BYE [CLIENTBUG] x\r\n", b"-ERR x\r\n", b"421 4.7.0 x\r\n"),
        (Reason.CLIENT_CLOSED, b"* BYE x\r\n", b"-ERR x\r\n", b"421 4.3.2 x\r\n"),
    ],
)
def test_codes(reason: Reason, imap: bytes, pop3: bytes, smtp: bytes) -> None:
    assert imap_parting(reason, "x") == imap
    assert pop3_parting(reason, "x") == pop3
    assert smtp_parting(reason, "x") == smtp


def test_a_reason_that_nobody_hears_has_a_plain_goodbye() -> None:
    assert sentence(Reason.CLIENT_RESET, "r7") == "Goodbye. ref=r7"


def test_coded_replaces_what_is_not_ascii() -> None:
    assert coded("", "é") == b"?"
    assert coded("LIMIT", "why") == b"[LIMIT] why"
