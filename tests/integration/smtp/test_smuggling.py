"""No false end of a message becomes a true one at an old server, however it is sent."""

import pytest
from integration.realsmtp.letters import wait_for_letters
from integration.realsmtp.postfix import Postfix
from integration.realsmtp.site import SmtpSite
from integration.realsmtp.smuggling import ENDS, FOOLS_POSTFIX, SMUGGLED, cuts, smuggle
from integration.realsmtp.wire import Talk

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("smtp")]


@pytest.mark.parametrize("end", sorted(FOOLS_POSTFIX))
def test_without_the_proxy_the_old_server_is_fooled(postfix: Postfix, end: str) -> None:
    before = _smuggled(postfix)
    with Talk(postfix.port) as attacker:
        attacker.hello()
        attacker.open(f"direct.{end}@example.org")
        attacker.send(smuggle(ENDS[end]))
        assert attacker.reply().startswith(b"250 2.0.0")
        assert attacker.reply().startswith(b"250 2.1.0")
        assert attacker.say("NOOP").startswith(b"250 2.1.5")
    wait_for_letters(postfix, f"direct.{end}@example.org")
    wait_for_letters(postfix, SMUGGLED, before + 1)


def _smuggled(server: Postfix) -> int:
    return sum(letter.recipient == SMUGGLED for letter in server.letters())


@pytest.mark.parametrize("end", ENDS)
def test_exactly_one_message_arrives(postfix: Postfix, postfix_site: SmtpSite, end: str) -> None:
    ways = [[smuggle(ENDS[end])], *cuts(ENDS[end])]
    already, before = _smuggled(postfix), len(postfix.letters())
    with Talk(postfix_site.ports["mx"]) as attacker:
        attacker.hello()
        for number, pieces in enumerate(ways):
            attacker.open(f"{end}.{number}@example.org")
            attacker.drip(pieces)
            # One answer to the message, and the next is that to the next command.
            assert attacker.reply().startswith(b"250 2.0.0")
            assert attacker.say("VRFY x").startswith(b"252")
        assert attacker.say("QUIT").startswith(b"221")
        assert attacker.rest() == b""
    for number in range(len(ways)):
        (letter,) = wait_for_letters(postfix, f"{end}.{number}@example.org")
        assert letter.header("X-Outer") == [b"1"]
        assert b"RCPT TO:<%s>" % SMUGGLED.encode() in letter.raw
        assert letter.raw.rstrip().endswith(b"inner text")
    # Whatever else came of them would be here by now.
    assert (_smuggled(postfix), len(postfix.letters())) == (already, before + len(ways))
