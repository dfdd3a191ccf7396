"""No false end of a message becomes a true one at an old server, however it is sent."""

import pytest
from integration.realsmtp.kinds import OldServer, Stand
from integration.realsmtp.letters import MailRoom, wait_for_letters
from integration.realsmtp.opensmtpd import OpenSmtpd
from integration.realsmtp.postfix import Postfix
from integration.realsmtp.smuggling import ENDS, FOOLS_OPENSMTPD, FOOLS_POSTFIX, SMUGGLED, cuts, smuggle
from integration.realsmtp.wire import Talk

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("smtp")]


def _smuggled(room: MailRoom) -> int:
    return sum(letter.recipient == SMUGGLED for letter in room.letters())


@pytest.mark.parametrize("end", sorted(FOOLS_POSTFIX))
def test_without_the_proxy_postfix_delivers_the_hidden_message(postfix: Postfix, end: str) -> None:
    before = _smuggled(postfix)
    recipient = f"direct.{end}@example.org"
    with Talk(postfix.port) as attacker:
        attacker.hello()
        attacker.open(recipient)
        attacker.send(smuggle(ENDS[end]))
        assert [attacker.reply()[:3] for _ in range(5)] == [b"250", b"250", b"250", b"354", b"250"]
    wait_for_letters(postfix, recipient)
    wait_for_letters(postfix, SMUGGLED, before + 1)


@pytest.mark.parametrize("end", sorted(FOOLS_OPENSMTPD))
def test_without_the_proxy_opensmtpd_takes_it_for_the_end(opensmtpd: OpenSmtpd, end: str) -> None:
    # What follows in one go it refuses, since it knows no pipelining.
    with Talk(opensmtpd.port) as attacker:
        attacker.hello()
        assert attacker.deliver(f"direct.{end}@example.org", b"Subject: x\r\n\r\ntext", ENDS[end]).startswith(b"250")


@pytest.mark.parametrize("end", ENDS)
def test_exactly_one_message_arrives(stand: Stand[OldServer], end: str) -> None:
    server = stand.server
    ways = [[smuggle(ENDS[end])], *cuts(ENDS[end])]
    already = _smuggled(server)
    with Talk(stand.site.ports["mx"]) as attacker:
        attacker.hello()
        for number, pieces in enumerate(ways):
            attacker.open(f"{end}.{number}@example.org")
            attacker.drip(pieces)
            # One answer to the message, and the next is that to the next command.
            assert attacker.reply().startswith(b"250")
            assert attacker.say("VRFY x").startswith(b"252")
        assert attacker.say("QUIT").startswith(b"221")
        assert attacker.rest() == b""
    for number in range(len(ways)):
        (letter,) = wait_for_letters(server, f"{end}.{number}@example.org")
        assert letter.header("X-Outer") == [b"1"]
        assert b"RCPT TO:<%s>" % SMUGGLED.encode() in letter.raw
        assert letter.raw.rstrip().endswith(b"inner text")
    # Whatever else came of them would be here by now.
    assert _smuggled(server) == already
