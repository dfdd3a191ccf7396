"""The steps of users who read their mail by IMAP and POP3, and of those who try what they should not."""

from typing import Final

from tlsproxy.core.events import Event
from tlsproxy.demo.dialogue import Dialogue, StepError
from tlsproxy.demo.steps.stage import Stage, Step


def _refuse_before_password(stage: Stage) -> None:
    with stage.connect(stage.ports.imap) as client:
        client.expect("* OK [CAPABILITY")
        client.say(f"a1 LOGIN {stage.user} {{{len(stage.password)}}}")
        client.expect("a1 NO [PRIVACYREQUIRED]")
        client.say("a2 LOGOUT")
        client.read_until("a2 OK")


def _raise_alarm(stage: Stage) -> None:
    with stage.connect(stage.ports.imap) as client:
        client.expect("* OK")
        client.say(f"a1 LOGIN {stage.user} {stage.password}", secret=stage.password)
        client.expect("* BAD [ALERT]")
        client.expect("a1 NO [PRIVACYREQUIRED]")
    stage.must_be_logged(Event.PASSWORD_EXPOSED, client.port)


def _login_after_starttls(stage: Stage) -> None:
    with stage.connect(stage.ports.imap) as client:
        client.expect("* OK")
        client.say("a1 STARTTLS")
        client.expect("a1 OK")
        client.start_tls()
        _read_by_imap(stage, client, uid=1)


def _read_by_imaps(stage: Stage) -> None:
    with stage.connect(stage.ports.imaps, is_tls=True) as client:
        client.expect("* OK")
        _read_by_imap(stage, client, uid=2)


def _read_by_imap(stage: Stage, client: Dialogue, *, uid: int) -> None:
    """Log in, read one mail, log out."""
    stage.logins += 1
    client.say(f"b1 LOGIN {stage.user} {stage.password}", secret=stage.password)
    client.read_until("b1 OK")
    client.say("b2 EXAMINE INBOX")
    client.read_until("b2 OK")
    client.say(f"b3 UID FETCH {uid} BODY.PEEK[]")
    _must_hold_mail(client.read_until("b3 OK"))
    client.say("b4 LOGOUT")
    client.read_until("b4 OK")


def _read_by_pop3s(stage: Stage) -> None:
    with stage.connect(stage.ports.pop3s, is_tls=True) as client:
        client.expect("+OK")
        _read_by_pop3(stage, client, number=3)


def _read_after_stls(stage: Stage) -> None:
    with stage.connect(stage.ports.pop3) as client:
        client.expect("+OK")
        client.say("STLS")
        client.expect("+OK")
        client.start_tls()
        _read_by_pop3(stage, client, number=1)


def _read_by_pop3(stage: Stage, client: Dialogue, *, number: int) -> None:
    """Log in, read one mail, log out."""
    stage.logins += 1
    client.say(f"USER {stage.user}")
    client.expect("+OK")
    client.say(f"PASS {stage.password}", secret=stage.password)
    client.expect("+OK")
    client.say(f"RETR {number}")
    client.expect("+OK")
    _must_hold_mail(client.read_to_dot())
    client.say("QUIT")
    client.expect("+OK")


def _must_hold_mail(lines: list[str]) -> None:
    if not any(line.startswith("Message-ID: <letter-") for line in lines):
        raise StepError("the mail did not arrive")


def _refuse_pop3_user(stage: Stage) -> None:
    with stage.connect(stage.ports.pop3) as client:
        client.expect("+OK")
        client.say(f"USER {stage.user}")
        client.expect("-ERR [AUTH]")
        client.say("QUIT")
        client.expect("+OK")


def _refuse_injection(stage: Stage) -> None:
    with stage.connect(stage.ports.imap) as client:
        client.expect("* OK")
        client.say("a1 STARTTLS", "a2 LOGIN mallory stolen")
        client.expect("a1 BAD [CLIENTBUG]")
        client.expect("* BYE")
        client.expect_end()
    stage.must_be_logged(Event.STARTTLS_INJECTION, client.port)


STEPS: Final = (
    Step(
        title="A login in clear is refused before the password leaves",
        reason="The client announces its password as a literal and waits for the go-ahead, which never comes.",
        act=_refuse_before_password,
        proof="refused, and no password was on the wire",
    ),
    Step(
        title="A client that does send its password in clear raises an alarm",
        reason="It is refused all the same, the user is told, and the administrator reads password.exposed in the log.",
        act=_raise_alarm,
        proof="refused and reported",
    ),
    Step(
        title="STARTTLS on the IMAP port, then a login and a mail",
        reason="The old server knows no TLS; the client has it from the proxy.",
        act=_login_after_starttls,
        proof="the mail came through TLS",
    ),
    Step(
        title="IMAPS: TLS from the first byte",
        reason="What RFC 8314 recommends.",
        act=_read_by_imaps,
        proof="the mail came through TLS",
    ),
    Step(
        title="POP3S: the same for POP3",
        reason="This letter has lines that begin with a dot, which POP3 doubles on the way.",
        act=_read_by_pop3s,
        proof="the mail came through TLS",
    ),
    Step(
        title="STLS on the POP3 port",
        reason="POP3's word for STARTTLS.",
        act=_read_after_stls,
        proof="the mail came through TLS",
    ),
    Step(
        title="A POP3 login in clear is refused at the user name",
        reason="So that the password is not sent at all.",
        act=_refuse_pop3_user,
        proof="refused, and no password was on the wire",
    ),
    Step(
        title="Plaintext smuggled behind STARTTLS is refused",
        reason="Somebody on the wire could put commands there that a server would take for encrypted ones.",
        act=_refuse_injection,
        proof="refused and reported",
    ),
)
