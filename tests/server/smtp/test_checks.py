"""What is made of the checks of a sender: told at RCPT, to those whom they concern, in header and log."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

import pytest
from rig.smtpscene import STRANGER, Client, Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.events import Event
from tlsproxy.senders.names import LookupFailedError, Record, RecordType

NOBODY: Final = b"550 5.7.25 192.0.2.7 is not identified by reverse DNS nor by HELO client.b.example (id "
FORGED: Final = b"550 5.7.23 192.0.2.7 may not send mail for b.example (SPF) (id "
STRICT: Final = {"mx": {"profile": "strict"}}
OBSERVE: Final = {"mx": {"profile": "observe"}}
DRY: Final = {"mx": {"dry_run": True}}


def identified(scene: Scene, name: str = "client.b.example") -> Scene:
    """The stranger has a name, and by that name it greets."""
    scene.zones.add("7.2.0.192.in-addr.arpa", RecordType.PTR, name)
    scene.zones.add(name, RecordType.A, ip_address("192.0.2.7"))
    return scene


def stranger(scene: Scene, hello: bytes = b"client.b.example") -> Client:
    return scene.call(source=STRANGER).greet(hello)


def told(client: Client, *recipients: bytes, sender: bytes = b"joe@b.example") -> list[bytes]:
    """The answers to MAIL and to RCPT."""
    answers = [client.say(b"MAIL FROM:<%b>" % sender)]
    return answers + [client.say(b"RCPT TO:<%b>" % each) for each in recipients or (b"anna@example.org",)]


def header_of(scene: Scene, name: bytes) -> bytes:
    content = scene.old.messages[-1].content.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    return b"".join(line for line in content.splitlines() if line.startswith(name + b": "))


def test_who_is_nobody_is_refused_before_the_old_server_hears_of_it(scene: Scene) -> None:
    client = stranger(scene)
    sender, recipient = told(client)
    assert sender == b"250 2.1.0 sender ok\r\n"
    assert recipient.startswith(NOBODY)
    client.leave()
    assert len(scene.old.visitors) == 1, "it was only asked what it can do"
    (refused,) = scene.log.lines(Event.MESSAGE_REFUSED)
    assert (refused["reason"], refused["by"], refused["recipient"]) == ("both", "proxy", "anna@example.org")
    closed = scene.closed()
    assert recipient.rstrip().endswith(f"(id {closed['session']})".encode())
    assert (closed["iprev"], closed["helo_check"], closed["spf"]) == ("permerror", "mismatch", "none")
    assert (closed["checks"], closed["would"], closed["refused"], closed["recipients"]) == ("done", None, 1, 0)


def test_at_mail_if_so_wished(make_scene: SceneMaker) -> None:
    scene = make_scene(smtp={"reject_at": "mail"})
    client = stranger(scene)
    assert client.say(b"MAIL FROM:<joe@b.example>").startswith(NOBODY)
    assert client.say(b"RCPT TO:<anna@example.org>") == b"503 5.5.1 say MAIL first\r\n"
    client.leave()
    (refused,) = scene.log.lines(Event.MESSAGE_REFUSED)
    assert (refused["sender"], refused["recipient"]) == ("joe@b.example", None)
    scene.closed()


def test_who_forges_is_refused(scene: Scene) -> None:
    identified(scene).zones.add_policy("b.example", "v=spf1 -all")
    client = stranger(scene)
    assert told(client)[1].startswith(FORGED)
    client.say(b"RSET")
    assert told(client, sender=b"joe@c.example")[1].startswith(b"250 "), "of another domain nothing is known"
    client.leave()
    closed = scene.closed()
    assert (closed["spf"], closed["iprev"], closed["helo_check"]) == ("none", "pass", "match")


def test_an_explanation_if_so_wished(make_scene: SceneMaker) -> None:
    scene = identified(make_scene(mx={"spf": {"explanation": True}}))
    scene.zones.add_policy("b.example", "v=spf1 -all exp=why.b.example")
    scene.zones.add("why.b.example", RecordType.TXT, b"go away, %{i}")
    first, second = told(stranger(scene))[1].splitlines()
    assert first == b"550-5.7.23 b.example says: go away, 192.0.2.7"
    assert second.startswith(FORGED)


def test_the_exempt_are_reached_and_nobody_with_them(scene: Scene) -> None:
    """A stranger that names the postmaster first gets no further with the others."""
    client = stranger(scene)
    answers = told(client, b"anna@example.org", b"Postmaster@example.org", b"anna@example.org", b"postmaster")
    assert [answer[:3] for answer in answers] == [b"250", b"550", b"250", b"550", b"250"]
    assert client.say(b"DATA").startswith(b"354 ")
    assert client.say(b"x\r\n.").startswith(b"250 ")
    identified(scene)
    client.leave()
    (message,) = scene.old.messages
    assert message.recipients == (b"RCPT TO:<Postmaster@example.org>", b"RCPT TO:<postmaster>")
    assert b"would=reject" in header_of(scene, b"X-Tlsproxy")
    (relayed,) = scene.log.lines(Event.MESSAGE_RELAYED)
    assert (relayed["would"], relayed["to"]) == ("reject", ["Postmaster@example.org", "postmaster"])
    closed = scene.closed()
    assert (closed["would"], closed["refused"], closed["recipients"]) == ("reject", 2, 2)


def test_a_dry_run_takes_all_and_tells(make_scene: SceneMaker) -> None:
    scene = make_scene(**DRY)
    client = stranger(scene)
    assert told(client)[1].startswith(b"250 ")
    client.say(b"DATA")
    assert client.say(b"x\r\n.").startswith(b"250 ")
    assert b"would=reject" in header_of(scene, b"X-Tlsproxy")
    scene.zones.add_policy("good.example", "v=spf1 +all")
    client.leave()
    assert scene.log.lines(Event.MESSAGE_RELAYED)[0]["would"] == "reject"
    assert not scene.log.lines(Event.MESSAGE_REFUSED)
    assert scene.closed()["would"] == "reject"


def test_what_one_message_would_have_met_is_not_told_of_the_next(make_scene: SceneMaker) -> None:
    scene = identified(make_scene(**DRY))
    scene.zones.add_policy("b.example", "v=spf1 -all")
    client = stranger(scene)
    for sender in (b"joe@b.example", b"joe@c.example"):
        told(client, sender=sender)
        client.say(b"DATA")
        assert client.say(b"x\r\n.").startswith(b"250 ")
    client.leave()
    assert [line["would"] for line in scene.log.lines(Event.MESSAGE_RELAYED)] == ["reject", None]
    assert scene.closed()["would"] == "reject"


@pytest.mark.parametrize(("sections", "code"), [(OBSERVE, b"250"), ({}, b"250"), (STRICT, b"550")])
def test_profiles_by_a_foreign_hello(make_scene: SceneMaker, sections: dict[str, Any], code: bytes) -> None:
    scene = identified(make_scene(**sections), "mail.c.example")
    assert told(stranger(scene))[1][:3] == code


@pytest.mark.parametrize(("sections", "code"), [(OBSERVE, b"250"), ({}, b"550"), (STRICT, b"550")])
def test_profiles_by_a_client_that_calls_itself_us(
    make_scene: SceneMaker, sections: dict[str, Any], code: bytes
) -> None:
    scene = identified(make_scene(**sections))
    answer = told(stranger(scene, b"mx.test.example"))[1]
    assert answer[:3] == code
    assert code == b"250" or answer.startswith(b"550 5.7.1 mx.test.example is this server")


# Name servers that fail, or never answer.


async def fails(name: str, record_type: RecordType) -> Sequence[Record]:
    raise LookupFailedError(f"{name} {record_type}")


class Silent:
    """A look-up without end."""

    def __init__(self) -> None:
        self.asked = 0
        self.given_up = 0

    async def look_up(self, name: str, record_type: RecordType) -> Sequence[Record]:  # noqa: ARG002 - an interface
        self.asked += 1
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return ()


SOON: Final = {"identity": {"deadline": "200ms"}, "spf": {"deadline": "200ms"}}


@pytest.mark.parametrize("is_silent", [True, False])
@pytest.mark.parametrize(
    ("profile", "answer"), [("standard", b"250 "), ("strict", b"451 4.7.25 reverse DNS of 192.0.2.7")]
)
def test_temporary_errors_turn_nobody_away_for_good(
    make_scene: SceneMaker, profile: str, answer: bytes, *, is_silent: bool
) -> None:
    silent = Silent()
    scene = make_scene(mx={"profile": profile, **SOON}, lookup=silent.look_up if is_silent else fails)
    client = stranger(scene)
    assert told(client)[1].startswith(answer)
    client.leave()
    closed = scene.closed()
    assert (closed["iprev"], closed["helo_check"], closed["spf"]) == ("temperror", "temperror", "temperror")
    assert silent.given_up == silent.asked
    assert bool(silent.asked) == is_silent


def test_who_leaves_is_asked_about_no_more(make_scene: SceneMaker) -> None:
    silent = Silent()
    scene = make_scene(lookup=silent.look_up)
    client = stranger(scene)
    client.say(b"MAIL FROM:<joe@b.example>")
    client.send(b"RCPT TO:<anna@example.org>\r\n")
    client.close()
    closed = scene.closed()
    assert (closed["reason"], closed["checks"]) == ("client_closed", "none")
    assert silent.asked > 1
    assert silent.given_up == silent.asked
    assert len(scene.old.visitors) == 1


def test_the_answer_comes_with_the_last_look_up_and_not_with_the_deadline(make_scene: SceneMaker) -> None:
    scene = identified(make_scene())
    scene.zones.add_policy("b.example", "v=spf1 -all")
    scene.zones.delay_s = 0.05
    client = stranger(scene)
    assert told(client)[1].startswith(FORGED)
    client.leave()
    assert scene.closed()["duration"] < 3


def test_what_is_off_is_not_asked(make_scene: SceneMaker) -> None:
    keys = ("no_ptr", "not_confirmed", "helo_mismatch", "both", "temperror", "impersonation", "not_fqdn")
    off = {
        "identity": dict.fromkeys(keys, "off"),
        "spf": dict.fromkeys(("fail", "softfail", "permerror", "temperror", "helo"), "off"),
    }
    scene = make_scene(mx=off)
    client = stranger(scene)
    assert client.deliver(b"x").startswith(b"250 ")
    client.leave()
    assert scene.zones.asked == []
    closed = scene.closed()
    assert (closed["iprev"], closed["helo_check"], closed["spf"]) == (None, None, None)


@pytest.mark.parametrize("forwarders", [{"networks": ["192.0.2.0/24"]}, {"ptr_suffixes": ["b.example"]}])
def test_forwarders_are_not_held_to_spf(make_scene: SceneMaker, forwarders: dict[str, Any]) -> None:
    scene = identified(make_scene(mx={"trusted_forwarders": forwarders}))
    scene.zones.add_policy("b.example", "v=spf1 -all")
    assert told(stranger(scene))[1].startswith(b"250 ")


def test_exempt_networks_are_not_checked(make_scene: SceneMaker) -> None:
    scene = make_scene(mx={"exempt_networks": ["192.0.2.0/24"]})
    client = stranger(scene)
    assert client.deliver(b"x").startswith(b"250 ")
    client.leave()
    assert scene.zones.asked == []
    assert scene.closed()["checks"] == "exempt"


def test_a_new_name_is_checked_anew_and_the_same_is_not(scene: Scene) -> None:
    identified(scene)
    client = stranger(scene, b"foreign.example")
    told(client)
    asked = len(scene.zones.asked)
    assert client.say(b"EHLO client.b.example").startswith(b"250-")
    assert client.say(b"EHLO client.b.example").startswith(b"250-")
    told(client)
    client.leave()
    assert [name for name, _ in scene.zones.asked].count("7.2.0.192.in-addr.arpa") == 1
    assert len(scene.zones.asked) > asked
    closed = scene.closed()
    assert (closed["helo"], closed["helo_check"]) == ("client.b.example", "match")
