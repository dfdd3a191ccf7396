"""Clients that speak too early, too late or never, and ends that we make: restarts, evictions, full tables."""

import threading
import time
from typing import Any, Final

import pytest
from rig.scriptedsmtp import after
from rig.smtpscene import Client, Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event
from tlsproxy.core.outcome import Reason

GREETING: Final = b"220 mx.test.example ESMTP\r\n"
RESTARTING: Final = b"421 4.3.2 Server restarting"
INACTIVE: Final = b"421 4.4.2 Disconnected for inactivity"


# Before the greeting.


def early(scene: Scene) -> Client:
    client = scene.call()
    client.send(b"EHLO early.example\r\n")
    return client


def test_an_early_talker_is_told_of_and_served(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"greet_delay": "200ms"})
    client = early(scene)
    assert client.answer() == GREETING
    assert client.answer().startswith(b"250-mx.test.example\r\n")
    (told,) = scene.log.lines(Event.GREETING_PRECEDED)
    assert told["level"] == "warning"
    client.leave()
    assert scene.closed()["reason"] == "logged_out"


def test_an_early_talker_is_sent_away_if_so_wished(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"greet_delay": "200ms", "early_talker": "drop"})
    client = early(scene)
    answer = client.rest()
    assert answer.startswith(b"554 5.5.0 ")
    assert answer.count(b"\r\n") == 1
    client.close()
    assert scene.log.lines(Event.GREETING_PRECEDED)
    closed = scene.closed()
    assert (closed["reason"], closed["side"]) == ("spoke_early", "client")


def test_nobody_looks_if_so_wished(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"greet_delay": "200ms", "early_talker": "off"})
    assert early(scene).answer() == GREETING
    assert not scene.log.lines(Event.GREETING_PRECEDED)


def test_users_are_not_kept_waiting(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"greet_delay": "1m", "early_talker": "drop"})
    client = scene.call("submission")
    client.send(b"EHLO early.example\r\n")
    assert client.answer() == GREETING


def test_who_waits_for_the_greeting_gets_it_in_time(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"greet_delay": "200ms", "early_talker": "drop"})
    began = time.monotonic()
    client = scene.call().greet()
    assert time.monotonic() - began >= 0.2
    client.leave()
    assert not scene.log.lines(Event.GREETING_PRECEDED)


def test_who_leaves_before_the_greeting(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"greet_delay": "200ms"})
    scene.call().close()
    assert scene.closed()["reason"] == "client_closed"


# Too late.


def test_silent_client(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"command_timeout": "200ms"})
    client = scene.call().greet()
    assert client.rest().startswith(INACTIVE)
    client.close()
    closed = scene.closed()
    assert (closed["reason"], closed["side"]) == ("idle_timeout", "client")


def test_half_a_command_is_no_command(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"command_timeout": "300ms"})
    client = scene.call().greet()
    client.send(b"MAIL FR")
    assert client.rest().startswith(INACTIVE)
    client.close()
    assert scene.closed()["reason"] == "idle_timeout"


def test_silent_in_the_middle_of_the_content(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"data_timeout": "200ms"})
    client = scene.call().greet().open()
    client.send(b"half\r\n")
    assert client.rest().startswith(INACTIVE)
    client.close()
    closed = scene.closed()
    assert (closed["reason"], closed["messages"]) == ("idle_timeout", 0)
    assert scene.old.messages == []
    assert b"half" in scene.old.wait_gone(2)[-1].torn


def test_slow_content_is_not_silent(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"data_timeout": "400ms", "command_timeout": "400ms"})
    client = scene.call().greet().open()
    pause = threading.Event()
    for _ in range(6):
        pause.wait(0.1)
        client.send(b"x\r\n")
    assert client.say(b".").startswith(b"250 ")


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_no_login_in_time(make_scene: SceneMaker, listener: str) -> None:
    scene = make_scene(timeouts={"login": 0.3, "login_stressed": 0.3})
    client = scene.call(listener).greet()
    assert client.rest().startswith(INACTIVE)
    client.close()
    assert scene.closed()["reason"] == "login_timeout"


def test_a_user_has_time(make_scene: SceneMaker) -> None:
    scene = make_scene(timeouts={"login": 0.5, "login_stressed": 0.5})
    client = scene.user()
    threading.Event().wait(0.7)
    assert client.say(b"NOOP") == b"250 2.0.0 OK\r\n"


def test_no_handshake_in_time(make_scene: SceneMaker) -> None:
    scene = make_scene(timeouts={"tls_handshake": 0.2})
    client = scene.call().greet()
    assert client.say(b"STARTTLS").startswith(b"220 ")
    assert client.rest() == b"", "not a word in clear where TLS is expected"
    client.close()
    closed = scene.closed()
    assert (closed["phase"], closed["reason"]) == ("handshake", "handshake_timeout")


