"""How the old server gets to know the client: by PROXY, by XCLIENT or not at all; under TLS where it wants that."""

import ssl
from typing import Any, Final

import pytest
from rig.pki import Pki
from rig.scriptedsmtp import Turn, Visitor
from rig.smtpscene import STRANGER, Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event
from tlsproxy.protocols.proxy_header import LOCAL_V2

NOT_REACHABLE: Final = b"451 4.4.1 mail server not reachable, try again later\r\n"
XCLIENT: Final = b"250-old.example\r\n250 XCLIENT NAME ADDR HELO\r\n"


def told(scene: Scene) -> bytes:
    """What a stranger is told at RCPT; the checks do not matter here."""
    client = scene.call(source=STRANGER).greet(b"client.b.example")
    client.say(b"MAIL FROM:<joe@b.example>")
    answer = client.say(b"RCPT TO:<postmaster@example.org>")
    client.leave()
    return answer


def test_proxy_v1(make_scene: SceneMaker) -> None:
    scene = make_scene(backend={"identity": "proxy-v1"})
    scene.old.script["PROXY"] = b""
    assert told(scene).startswith(b"250 ")
    assert scene.old.said(0)[0] == b"PROXY TCP4 127.0.0.1 127.0.0.1 25 25", "a question of our own is asked for nobody"
    line, hello = scene.old.said()[:2]
    assert line.startswith(b"PROXY TCP4 192.0.2.7 127.0.0.1 ")
    assert hello == b"EHLO client.b.example", "the old server sees the client as it is"


def test_proxy_v2(make_scene: SceneMaker) -> None:
    scene = make_scene(backend={"identity": "proxy-v2"})
    heard: list[bytes] = []

    def header(visitor: Visitor) -> None:
        first = visitor.take(16)
        heard.append(first + visitor.take(first[15]))
        visitor.send(b"220 old.example\r\n")

    scene.old.script["GREETING"] = header
    assert told(scene).startswith(b"250 ")
    assert heard[0] == LOCAL_V2
    assert heard[1][12:16] == b"\x21\x11\x00\x0c"
    assert heard[1][16:24] == b"\xc0\x00\x02\x07\x7f\x00\x00\x01"
    assert scene.old.said()[0] == b"EHLO client.b.example"


@pytest.mark.parametrize(
    ("turns", "is_required", "is_taken"),
    [
        ({"EHLO": XCLIENT, "XCLIENT": b"220 again\r\n"}, True, True),
        ({"EHLO": XCLIENT, "XCLIENT": b"501 5.5.4 bad\r\n"}, True, False),
        ({"EHLO": XCLIENT, "XCLIENT": [b"501 5.5.4 bad\r\n", b"220 again\r\n"]}, False, True),
        ({}, True, False),
        ({}, False, True),
    ],
)
def test_xclient(make_scene: SceneMaker, turns: dict[str, Any], *, is_required: bool, is_taken: bool) -> None:
    scene = make_scene(backend={"identity": "xclient", "identity_required": is_required})
    for key, turn in turns.items():
        scene.old.script[key] = turn
    assert told(scene) == (b"250 2.1.5 recipient fine\r\n" if is_taken else NOT_REACHABLE)
    error = scene.closed()["backend_error"]
    assert error == (None if is_taken else "it refuses XCLIENT" if turns else "it does not offer XCLIENT to this host")


def test_a_user_who_cannot_be_told_is_not_let_through(make_scene: SceneMaker) -> None:
    scene = make_scene(backend={"identity": "xclient", "login": "xclient", "identity_required": False})
    scene.old.script["EHLO"] = XCLIENT
    client = scene.user()
    assert client.say(b"MAIL FROM:<anna@example.org>") == NOT_REACHABLE
    assert len(scene.old.said()) == 1


# TLS towards the old server.


def starttls(pki: Pki) -> Turn:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.chain, pki.key)

    def begin(visitor: Visitor) -> None:
        visitor.send(b"220 2.0.0 go\r\n")
        visitor.secure_as_server(context)

    return begin


def test_starttls(make_scene: SceneMaker, rig_pki: Pki) -> None:
    keys = {"tls": "starttls", "ca": str(rig_pki.ca_file), "server_name": "localhost"}
    scene = make_scene(backend=keys)
    scene.old.script["EHLO"] = b"250-old.example\r\n250-STARTTLS\r\n250 8BITMIME\r\n"
    scene.old.script["STARTTLS"] = starttls(rig_pki)
    client = scene.call().greet()
    assert client.deliver(b"x" * 100_000).startswith(b"250 ")
    assert client.deliver(b"y").startswith(b"250 ")
    client.leave()
    assert scene.old.said()[:3] == [b"EHLO localhost", b"STARTTLS", b"EHLO mx.test.example"]
    assert scene.closed()["messages"] == 2


