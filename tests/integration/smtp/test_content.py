"""What a message holds arrives as it was, but for line ends that were none; and what its envelope asks for."""

import re

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from integration.realsmtp.kinds import OldServer, Stand
from integration.realsmtp.letters import Letter, wait_for_letters, wait_until
from integration.realsmtp.mail import FIRST, bodies, message
from integration.realsmtp.postfix import Postfix
from integration.realsmtp.sink import Sink
from integration.realsmtp.wire import Talk

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("smtp")]

_COUNTS = {"postfix": 1000, "exim": 100, "opensmtpd": 100, "aiosmtpd": 1000}
_LINE_END = re.compile(rb"\r\n|\r|\n")
_STUFFED = re.compile(rb"(?<=\r\n)\.")


def _stuffed(content: bytes) -> bytes:
    """As RFC 5321 §4.5.2 wants it: a dot more wherever a line begins with one."""
    return _STUFFED.sub(b"..", content)


def _normal(content: bytes) -> bytes:
    return _LINE_END.sub(b"\r\n", content)


def _random(server: OldServer) -> list[Letter]:
    found = [letter for letter in server.letters() if letter.recipient.startswith("random")]
    return sorted(found, key=lambda letter: letter.content(FIRST))


def test_random_bodies_arrive_as_they_were(stand: Stand[OldServer]) -> None:
    server = stand.server
    sent = [message(f"random{number}", body + b"\r\n") for number, body in enumerate(bodies(_COUNTS[server.name]))]
    with Talk(stand.site.ports["mx"]) as client:
        client.hello()
        for number, content in enumerate(sent):
            assert client.deliver(f"random{number}@example.org", _stuffed(content)).startswith(b"250"), content
        assert client.say("QUIT").startswith(b"221")
    wait_until(lambda: len(_random(server)) >= len(sent), "all of them")
    assert [letter.content(FIRST) for letter in _random(server)] == sorted(map(_normal, sent))


@pytest.mark.parametrize("canonicalization", [b"simple/simple", b"relaxed/relaxed", b"simple/relaxed"])
def test_a_signature_still_holds(stand: Stand[OldServer], canonicalization: bytes) -> None:
    key = generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1])
    recipient = f"signed.{canonicalization.decode().replace('/', '.')}@example.org"
    content = message("signed", b"text  with spaces \r\n.\r\n\r\n..\r\nend\r\n\r\n")
    header, body = (each.encode() for each in canonicalization.decode().split("/"))
    signature = dkim.sign(content, b"s", b"remote.test", private, canonicalize=(header, body))
    with Talk(stand.site.ports["mx"]) as client:
        client.hello()
        assert client.deliver(recipient, _stuffed(signature + content)).startswith(b"250")
    (letter,) = wait_for_letters(stand.server, recipient)
    assert dkim.verify(letter.raw, dnsfunc=lambda name, **_: record if name == b"s._domainkey.remote.test." else None)
    assert not dkim.verify(letter.raw.replace(b"end", b"End"), dnsfunc=lambda *_, **__: record)


_NEVER_OFFERED = (b"CHUNKING", b"BINARYMIME", b"XCLIENT", b"ETRN", b"VRFY", b"PIPECONNECT", b"AUTH", b"HELP")
_OFFERED = {
    "postfix": {b"PIPELINING", b"8BITMIME", b"DSN", b"SMTPUTF8", b"ENHANCEDSTATUSCODES"},
    "exim": {b"PIPELINING", b"8BITMIME", b"DSN", b"SMTPUTF8"},
    "opensmtpd": {b"8BITMIME", b"DSN", b"ENHANCEDSTATUSCODES"},
    "aiosmtpd": {b"8BITMIME", b"SMTPUTF8"},
}


def test_what_the_old_server_can_do_is_offered_and_nothing_dangerous(stand: Stand[OldServer]) -> None:
    with Talk(stand.site.ports["mx"]) as client:
        words = {line[4:].split()[0] for line in client.hello().splitlines()[1:]}
        assert client.say("QUIT").startswith(b"221")
    assert words >= _OFFERED[stand.server.name] | {b"SIZE", b"STARTTLS"}
    assert not words.intersection(_NEVER_OFFERED)
    if stand.server.name == "opensmtpd":
        assert not words & {b"SMTPUTF8"}


