"""The steps of mail on its way in: users who send after a login, and strangers who deliver without one."""

import base64
from typing import Final

from tlsproxy.core.events import Event
from tlsproxy.demo.dialogue import Dialogue, StepError
from tlsproxy.demo.steps.stage import Stage, Step

_USER: Final = "demo@old.example"
_STRANGER: Final = "stranger@elsewhere.example"
_VICTIM: Final = "victim@foreign.example"
# One message for whoever keeps to CRLF.CRLF, two for whoever takes LF.LF for an end as well.
_SMUGGLING: Final = (
    "Subject: Hello",
    "",
    "All is well.\n.\nMAIL FROM:<boss@old.example>",
    f"RCPT TO:<{_USER}>",
    "DATA",
    "Subject: Pay this at once",
    "",
    "Signed: the boss",
    ".",
)
# What the old server must keep of it: it takes away the one of two dots that the proxy has added.
_SMUGGLED_AS_TEXT: Final = b"\r\nAll is well.\r\n.\r\nMAIL FROM:<boss@old.example>\r\n"


def _send_after_login(stage: Stage) -> None:
    secret = base64.b64encode(f"\0{stage.user}\0{stage.password}".encode()).decode()
    before = len(stage.old.mailbox.messages)
    with stage.connect(stage.ports.submissions, is_tls=True) as client:
        _greet(client)
        client.say(f"MAIL FROM:<{_USER}>")
        client.expect("530 5.7.0")
        stage.logins += 1
        stage.judgements += 1
        client.say(f"AUTH PLAIN {secret}", secret=secret)
        client.expect("235")
        _open_message(client, _USER, "friend@elsewhere.example")
        client.say("Subject: Sent through TLS", "", "Hello, friend.", ".")
        client.expect("250")
        _quit(client)
    _must_have_come(stage, before, 1, b"Delivered-To: friend@elsewhere.example\r\n")
    stage.must_be_logged(Event.MESSAGE_RELAYED, client.port)


def _refuse_login_in_clear(stage: Stage) -> None:
    with stage.connect(stage.ports.submission) as client:
        _greet(client)
        client.say("AUTH PLAIN")
        client.expect("538 5.7.11")
        client.say(f"MAIL FROM:<{_USER}>")
        client.expect("530 5.7.0")
        _quit(client)


def _refuse_to_relay(stage: Stage) -> None:
    heard = _mail_commands(stage)
    with stage.connect(stage.ports.smtp) as client:
        _greet(client)
        client.say(f"MAIL FROM:<{_STRANGER}>")
        client.expect("250")
        client.say(f"RCPT TO:<{_VICTIM}>")
        client.expect("550 5.7.1")
        _quit(client)
    stage.must_be_logged(Event.MESSAGE_REFUSED, client.port)
    if _mail_commands(stage) != heard:
        raise StepError("the old server has heard of it")


def _refuse_to_smuggle(stage: Stage) -> None:
    before = len(stage.old.mailbox.messages)
    with stage.connect_directly(stage.old.smtp_port) as client:
        _smuggle(client)
        for beginning in ("250", "250", "354", "250"):
            client.expect(beginning)
        _quit(client)
    _must_have_come(stage, before, 2, b"Return-Path: <boss@old.example>\r\n")
    stage.screen.event("two messages: the second is forged, and no check has seen it")
    with stage.connect(stage.ports.smtp) as client:
        _smuggle(client)
        _quit(client)
    _must_have_come(stage, before + 2, 1, _SMUGGLED_AS_TEXT)
    stage.screen.event("one message, which the old server keeps as it was meant:")
    _, _, body = stage.old.mailbox.messages[-1].raw.partition(b"\r\n\r\n")
    stage.screen.block(body.decode())
    stage.must_be_logged(Event.MESSAGE_RELAYED, client.port)


def _smuggle(client: Dialogue) -> None:
    """Send one message, and hear that it is taken."""
    _greet(client)
    _open_message(client, _STRANGER, _USER)
    client.say(*_SMUGGLING)
    client.expect("250")


def _greet(client: Dialogue) -> None:
    client.expect("220 ")
    client.say("EHLO client.example")
    client.read_until("250 ")


def _open_message(client: Dialogue, sender: str, recipient: str) -> None:
    """Say the envelope, up to the go-ahead for the message."""
    client.say(f"MAIL FROM:<{sender}>")
    client.expect("250")
    client.say(f"RCPT TO:<{recipient}>")
    client.expect("250")
    client.say("DATA")
    client.expect("354")


def _quit(client: Dialogue) -> None:
    client.say("QUIT")
    client.expect("221")


def _must_have_come(stage: Stage, before: int, count: int, words: bytes) -> None:
    """The old server must have so many new messages, the words in the last."""
    new = stage.old.mailbox.messages[before:]
    if len(new) != count:
        raise StepError(f"{len(new)} messages came to the old server, expected {count}")
    if words not in new[-1].raw:
        raise StepError("another message came to the old server than was sent")


def _mail_commands(stage: Stage) -> int:
    """How much the old server has heard of mail; the proxy also asks it what it can do."""
    commands = [command for record in stage.old.journal.records() for command in record.commands]
    return sum(command in {"MAIL", "RCPT", "DATA"} for command in commands)


STEPS: Final = (
    Step(
        title="A user sends: TLS, then a login, then mail",
        reason="The old SMTP server knows no logins, so the proxy asks for one and has the old IMAP server judge it.",
        act=_send_after_login,
        proof="refused before the login, and after it the mail came through TLS",
    ),
    Step(
        title="A sender's login in clear is refused before the password leaves",
        reason="The client waits for the go-ahead before its password, as with IMAP; mail without TLS is refused too.",
        act=_refuse_login_in_clear,
        proof="refused, and no password was on the wire",
    ),
    Step(
        title="A stranger who delivers finds no open relay",
        reason="Mail is for old.example alone. DNS is asked who delivers, but not of loopback addresses, so not here.",
        act=_refuse_to_relay,
        proof="refused and reported, and the old server has heard nothing of it",
    ),
    Step(
        title="A message hidden in another stays text",
        reason="LF.LF ends a message for the old server alone, so the proxy makes these LFs CRLF and doubles the dot.",
        act=_refuse_to_smuggle,
        proof="two messages without the proxy, one through it",
    ),
)
