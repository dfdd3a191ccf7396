"""What a client is told when the old server is down, rude, slow or lying: a 4xx that is right, and never a 250."""

import threading
from typing import Final

import pytest
from rig.peers import WITHIN_S
from rig.scriptedsmtp import Turn, after, break_off, hang_up, say_nothing, then
from rig.smtpscene import Client, Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event

NOT_REACHABLE: Final = b"451 4.4.1 mail server not reachable, try again later\r\n"
LOST: Final = b"451 4.4.2 lost the mail server\r\n"
SENSELESS: Final = b"451 4.5.0 the mail server gave an answer that makes no sense, try again later\r\n"
LATER: Final = b"421 4.3.2 going down\r\n"
SOFTENED: Final = b"451 4.3.2 going down\r\n"
GARBAGE: Final = b"SSH-2.0-OpenSSH\r\n"
LONG: Final = b"250-" + b"x" * 80_000
MANY: Final = b"250-x\r\n" * 200 + b"250 x\r\n"
QUICK: Final = {"command_timeout": "300ms", "data_timeout": "300ms", "data_reply_timeout": "300ms"}
SILENT: Final = {"smtp": QUICK}


def assert_nothing_came_of_it(scene: Scene, client: Client) -> None:
    """The client lives on, nothing was delivered or said to be, and the log says so."""
    assert client.say(b"NOOP") == b"250 2.0.0 OK\r\n"
    assert client.leave() == b"221 2.0.0 goodbye\r\n"
    assert not scene.log.lines(Event.MESSAGE_RELAYED)
    closed = scene.closed()
    assert (closed["reason"], closed["messages"]) == ("logged_out", 0)


def refusal(scene: Scene) -> tuple[str, str, str]:
    (line,) = scene.log.wait(Event.MESSAGE_REFUSED)
    return line["reason"], line["by"], line["level"]


# Before the first recipient is told.


@pytest.mark.parametrize(
    "greeting", [hang_up, break_off, b"421 4.3.2 busy\r\n", b"554 5.7.1 no\r\n", b"250 odd\r\n", GARBAGE, LONG, MANY]
)
def test_no_greeting(scene: Scene, greeting: Turn) -> None:
    client = scene.call().greet()
    scene.old.script["GREETING"] = greeting
    assert client.say(b"MAIL FROM:<joe@b.example>").startswith(b"250 ")
    assert client.say(b"RCPT TO:<anna@example.org>") == NOT_REACHABLE
    assert client.say(b"RCPT TO:<bert@example.org>") == NOT_REACHABLE, "it is not asked again within a transaction"
    assert client.say(b"DATA") == b"554 5.5.1 no valid recipients\r\n"
    assert len(scene.old.visitors) == 2
    assert scene.log.wait(Event.MESSAGE_REFUSED, 2)[0]["level"] == "warning"
    assert_nothing_came_of_it(scene, client)
    assert scene.log.closed()["backend_error"]


def test_nobody_there(scene: Scene) -> None:
    client = scene.call().greet()
    scene.old.close()
    client.say(b"MAIL FROM:<joe@b.example>")
    assert client.say(b"RCPT TO:<anna@example.org>") == NOT_REACHABLE
    assert_nothing_came_of_it(scene, client)
    assert "Connection refused" in scene.log.closed()["backend_error"]


def test_nobody_there_from_the_start(make_scene: SceneMaker) -> None:
    scene = make_scene()
    scene.old.close()
    client = scene.call()
    client.answer()
    assert client.say(b"EHLO a.example").endswith(b"250-8BITMIME\r\n250 SMTPUTF8\r\n"), "what it can do is guessed"
    client.say(b"MAIL FROM:<joe@b.example>")
    assert client.say(b"RCPT TO:<anna@example.org>") == NOT_REACHABLE
    assert_nothing_came_of_it(scene, client)


@pytest.mark.parametrize("turns", [{"EHLO": b"421 no\r\n"}, {"EHLO": b"500 what?\r\n", "HELO": b"500 what?\r\n"}])
def test_no_hello(scene: Scene, turns: dict[str, bytes]) -> None:
    client = scene.call().greet()
    for key, turn in turns.items():
        scene.old.script[key] = turn
    client.say(b"MAIL FROM:<joe@b.example>")
    assert client.say(b"RCPT TO:<anna@example.org>") == NOT_REACHABLE
    assert_nothing_came_of_it(scene, client)
    assert scene.log.closed()["backend_error"] == "it takes neither EHLO nor HELO"