def test_a_group_of_commands_with_all_parameters_passes(at_postfix: Stand[Postfix]) -> None:
    with Talk(at_postfix.site.ports["mx"]) as client:
        client.hello()
        client.send(
            b"MAIL FROM:<reports@remote.test> SIZE=2000 BODY=8BITMIME RET=HDRS ENVID=shipment+2B7\r\n"
            b"RCPT TO:<traced@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Btraced@example.org\r\n"
            b"RCPT TO:<away@foreign.test>\r\n"
            b"DATA\r\n"
        )
        assert [client.reply()[:3] for _ in range(4)] == [b"250", b"250", b"550", b"354"]
        client.send(_stuffed(message("traced")) + b".\r\nNOOP\r\nQUIT\r\n")
        assert [client.reply()[:3] for _ in range(3)] == [b"250", b"250", b"221"]
    wait_for_letters(at_postfix.server, "traced@example.org")
    # Postfix tells the sender that it has delivered, since it was asked to.
    (report,) = wait_for_letters(at_postfix.server, "reports@remote.test")
    assert b"Original-Envelope-Id: shipment+7\r\n" in report.raw
    assert b"Original-Recipient: rfc822;first+traced@example.org\r\n" in report.raw
    assert b"Action: delivered\r\n" in report.raw
    assert b"last line" not in report.raw, "RET=HDRS asks for no body"


@pytest.mark.parametrize("name", ["postfix", "exim", "aiosmtpd"])
def test_addresses_in_utf8_pass(request: pytest.FixtureRequest, name: str) -> None:
    stand: Stand[OldServer] = request.getfixturevalue(f"at_{name}")
    with Talk(stand.site.ports["mx"]) as client:
        client.hello()
        assert client.say("MAIL FROM:<grüße@remote.test> BODY=8BITMIME SMTPUTF8").startswith(b"250")
        assert client.say("RCPT TO:<ünï@example.org>").startswith(b"250")
        assert client.say("DATA").startswith(b"354")
        client.send(_stuffed(message("ünï")) + b".\r\n")
        assert client.reply().startswith(b"250")
        # Without the keyword they are refused.
        assert client.say("MAIL FROM:<grüße@remote.test>").startswith(b"5")
    (letter,) = wait_for_letters(stand.server, "ünï@example.org")
    assert letter.content(FIRST) == message("ünï")


def test_the_envelope_reaches_aiosmtpd(at_aiosmtpd: Stand[Sink]) -> None:
    content = message("envelope")
    with Talk(at_aiosmtpd.site.ports["mx"]) as client:
        client.hello()
        assert client.say(f"MAIL FROM:<> SIZE={len(content)} BODY=8BITMIME").startswith(b"250")
        assert client.say("RCPT TO:<first@example.org>").startswith(b"250")
        assert client.say("RCPT TO:<second@EXAMPLE.org>").startswith(b"250")
        assert client.say("DATA").startswith(b"354")
        client.send(_stuffed(content) + b".\r\n")
        assert client.reply() == b"250 2.0.0 kept\r\n"
    _, envelope = at_aiosmtpd.server.envelopes[-1]
    assert envelope.mail_from == "<>"
    assert envelope.rcpt_tos == ["first@example.org", "second@EXAMPLE.org"]
    assert "BODY=8BITMIME" in envelope.mail_options
    assert any(option.startswith("SIZE=") for option in envelope.mail_options)


def test_the_old_server_may_find_a_message_too_big(at_postfix: Stand[Postfix]) -> None:
    much = message("much", b"a line of text, as long as some\r\n" * 350_000)
    with Talk(at_postfix.site.ports["mx"]) as client:
        words = dict(line[4:].partition(b" ")[::2] for line in client.hello().splitlines())
        # What Postfix says, less what our headers may take.
        assert int(words[b"SIZE"]) == 10_240_000 - 4096
        assert client.say(f"MAIL FROM:<sender@remote.test> SIZE={len(much)}").startswith(b"552 5.3.4")
        # Somebody who does not say so beforehand is told at the end, and nothing is out of step.
        assert client.deliver("much@example.org", much).startswith(b"552 5.3.4")
        assert client.deliver("little@example.org", _stuffed(message("little"))).startswith(b"250")
        assert client.say("QUIT").startswith(b"221")
    wait_for_letters(at_postfix.server, "little@example.org")
    assert not [letter for letter in at_postfix.server.letters() if letter.recipient == "much@example.org"]
