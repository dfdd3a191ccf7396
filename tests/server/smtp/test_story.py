"""SMTP sessions from start to end, as client, old server and log see them."""

import socket
import ssl
from ipaddress import ip_address
from typing import Final

import pytest
from rig.smtpscene import STRANGER, Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event

CONTENT: Final = b"Subject: hi\r\n\r\nbody\r\n..dot\r\n"


def test_mail_of_a_neighbour(scene: Scene) -> None:
    client = scene.call()
    assert client.answer() == b"220 mx.test.example ESMTP\r\n"
    assert client.say(b"EHLO client.example").splitlines() == [
        b"250-mx.test.example",
        b"250-PIPELINING",
        b"250-SIZE 25000000",
        b"250-STARTTLS",
        b"250-ENHANCEDSTATUSCODES",
        b"250-8BITMIME",
        b"250-SMTPUTF8",
        b"250 DSN",
    ]
    assert client.say(b"MAIL FROM:<joe@b.example> SIZE=100 BODY=8BITMIME") == b"250 2.1.0 sender ok\r\n"
    assert len(scene.old.visitors) == 1, "nobody is welcome yet, and the old server sees nothing"
    assert client.say(b"RCPT TO:<joe@elsewhere.example>").startswith(b"550 5.7.1 relaying denied (id ")
    assert len(scene.old.visitors) == 1
    assert client.say(b"RCPT TO:<anna@example.org>") == b"250 2.1.5 recipient fine\r\n"
    assert client.say(b"DATA").startswith(b"354 ")
    assert client.say(CONTENT + b".") == b"250 2.0.0 queued as 4711\r\n"
    assert client.leave() == b"221 2.0.0 goodbye\r\n"
    (message,) = scene.old.messages
    assert message.mail == b"MAIL FROM:<joe@b.example> SIZE=4196 BODY=8BITMIME"
    assert message.recipients == (b"RCPT TO:<anna@example.org>",)
    received, own = message.content[: -len(CONTENT)], message.content[-len(CONTENT) :]
    assert own == CONTENT
    assert received.startswith(b"Received: from client.example ")
    assert scene.old.wait_gone(2)[-1].said[0] == b"EHLO mx.test.example"
    assert scene.old.said()[-1] == b"QUIT"
    assert scene.old.said(0) == [b"EHLO mx.test.example", b"QUIT"]
    (refused,) = scene.log.lines(Event.MESSAGE_REFUSED)
    assert (refused["reason"], refused["by"], refused["level"]) == ("relaying_denied", "proxy", "info")
    assert (refused["sender"], refused["recipient"]) == ("joe@b.example", "joe@elsewhere.example")
    (relayed,) = scene.log.lines(Event.MESSAGE_RELAYED)
    assert relayed["to"] == ["anna@example.org"]
    assert (relayed["recipients"], relayed["size"], relayed["bare_newlines"]) == (1, len(CONTENT) - 1, 0)
    assert relayed["reply"] == "250 2.0.0 queued as 4711"
    closed = scene.closed()
    assert relayed["message"] == f"{closed['session']}.1"
    assert (closed["phase"], closed["reason"], closed["level"]) == ("mail", "logged_out", "info")
    assert (closed["role"], closed["helo"], closed["checks"]) == ("mx", "client.example", "private")
    assert (closed["messages"], closed["recipients"], closed["refused"]) == (1, 1, 1)
    assert closed["backend_address"] == scene.old.address
    assert closed["bytes_to_backend"] > len(CONTENT)


def test_mail_of_a_stranger(make_scene: SceneMaker, tls_version: ssl.TLSVersion) -> None:
    """Under TLS, with all the checks going well, told to the old server by XCLIENT."""
    scene = make_scene(backend={"identity": "xclient"})
    scene.old.script["EHLO"] = b"250-old.example\r\n250 XCLIENT NAME ADDR PROTO HELO\r\n"
    scene.old.script["XCLIENT"] = b"220 again\r\n"
    scene.zones.add("7.2.0.192.in-addr.arpa", "PTR", "mail.b.example")
    scene.zones.add("mail.b.example", "A", ip_address("192.0.2.7"))
    scene.zones.add_policy("b.example", "v=spf1 ip4:192.0.2.7 -all")
    client = scene.call(source=STRANGER).greet(b"mail.b.example")
    client.send(b"STARTTLS\r\n")
    assert client.answer().startswith(b"220 ")
    client.secure(scene.pki.client_context(tls_version))
    assert b"STARTTLS" not in client.say(b"EHLO mail.b.example")
    assert client.deliver(CONTENT.replace(b"..", b"."), b"anna@example.org", b"bert@example.org").startswith(b"250 ")
    client.leave()
    (message,) = scene.old.messages
    assert message.content.startswith(b"Received-SPF: pass ")
    assert b"\r\nAuthentication-Results: mx.test.example;" in message.content
    assert b"Received: from" not in message.content
    said = scene.old.said()
    assert said[:3] == [
        b"EHLO mx.test.example",
        b"XCLIENT HELO=mail.b.example PROTO=ESMTP NAME=mail.b.example ADDR=192.0.2.7",
        b"EHLO mail.b.example",
    ]
    closed = scene.closed()
    assert (closed["client_ip"], closed["iprev"], closed["helo_check"], closed["spf"]) == (
        "192.0.2.7",
        "pass",
        "match",
        "pass",
    )
    assert (closed["checks"], closed["would"], closed["recipients"]) == ("done", None, 2)
    assert closed["tls_version"] == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[tls_version.name]
    assert set(closed["seconds"]) == {"admit", "mail", "handshake"}


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_mail_of_a_user(scene: Scene, listener: str, tls_version: ssl.TLSVersion) -> None:
    client = scene.call(listener, version=tls_version).greet()
    if listener == "submission":
        assert client.say(b"MAIL FROM:<a@b>") == b"530 5.7.0 must issue STARTTLS first\r\n"
        client.start_tls(scene.pki.client_context(tls_version))
    assert client.say(b"MAIL FROM:<a@b>") == b"530 5.7.0 authentication required\r\n"
    assert client.log_in() == b"235 2.7.0 authentication successful\r\n"
    assert client.deliver(b"x", b"joe@elsewhere.example").startswith(b"250 2.0.0 queued")
    client.leave()
    (message,) = scene.old.messages
    assert b"with ESMTPSA" in message.content
    assert b"127.0.0.1" not in message.content, "where a user sits is nobody's business"
    (relayed,) = scene.log.lines(Event.MESSAGE_RELAYED)
    assert relayed["user"] == "anna"
    closed = scene.closed()
    assert (closed["user"], closed["mechanism"], closed["login"]) == ("anna", "PLAIN", "ok")
    assert (closed["role"], closed["checks"], closed["iprev"]) == ("submission", None, None)