def test_it_knows_helo_alone(make_scene: SceneMaker) -> None:
    scene = make_scene()
    scene.old.script["EHLO"] = b"502 5.5.1 what?\r\n"
    client = scene.call()
    client.answer()
    assert b"8BITMIME" not in client.say(b"EHLO a.example")
    assert client.deliver(b"x").startswith(b"250 ")
    assert scene.old.messages[0].mail == b"MAIL FROM:<joe@b.example>"
    client.leave()


@pytest.mark.parametrize("silent", ["GREETING", "EHLO", "MAIL", "RCPT"])
def test_silent_before_the_content(make_scene: SceneMaker, silent: str) -> None:
    scene = make_scene(**SILENT)
    client = scene.call().greet()
    scene.old.script[silent] = say_nothing
    client.say(b"MAIL FROM:<joe@b.example>")
    assert client.say(b"RCPT TO:<anna@example.org>") == (LOST if silent in {"MAIL", "RCPT"} else NOT_REACHABLE)
    assert_nothing_came_of_it(scene, client)
    assert scene.log.closed()["backend_error"] == "no answer within 0.3 s"


def test_an_introduction_has_a_deadline_of_its_own(make_scene: SceneMaker) -> None:
    scene = make_scene(timeouts={"backend_login": 0.3, "backend_hold": 0.0})
    client = scene.call().greet()
    scene.old.script["GREETING"] = say_nothing
    client.say(b"MAIL FROM:<joe@b.example>")
    assert client.say(b"RCPT TO:<anna@example.org>") == NOT_REACHABLE
    client.leave()
    assert scene.closed()["backend_error"] == "no introduction within 0.3 s"


# At each command of a transaction.

ANSWERS: Final = [
    (hang_up, LOST),
    (break_off, LOST),
    (GARBAGE, LOST),
    (LONG, LOST),
    (MANY, LOST),
    (LATER, SOFTENED),
    (b"354 what?\r\n", SENSELESS),
    (b"334 \r\n", SENSELESS),
    (b"450 4.2.0 greylisted\r\n", b"450 4.2.0 greylisted\r\n"),
    (b"550-5.1.1 no\r\n550 5.1.1 such user\r\n", b"550-5.1.1 no\r\n550 5.1.1 such user\r\n"),
]


@pytest.mark.parametrize(("turn", "told"), ANSWERS)
def test_at_mail(scene: Scene, turn: Turn, told: bytes) -> None:
    """Told at RCPT: the sender is told the old server with the first recipient that is welcome."""
    client = scene.call().greet()
    scene.old.script["MAIL"] = turn
    client.say(b"MAIL FROM:<joe@b.example>")
    assert client.say(b"RCPT TO:<anna@example.org>") == told
    assert client.say(b"RCPT TO:<bert@example.org>") == told
    scene.old.script["MAIL"] = b"250 fine\r\n"
    assert client.say(b"RSET").startswith(b"250 ")
    assert client.deliver(b"x").startswith(b"250 "), "the next message finds its way"
    client.leave()


@pytest.mark.parametrize(("turn", "told"), ANSWERS)
def test_at_mail_of_a_user(scene: Scene, turn: Turn, told: bytes) -> None:
    client = scene.user()
    scene.old.script["MAIL"] = turn
    assert client.say(b"MAIL FROM:<anna@example.org>") == told
    assert refusal(scene)[:2] == ("sender", "backend")
    assert client.say(b"RCPT TO:<joe@b.example>") == b"503 5.5.1 say MAIL first\r\n"
    assert_nothing_came_of_it(scene, client)


@pytest.mark.parametrize(("turn", "told"), ANSWERS)
def test_at_rcpt(scene: Scene, turn: Turn, told: bytes) -> None:
    client = scene.call().greet()
    scene.old.script["RCPT"] = turn
    client.say(b"MAIL FROM:<joe@b.example>")
    assert client.say(b"RCPT TO:<anna@example.org>") == told
    level = "info" if told.startswith(b"5") else "warning"
    assert refusal(scene) == ("recipient", "backend", level)
    assert client.say(b"DATA") == b"554 5.5.1 no valid recipients\r\n"
    assert_nothing_came_of_it(scene, client)


