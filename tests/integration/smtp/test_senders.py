"""Real senders deliver and submit through the proxy; what arrives is what they had."""

import smtplib
from pathlib import Path
from uuid import uuid4

import pytest
from integration.realmail.program import Line
from integration.realsmtp.exim import Exim
from integration.realsmtp.kinds import OldServer, Stand
from integration.realsmtp.letters import Letter, wait_for_letters
from integration.realsmtp.mail import FIRST, message
from integration.realsmtp.postfix import Postfix
from integration.realsmtp.senders import PROGRAMS, Order
from integration.realsmtp.sink import Sink

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("smtp")]

_WAYS = ["starttls", "none"]


@pytest.fixture
def name() -> str:
    """Nobody else's."""
    return f"n{uuid4().hex}"


def _arrived(stand: Stand[OldServer], name: str, mark: int, *, is_tls: bool) -> tuple[Letter, Line]:
    (letter,) = wait_for_letters(stand.server, f"{name}@example.org")
    assert letter.content(FIRST) == message(name)
    (line,) = stand.site.closed(mark)
    assert (line["messages"], line["recipients"], line["refused"]) == (1, 1, 0)
    assert (line["tls_version"] is not None) == is_tls
    return letter, line


@pytest.mark.parametrize("tls", _WAYS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_delivers(stand: Stand[OldServer], name: str, tmp_path: Path, program: str, tls: str) -> None:
    site = stand.site
    mark = site.mark()
    order = Order(port=site.ports["mx"], pki=site.pki, recipient=f"{name}@example.org", content=message(name), tls=tls)
    PROGRAMS[program](order, tmp_path)
    _arrived(stand, name, mark, is_tls=tls != "none")


# How a sender is named that Postfix and Exim send for.
_NAMES = {"starttls": "smtp", "none": "plain"}


@pytest.mark.parametrize("tls", _WAYS)
def test_postfix_delivers(postfix: Postfix, stand: Stand[OldServer], name: str, tls: str) -> None:
    mark = stand.site.mark()
    with smtplib.SMTP("127.0.0.1", postfix.away_port) as client:
        sender = f"{_NAMES[tls]}-{stand.site.ports['mx']}@remote.test"
        client.sendmail(sender, [f"{name}@example.org"], message(name))
    _arrived(stand, name, mark, is_tls=tls != "none")


@pytest.mark.parametrize("tls", _WAYS)
def test_exim_delivers(exim: Exim, stand: Stand[OldServer], name: str, tls: str) -> None:
    mark = stand.site.mark()
    exim.send(f"{_NAMES[tls]}-{stand.site.ports['mx']}@remote.test", f"{name}@example.org", message(name))
    _arrived(stand, name, mark, is_tls=tls != "none")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("listener", ["submissions", "submission"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_submits(
    at_aiosmtpd: Stand[Sink], name: str, tmp_path: Path, *, program: str, listener: str, mechanism: str
) -> None:
    _submit(at_aiosmtpd, name, tmp_path, program, listener, mechanism)


@pytest.mark.parametrize("listener", ["submissions", "submission"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_submits_to_postfix(
    at_postfix: Stand[Postfix], name: str, tmp_path: Path, *, program: str, listener: str
) -> None:
    letter = _submit(at_postfix, name, tmp_path, program, listener, "PLAIN")
    assert "sasl_method=PLAIN, sasl_username=" in at_postfix.server.log()
    assert b"client.test" not in letter.raw.partition(FIRST)[0], "where a user sits is nobody's business"


def _submit(
    stand: Stand[Sink] | Stand[Postfix], name: str, folder: Path, program: str, listener: str, mechanism: str
) -> Letter:
    site = stand.site
    account = stand.server.account()
    site.accounts.append(account)
    mark = site.mark()
    order = Order(
        port=site.ports[listener],
        pki=site.pki,
        recipient=f"{name}@elsewhere.test",
        content=message(name),
        tls="implicit" if listener == "submissions" else "starttls",
        account=account,
        mechanism=mechanism,
    )
    PROGRAMS[program](order, folder)
    (letter,) = wait_for_letters(stand.server, f"{name}@elsewhere.test")
    assert letter.content(FIRST) == message(name)
    (line,) = site.closed(mark)
    assert (line["user"], line["login"], line["messages"]) == (account.user, "ok", 1)
    return letter
