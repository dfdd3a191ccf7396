"""Nobody sends to anywhere through the proxy: the old servers here would relay for it, and never hear of it."""

import pytest
from integration.realsmtp.exim import Exim
from integration.realsmtp.kinds import OldServer, Stand
from integration.realsmtp.letters import wait_for_letters
from integration.realsmtp.mail import message
from integration.realsmtp.postfix import Postfix
from integration.realsmtp.wire import Talk

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("smtp")]

_FOREIGN = [
    "<victim@foreign.test>",
    "<victim@sub.example.org>",
    "<victim@example.org.foreign.test>",
    "<victim@[127.0.0.1]>",
    "<victim@[IPv6:::1]>",
    "<victim@localhost>",
    "<victim>",
    "<>",
    "<@example.org:victim@foreign.test>",
    "<@foreign.test:victim@example.org>",
    "<@example.org,@foreign.test:victim@example.org>",
    "<victim%foreign.test@example.org>",
    "<foreign.test!victim@example.org>",
    '<"victim@foreign.test"@example.org>',
    '<"victim%foreign.test"@example.org>',
    "<victim@foreign.test@example.org>",
    "<victim@example.org@foreign.test>",
    "<victim@foreign.test>,<x@example.org>",
    "<victim@foreign.test> ORCPT=rfc822;x@example.org",
    "victim@foreign.test",
    "<victim@foreign.test\0@example.org>",
    "<victim@foreign.test\r@example.org>",
    "<victim@example.org.>",
]
_BEFORE = "<@example.org:victim@foreign.test>"


def _says(server: OldServer) -> str:
    return server.log() if hasattr(server, "log") else ""


def test_the_old_server_would_relay(stand: Stand[OldServer]) -> None:
    with Talk(stand.server.port) as client:
        client.hello()
        assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"250")
        assert client.say("RCPT TO:<victim@relayed.test>").startswith(b"250")


def test_a_foreign_recipient_never_reaches_the_old_server(stand: Stand[OldServer]) -> None:
    site = stand.site
    for recipient in _FOREIGN:
        mark, before = site.mark(), len(_says(stand.server))
        with Talk(site.ports["mx"]) as client:
            client.hello()
            assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"250")
            assert client.say(f"RCPT TO:{recipient}").startswith(b"5"), recipient
            assert client.say("DATA").startswith((b"503", b"554")), recipient
            assert client.say("QUIT").startswith(b"221")
        (line,) = site.closed(mark)
        assert line["source_port"] is None, recipient
        assert "victim" not in _says(stand.server)[before:]


def test_one_among_good_ones_does_not_pass_either(stand: Stand[OldServer]) -> None:
    before = len(_says(stand.server))
    with Talk(stand.site.ports["mx"]) as client:
        client.hello()
        assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"250")
        assert client.say("RCPT TO:<good@example.org>").startswith(b"250")
        for recipient in _FOREIGN:
            assert client.say(f"RCPT TO:{recipient}").startswith((b"5", b"421")), recipient
            if recipient == _FOREIGN[15]:  # not so many mistakes that it is hung up on
                break
        assert client.say("DATA").startswith(b"354")
        client.send(message("good", b"text\r\n") + b".\r\n")
        assert client.reply().startswith(b"250")
    (letter,) = wait_for_letters(stand.server, "good@example.org")
    assert b"victim" not in letter.raw
    assert "victim" not in _says(stand.server)[before:]


def test_a_bare_line_end_in_a_command_is_no_way_around_it(at_postfix: Stand[Postfix]) -> None:
    with Talk(at_postfix.site.ports["mx"]) as client:
        client.hello()
        assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"250")
        client.send(b"RCPT TO:<good@example.org>\nRCPT TO:<victim@foreign.test>\r\n")
        assert [client.reply()[:1] for _ in range(2)] == [b"5", b"5"]
        assert client.say("DATA").startswith(b"554")


def test_an_old_server_that_relays_for_all_who_come_by_the_proxy_is_told(
    at_postfix: Stand[Postfix], at_exim: Stand[Exim]
) -> None:
    # Told of the client, Postfix does not take it for one of its own.
    at_postfix.site.program.wait_for("relay.exposed")
    assert {line["backend"] for line in at_postfix.site.program.events("relay.exposed")} == {"none"}
    assert at_exim.site.program.wait_for("relay.exposed")[0]["backend"] == "mx"


_WORDS = ["XCLIENT ADDR=127.0.0.1", "XFORWARD ADDR=127.0.0.1", "AUTH PLAIN AHgAeQ==", "BDAT 5 LAST"]


@pytest.mark.parametrize("words", _WORDS)
def test_no_word_gives_rights(at_postfix: Stand[Postfix], words: str) -> None:
    with Talk(at_postfix.site.ports["mx"]) as client:
        client.hello()
        assert client.say(words).startswith((b"502", b"503"))
        assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"250")
        assert client.say("RCPT TO:<victim@foreign.test>").startswith(b"550 5.7.1")


def test_nobody_submits_without_a_login(at_postfix: Stand[Postfix]) -> None:
    site = at_postfix.site
    with Talk(site.ports["submission"]) as client:
        client.hello()
        assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"530 5.7.0")
        client.starttls(site.pki.client_context())
        assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"530 5.7.0")
        assert client.say("RCPT TO:<victim@foreign.test>").startswith((b"530", b"503"))
        assert client.say("DATA").startswith((b"530", b"503"))
        assert client.say("AUTH PLAIN AHgAeQ==").startswith(b"535")
        assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"530 5.7.0")