@pytest.mark.parametrize(("turn", "told"), [*ANSWERS[:6], (b"250 fine\r\n", SENSELESS), *ANSWERS[7:]])
def test_at_data(scene: Scene, turn: Turn, told: bytes) -> None:
    client = scene.call().greet()
    scene.old.script["DATA"] = turn
    client.say(b"MAIL FROM:<joe@b.example>")
    client.say(b"RCPT TO:<anna@example.org>")
    assert client.say(b"DATA") == told
    assert refusal(scene)[:2] == ("data", "backend")
    assert client.say(b"RSET").startswith(b"250 ")
    assert_nothing_came_of_it(scene, client)


@pytest.mark.parametrize(("turn", "told"), ANSWERS)
def test_at_the_end_of_the_content(scene: Scene, turn: Turn, told: bytes) -> None:
    client = scene.call().greet()
    scene.old.script["DOT"] = turn
    assert client.deliver(b"x") == told
    assert refusal(scene)[:2] == ("content", "backend")
    assert_nothing_came_of_it(scene, client)


@pytest.mark.parametrize("silent", ["DATA", "DOT"])
def test_silent_at_the_content(make_scene: SceneMaker, silent: str) -> None:
    scene = make_scene(**SILENT)
    client = scene.call().greet()
    scene.old.script[silent] = say_nothing
    client.say(b"MAIL FROM:<joe@b.example>")
    client.say(b"RCPT TO:<anna@example.org>")
    client.send(b"DATA\r\n")
    if silent == "DOT":
        assert client.answer().startswith(b"354 ")
        client.send(b"x\r\n.\r\n")
    assert client.answer() == LOST
    client.say(b"RSET")
    assert_nothing_came_of_it(scene, client)


# In the middle of the content.


@pytest.mark.parametrize("turn", [hang_up, break_off])
def test_lost_in_the_middle(scene: Scene, turn: Turn) -> None:
    """The rest is read to its end: what is not content must not be taken for commands."""
    client = scene.call().greet()
    scene.old.script["CONTENT"] = turn
    client.open()
    scene.old.wait_gone(2)
    client.send(b"MAIL FROM:<in@content.example>\r\n" * 10_000)
    assert client.say(b".") == LOST
    assert refusal(scene) == ("content", "backend", "warning")
    assert_nothing_came_of_it(scene, client)


@pytest.mark.parametrize("lie", [b"250 2.0.0 queued\r\n", b"2", b"354 go\r\n", b"421 bye\r\n", b"552 too big\r\n"])
def test_an_answer_before_the_end_is_none(scene: Scene, lie: bytes) -> None:
    client = scene.call().greet()
    is_said = threading.Event()
    scene.old.script["CONTENT"] = then(lie, lambda _visitor: is_said.set())
    scene.old.script["DOT"] = hang_up
    client.open()
    assert is_said.wait(WITHIN_S)
    client.send(b"first half\r\n")
    assert client.say(b"second half\r\n.") == LOST
    assert_nothing_came_of_it(scene, client)
    assert scene.log.closed()["backend_error"] == "spoke without being asked"


def test_an_answer_with_the_go_ahead_is_none(scene: Scene) -> None:
    client = scene.call().greet()
    scene.old.script["DATA"] = b"354 go\r\n250 2.0.0 queued\r\n"
    assert client.deliver(b"x") == LOST
    assert_nothing_came_of_it(scene, client)


def test_late_answer_is_waited_for(make_scene: SceneMaker) -> None:
    """An old server that scans a message takes longer than a client may take for the next part of one."""
    scene = make_scene(smtp={"data_timeout": "100ms", "command_timeout": "100ms", "data_reply_timeout": "10s"})
    client = scene.call().greet()
    is_due = threading.Event()
    scene.old.script["DOT"] = then(after(is_due, b""), b"250 2.0.0 scanned\r\n")
    client.open()
    client.send(b"x\r\n.\r\n")
    threading.Timer(0.5, is_due.set).start()
    assert client.answer() == b"250 2.0.0 scanned\r\n"
    assert scene.log.wait(Event.MESSAGE_RELAYED)
    client.close()
    scene.closed()