# Ends that we make.


def drain(scene: Scene, window_s: float) -> Any:
    """Begin to say goodbye; returns what ends when that is done."""
    done = threading.Thread(target=lambda: scene.proxy.wait_for(scene.proxy.worker.roster.drain(window_s)))
    done.start()
    return done


def test_at_rest_goodbye_comes_at_once(scene: Scene) -> None:
    client = scene.call().greet()
    assert client.deliver(b"x").startswith(b"250 ")
    done = drain(scene, 0.1)
    assert client.rest().startswith(RESTARTING)
    client.close()
    done.join()
    closed = scene.closed()
    assert (closed["reason"], closed["side"], closed["messages"]) == ("shutdown", "proxy", 1)


def test_a_message_under_way_is_let_through(scene: Scene) -> None:
    client = scene.call().greet().open()
    goes_on = threading.Event()
    scene.old.script["DOT"] = after(goes_on, b"250 2.0.0 queued\r\n")
    done = drain(scene, 10)
    client.send(b"x\r\n.\r\n")
    scene.old.wait(lambda: bool(scene.old.visitors[-1].contents))
    assert not scene.log.lines(Event.SESSION_CLOSED)
    goes_on.set()
    assert client.answer() == b"250 2.0.0 queued\r\n"
    assert client.rest().startswith(RESTARTING)
    client.close()
    done.join()
    assert scene.closed()["messages"] == 1


def test_at_the_end_of_the_window_nobody_is_waited_for(scene: Scene) -> None:
    client = scene.call().greet().open()
    client.send(b"half\r\n")
    done = drain(scene, 0.3)
    assert client.rest().startswith(RESTARTING)
    client.close()
    done.join()
    closed = scene.closed()
    assert (closed["reason"], closed["messages"]) == ("shutdown", 0)
    assert scene.old.messages == []


def session(scene: Scene) -> Any:
    return next(iter(scene.proxy.worker.roster._sessions))


def test_stopped_twice(scene: Scene) -> None:
    client = scene.call().greet().open()

    def stop() -> None:
        live = session(scene)
        live.stop(Reason.SHUTDOWN)
        live.stop(Reason.SHUTDOWN)

    scene.proxy.call(stop)
    assert client.rest() == b""
    client.close()
    assert scene.closed()["reason"] == "shutdown"


def test_stopped_while_it_waits_for_its_last_words_to_arrive(scene: Scene) -> None:
    client = scene.call().greet()
    scene.proxy.call(lambda: session(scene).stop(Reason.SHUTDOWN))
    assert client.answer().startswith(RESTARTING)
    scene.proxy.call(lambda: session(scene).stop(Reason.SHUTDOWN))
    assert client.rest() == b""
    assert scene.closed()["reason"] == "shutdown"


def test_the_oldest_stranger_makes_room(make_scene: SceneMaker) -> None:
    scene = make_scene(limits={"unauthenticated": 2})
    accepted = scene.call().greet()
    accepted.say(b"MAIL FROM:<joe@b.example>")
    accepted.say(b"RCPT TO:<anna@example.org>")
    oldest, second = scene.call().greet(), scene.call().greet()
    third = scene.call().greet()
    assert oldest.rest().startswith(b"421 4.3.2 Too many connections are waiting for a login (2)")
    assert accepted.say(b"DATA").startswith(b"354 "), "who has a recipient here stays"
    assert second.say(b"NOOP").startswith(b"250 ")
    assert third.say(b"NOOP").startswith(b"250 ")
    (closed,) = scene.log.wait(Event.SESSION_CLOSED)
    assert (closed["reason"], closed["level"]) == ("unauthenticated_full", "warning")


def test_too_many_are_told_in_clear_alone(make_scene: SceneMaker) -> None:
    scene = make_scene(limits={"per_address": 1})
    client = scene.call().greet()
    told = scene.call()
    assert told.rest().startswith(b"421 4.7.0 Too many connections from your address (1)")
    closed = scene.log.wait(Event.SESSION_CLOSED)[0]
    assert (closed["phase"], closed["reason"]) == ("admit", "address_full")
    assert "role" not in closed
    client.leave()


def test_known_to_be_down(scene: Scene) -> None:
    def give_up() -> None:
        for service in scene.proxy.worker.plan.values():
            service.way.health.is_down = lambda: True

    scene.proxy.call(give_up)
    client = scene.call()
    assert client.rest().startswith(b"421 4.3.2 The mail server cannot be reached")
    client.close()
    closed = scene.closed()
    assert (closed["phase"], closed["reason"], closed["level"]) == ("mail", "backend_down", "warning")
