"""One stranger cannot have all places at the old server."""

from ipaddress import ip_address

from rig.smtpscene import STRANGER, Scene
from server.smtp.conftest import SceneMaker

from tlsproxy.core.addresses import Peer
from tlsproxy.senders.local import KnownClients
from tlsproxy.server.smtp.delivering.places import Places

_STRANGER = Peer(ip_address("192.0.2.7"), 1)
_OTHER = Peer(ip_address("192.0.2.8"), 1)
_OURS = Peer(ip_address("10.0.0.1"), 1)


def test_each_address_has_so_many() -> None:
    places = Places(2, KnownClients())
    assert [places.take(_STRANGER) for _ in range(3)] == [True, True, False]
    assert places.take(_OTHER)
    places.give_back(_STRANGER)
    assert places.take(_STRANGER)
    for peer in (_STRANGER, _STRANGER, _OTHER):
        places.give_back(peer)
    assert not len(places)


def test_who_is_not_counted() -> None:
    for places, peer in ((Places(1, KnownClients()), _OURS), (Places(None, KnownClients()), _STRANGER)):
        assert all(places.take(peer) for _ in range(3))
        places.give_back(peer)
        assert not len(places)


def _first(scene: Scene, name: bytes) -> bytes:
    """The answer to the first recipient of a client."""
    client = scene.call(source=STRANGER).greet(name)
    client.say(b"MAIL FROM:<>")
    return client.say(b"RCPT TO:<postmaster@example.org>")


def test_one_too_many_comes_back_later(make_scene: SceneMaker) -> None:
    scene = make_scene(mx={"local_domains": ["example.org"], "deliveries_per_address": 1})
    client = scene.call(source=STRANGER).greet(b"one.example")
    client.say(b"MAIL FROM:<>")
    assert client.say(b"RCPT TO:<postmaster@example.org>").startswith(b"250 ")
    assert _first(scene, b"two.example").startswith(b"450 4.7.0 ")
    client.leave()
    assert _first(scene, b"three.example").startswith(b"250 ")
