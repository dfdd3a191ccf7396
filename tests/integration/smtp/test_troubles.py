"""Whatever happens to the old server or to the client, nobody is told that a message has arrived which has not."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from integration.realmail.daemon import free_port
from integration.realsmtp.broken import Broken
from integration.realsmtp.kinds import OldServer, SiteMaker, Stand
from integration.realsmtp.letters import wait_for_letters, wait_until
from integration.realsmtp.mail import message
from integration.realsmtp.postfix import Postfix
from integration.realsmtp.sink import SLOW, Sink
from integration.realsmtp.site import Route, SmtpSite
from integration.realsmtp.wire import Talk

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("smtp")]

_MUCH = b"a line of text, as long as some\r\n" * 20_000


@pytest.fixture(scope="module")
def troubled(sink: Sink, open_stand: SiteMaker) -> Iterator[SmtpSite]:
    """Old servers that are down, refuse, hang up, keep silent, or talk nonsense."""
    broken = {
        "busy": Broken(b"421 4.3.2 too busy\r\n", hangs_up=True),
        "gone": Broken(b"", hangs_up=True),
        "stuck": Broken(b"", hangs_up=False),
        "mute": Broken(b"220 mute.test ESMTP\r\n", hangs_up=False),
        "senseless": Broken(b"250-what\r\n251 ever\r\n", hangs_up=False),
    }
    with contextlib.ExitStack() as stack:
        for each in broken.values():
            stack.enter_context(each)
        routes = [Route(name=name, port=each.port) for name, each in broken.items()]
        routes += [Route(name="down", port=free_port()), Route(name="slow", port=sink.port)]
        patience = {"command_timeout": "2s", "data_reply_timeout": "1s"}
        timeouts = {"backend_hold": "0s", "backend_connect": "1s"}
        yield open_stand("troubled", routes, smtp=patience, timeouts=timeouts, server={"workers": 1})


# What the last line of the session says of each.
_WHYS = {
    "busy": "its greeting is a refusal",
    "gone": "closed",
    "stuck": "no answer",
    "mute": "no answer",
    "senseless": "no sense",
    "down": "refused",
}


def test_a_server_that_cannot_take_mail_is_told_as_temporary(troubled: SmtpSite) -> None:
    def try_it(name: str) -> None:
        with Talk(troubled.ports[name]) as client:
            client.hello()
            assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"250"), name
            assert client.say("RCPT TO:<somebody@example.org>").startswith(b"451 4.4.1"), name
            assert client.say("DATA").startswith(b"554 5.5.1"), name
            assert client.say("QUIT").startswith(b"221"), name

    mark = troubled.mark()
    with ThreadPoolExecutor(len(_WHYS)) as threads:
        assert list(threads.map(try_it, _WHYS)) == [None] * len(_WHYS)
    lines = {line["listener"]: line for line in troubled.closed(mark, len(_WHYS))}
    assert {name: line["messages"] for name, line in lines.items()} == dict.fromkeys(_WHYS, 0)
    for name, why in _WHYS.items():
        assert why in lines[name]["backend_error"]
    refused = troubled.program.events("message.refused", mark)
    assert [(line["level"], line["by"]) for line in refused] == [("warning", "backend")] * len(_WHYS)


def test_a_sender_that_needs_to_know_what_the_server_can_do_comes_later(postfix: Postfix, troubled: SmtpSite) -> None:
    port = troubled.ports["down"]
    with Talk(postfix.away_port) as client:
        client.hello()
        client.say(f"MAIL FROM:<smtp-{port}@remote.test> SMTPUTF8")
        client.say("RCPT TO:<grüße@example.org>")
        client.say("DATA")
        client.send(message("later", b"text\r\n") + b".\r\n")
        assert client.reply().startswith(b"250")

    # Offered no SMTPUTF8, it would send the mail back for good.
    def attempts() -> list[str]:
        return [line for line in postfix.log().splitlines() if "to=<grüße@example.org>" in line and "status=" in line]

    wait_until(lambda: len(attempts()) > 0, "an attempt to deliver")
    (line,) = attempts()
    assert "status=deferred" in line
    assert "451 4.4.1" in line


def test_a_server_that_does_not_confirm_a_message_in_time(troubled: SmtpSite) -> None:
    mark = troubled.mark()
    with Talk(troubled.ports["slow"]) as client:
        client.hello()
        assert client.deliver(SLOW, message("slow", b"text\r\n")).startswith(b"451 4.4.2")
        assert client.say("QUIT").startswith(b"221")
    (line,) = troubled.closed(mark)
    assert (line["messages"], line["backend_error"]) == (0, "no answer within 1 s")


@pytest.mark.parametrize("name", ["postfix", "exim", "opensmtpd"])
def test_a_server_that_dies_in_the_middle_of_a_message(request: pytest.FixtureRequest, name: str) -> None:
    stand: Stand[OldServer] = request.getfixturevalue(f"at_{name}")
    mark = stand.site.mark()
    with Talk(stand.site.ports["mx"]) as client:
        client.hello()
        client.open("orphan@example.org")
        client.send(message("orphan", _MUCH))
        stand.server.stop()
        try:
            client.send(_MUCH + b".\r\n")
            assert client.reply().startswith(b"451 4.4.2")
            # The next message finds it down, and the one after its return arrives.
            assert client.say("MAIL FROM:<sender@remote.test>").startswith(b"250")
            assert client.say("RCPT TO:<orphan@example.org>").startswith(b"451 4.4.1")
        finally:
            stand.server.start()
        assert client.say("RSET").startswith(b"250")
        assert client.deliver("adopted@example.org", message("adopted", b"text\r\n")).startswith(b"250")
        assert client.say("QUIT").startswith(b"221")
    (line,) = stand.site.closed(mark)
    assert line["messages"] == 1
    refused = stand.site.program.events("message.refused", mark)
    assert [line["reply"].split(";")[0][:9] for line in refused] == ["451 4.4.2", "451 4.4.1"]
    assert {(line["by"], line["level"]) for line in refused} == {("backend", "warning")}
    wait_for_letters(stand.server, "adopted@example.org")
    assert not [letter for letter in stand.server.letters() if letter.recipient == "orphan@example.org"]


@pytest.mark.parametrize("ending", ["fin", "rst", "tls"])
def test_a_client_that_leaves_in_the_middle_of_a_message_has_sent_none(stand: Stand[OldServer], ending: str) -> None:
    mark = stand.site.mark()
    with Talk(stand.site.ports["mx"]) as client:
        client.hello()
        if ending == "tls":
            client.starttls(stand.site.pki.client_context())
        client.open("half@example.org")
        # What has come so far would be a whole message, if somebody ended it.
        client.send(message("half", _MUCH) + b"\r\n.")
        if ending == "rst":
            client.reset()
    (line,) = stand.site.closed(mark)
    assert line["messages"] == 0
    assert line["side"] == "client"
    with Talk(stand.site.ports["mx"]) as client:
        client.hello()
        assert client.deliver(f"after.{ending}@example.org", message("after", b"text\r\n")).startswith(b"250")
        assert client.say("QUIT").startswith(b"221")
    stand.site.closed(mark, 2)
    wait_for_letters(stand.server, f"after.{ending}@example.org")
    assert not [letter for letter in stand.server.letters() if letter.recipient == "half@example.org"]