def test_a_lie_under_tls_is_none_either(make_scene: SceneMaker, rig_pki: Pki) -> None:
    keys = {"tls": "starttls", "ca": str(rig_pki.ca_file), "server_name": "localhost"}
    scene = make_scene(backend=keys)
    scene.old.script["EHLO"] = b"250-old.example\r\n250 STARTTLS\r\n"
    scene.old.script["STARTTLS"] = starttls(rig_pki)
    scene.old.script["DATA"] = b"354 go\r\n250 2.0.0 queued\r\n"
    assert scene.call().greet().deliver(b"x") == b"451 4.4.2 lost the mail server\r\n"


def test_no_starttls_no_mail(make_scene: SceneMaker, rig_pki: Pki) -> None:
    scene = make_scene(backend={"tls": "starttls", "ca": str(rig_pki.ca_file), "server_name": "localhost"})
    assert told(scene) == NOT_REACHABLE
    assert scene.old.said() == [b"EHLO localhost"]
    assert scene.closed()["backend_error"] == "the backend does not start TLS as it should"


# Logins that are replayed.


@pytest.mark.parametrize(
    ("turns", "error"),
    [
        ({"EHLO": b"250 old.example\r\n"}, "it offers neither AUTH PLAIN nor AUTH LOGIN"),
        ({"GREETING": b"421 busy\r\n"}, "its greeting is a refusal"),
        ({"EHLO": b"421 busy\r\n"}, "it takes neither EHLO nor HELO"),
        ({"AUTH": b"454 4.7.0 not now\r\n"}, None),
        ({"AUTH": b"220 odd\r\n"}, None),
        ({"AUTH": b"421 4.3.2 busy\r\n"}, None),
    ],
)
def test_no_replay(make_scene: SceneMaker, turns: dict[str, bytes], error: str | None) -> None:
    scene = make_scene(backend={"login": "replay"}, submission={"auth": "replay"})
    scene.old.script["EHLO"] = b"250-old.example\r\n250 AUTH PLAIN\r\n"
    client = scene.call("submissions").greet()
    for key, turn in turns.items():
        scene.old.script[key] = turn
    assert client.log_in() == b"454 4.7.0 logins cannot be checked now, try again later\r\n"
    (failed,) = scene.log.wait(Event.LOGIN_FAILED)
    assert failed["credential"] is False
    client.leave()
    assert scene.closed()["backend_error"] == error


# Under which address a user may send.


@pytest.mark.parametrize(("mode", "code"), [("off", b"250"), ("log", b"250"), ("reject", b"550")])
def test_addresses_of_others(make_scene: SceneMaker, mode: str, code: bytes) -> None:
    scene = make_scene(submission={"sender_login": mode})
    client = scene.call("submissions").greet()
    client.log_in(b"Anna@example.org")
    for sender in (b"anna@EXAMPLE.org", b""):
        assert client.say(b"MAIL FROM:<%b>" % sender).startswith(b"250 ")
        client.say(b"RSET")
    answer = client.say(b"MAIL FROM:<boss@example.org>")
    assert answer[:3] == code
    client.leave()
    told = scene.log.lines(Event.SENDER_MISMATCHED)
    assert [line["sender"] for line in told] == (["boss@example.org"] if mode == "log" else [])
    refused = [(line["reason"], line["by"]) for line in scene.log.lines(Event.MESSAGE_REFUSED)]
    assert refused == ([("sender_login", "proxy")] if mode == "reject" else [])
    assert code == b"250" or answer.startswith(b"550 5.7.1 Anna@example.org may not send as boss@example.org (id ")


def test_a_name_without_a_domain_stands_for_the_user_of_any_of_ours(make_scene: SceneMaker) -> None:
    scene = make_scene(submission={"sender_login": "reject"})
    client = scene.call("submissions").greet()
    client.log_in(b"anna")
    assert client.say(b"MAIL FROM:<Anna@example.org>").startswith(b"250 ")
    client.say(b"RSET")
    assert client.say(b"MAIL FROM:<anna@elsewhere.example>").startswith(b"550 5.7.1 ")
    client.leave()