def test_auth_is_offered_under_tls_alone(scene: Scene) -> None:
    client = scene.call("submission")
    client.answer()
    assert b"AUTH" not in client.say(b"EHLO a.example")
    client.start_tls(scene.pki.client_context())
    assert b"250-AUTH PLAIN LOGIN\r\n" in client.say(b"EHLO a.example")


def test_who_has_logged_in_is_told_the_old_server(make_scene: SceneMaker) -> None:
    scene = make_scene(backend={"identity": "xclient", "login": "xclient"})
    scene.old.script["EHLO"] = b"250-old.example\r\n250 XCLIENT ADDR LOGIN\r\n"
    scene.old.script["XCLIENT"] = b"220 again\r\n"
    client = scene.user()
    assert client.deliver(b"x", b"joe@elsewhere.example").startswith(b"250 ")
    client.leave()
    assert b"XCLIENT LOGIN=anna ADDR=127.0.0.1" in scene.old.said()


@pytest.mark.parametrize("mechanisms", [b"PLAIN LOGIN", b"LOGIN"])
def test_a_login_is_replayed(make_scene: SceneMaker, mechanisms: bytes) -> None:
    scene = make_scene(backend={"login": "replay"}, submission={"auth": "replay"})
    scene.old.script["EHLO"] = b"250-old.example\r\n250 AUTH " + mechanisms + b"\r\n"
    scene.old.script["AUTH"] = b"235 2.7.0 in\r\n" if b"PLAIN" in mechanisms else b"334 VXNlcm5hbWU6\r\n"
    scene.old.script["YW5UYQ=="] = b"334 UGFzc3dvcmQ6\r\n"
    scene.old.script["CZNJCMV0LXFDTNJK"] = b"235 2.7.0 in\r\n"
    client = scene.user()
    assert client.deliver(b"x", b"joe@elsewhere.example").startswith(b"250 ")
    assert len(scene.old.visitors) == 2, "the connection that knows the user is kept"
    client.leave()
    assert scene.closed()["login"] == "ok"


def test_several_messages_go_over_one_connection(scene: Scene) -> None:
    client = scene.call().greet()
    for number in range(3):
        assert client.deliver(b"Subject: %d\r\n\r\nx" % number).startswith(b"250 ")
    assert client.say(b"MAIL FROM:<a@b.example>").startswith(b"250 ")
    assert client.say(b"RSET") == b"250 2.0.0 OK\r\n"
    client.leave()
    assert len(scene.old.visitors) == 2
    assert [message.content.splitlines()[-3] for message in scene.old.messages] == [
        b"Subject: %d" % n for n in range(3)
    ]
    assert [line["message"].rpartition(".")[2] for line in scene.log.lines(Event.MESSAGE_RELAYED)] == ["1", "2", "3"]
    assert scene.closed()["messages"] == 3


def test_everything_at_once(scene: Scene) -> None:
    """RFC 2920: groups of commands, answered in order, and the next message right behind the end of the last."""
    client = scene.call().greet()
    group = b"MAIL FROM:<joe@b.example>\r\nRCPT TO:<anna@example.org>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n"
    client.send(group)
    assert [client.answer()[:3] for _ in range(4)] == [b"250", b"250", b"550", b"354"]
    client.send(b"first\r\n.\r\n" + group)
    assert [client.answer()[:3] for _ in range(5)] == [b"250", b"250", b"250", b"550", b"354"]
    client.send(b"second\r\n.\r\nQUIT\r\n")
    assert client.rest() == b"250 2.0.0 queued as 4711\r\n221 2.0.0 goodbye\r\n"
    client.close()
    assert [message.content.splitlines()[-1] for message in scene.old.messages] == [b"first", b"second"]
    closed = scene.closed()
    assert (closed["messages"], closed["recipients"], closed["refused"]) == (2, 2, 2)


def test_half_closed_client_gets_its_answers(scene: Scene) -> None:
    client = scene.call().greet()
    client.open()
    client.send(b"x\r\n.\r\nQUIT\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest() == b"250 2.0.0 queued as 4711\r\n221 2.0.0 goodbye\r\n"
    client.close()
    assert scene.closed()["reason"] == "logged_out"
