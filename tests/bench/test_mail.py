"""The part ``mail`` in miniature: what answers, what sends and takes mail, and tlsproxy and the others between them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from bench import rig as rigs
from bench.answers import answered, judged
from bench.machine import Cores
from bench.mail import KINDS, PEERS_OF_MAIL, TINY, Kind, Result, as_mail, mail, measure, place_of_mail, senders
from bench.peers import Peer, Running, Variant, running, tlsproxy, version
from bench.processes import BenchError
from bench.report import mail_table
from bench.rig import Rig, rig

OURS = ["ours"]


@pytest.fixture(scope="module")
def place(native: Path) -> Iterator[Rig]:
    assert native.exists()
    with rig(Cores.divide()) as found, place_of_mail(found) as of_mail:
        yield of_mail


@pytest.fixture(scope="module")
def proxy(place: Rig) -> Iterator[Running]:
    with running(place, as_mail(tlsproxy(sys.executable)), Variant()) as found:
        yield found


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.is_checked], ids=lambda kind: kind.key)
def test_every_kind_is_measured(place: Rig, proxy: Running, kind: Kind) -> None:
    assert measure(place, proxy, kind, TINY.share) > 0


@pytest.mark.parametrize("peer", PEERS_OF_MAIL, ids=lambda peer: peer.name)
def test_so_are_the_others(place: Rig, peer: Peer) -> None:
    if not version(peer):
        pytest.skip(f"{peer.name} is not installed")
    with running(place, peer, Variant()) as proxy:
        for kind in KINDS[:5]:
            if not kind.is_checked:
                assert measure(place, proxy, kind, TINY.share) > 0


def test_a_round_has_all_kinds(native: Path) -> None:
    assert native.exists()
    said: list[str] = []
    peer = tlsproxy(sys.executable)
    result = Result(say=said.append)
    with rig(Cores.divide()) as found:
        mail(found, [peer], TINY, result)
    assert (result.peers, result.notes) == ([peer.name], [])
    with_address = {kind.key for kind in KINDS if kind.is_checked and os.geteuid() == 0}
    assert set(result.samples) - with_address == {kind.key for kind in KINDS if not kind.is_checked}
    assert said == ["mail: round 1 of 1"]


@pytest.mark.parametrize("position", [0, 300, 1500, 2040])
def test_a_changed_byte_is_seen(place: Rig, proxy: Running, position: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRUPT_AT", str(position))
    with pytest.raises(BenchError, match="is spoilt"):
        measure(place, proxy, KINDS[0], TINY.share)


def test_each_message_is_counted(place: Rig, proxy: Running) -> None:
    kind = Kind(key="", title="", messages=7)
    with senders(place, proxy, kind, 3) as generator:
        result = generator.go()
    assert (result["done"], result["messages"]) == (3, 21)


def test_the_receiver_tells_what_it_has_taken(native: Path) -> None:
    address = f"127.0.0.1:{rigs.free_port()}"
    with subprocess.Popen([native / "smtpsink", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sink:
        assert sink.stdout is not None
        assert sink.stdout.readline() == b"listening\n"
        load = [native / "smtpload", "--target", address, "--count", "5", "--bytes", "100000"]
        for spoilt in ({}, {"CORRUPT_AT": "99000"}):
            subprocess.run(load, env={**os.environ, **spoilt}, capture_output=True, check=not spoilt)
        told, _ = sink.communicate()
    assert told.startswith(b'{"messages": 5, "spoilt": 5, ')


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("240.2.0.192.in-addr.arpa", "PTR", "client.bench.example."),
        ("Client.Bench.Example", "A", "192.0.2.240"),
        ("bench.example", "TXT", '"v=spf1 include:_spf.bench.example -all"'),
    ],
)
def test_names_are_answered(name: str, kind: str, expected: str) -> None:
    question = dns.message.make_query(name, kind)
    answer = dns.message.from_wire(answered(question.to_wire()))
    assert question.is_response(answer)
    assert [str(item) for rrset in answer.answer for item in rrset] == [expected]


def test_what_the_zone_lacks_does_not_exist() -> None:
    answer = dns.message.from_wire(answered(dns.message.make_query("bench.example", "MX").to_wire()))
    assert (answer.rcode(), answer.answer) == (dns.rcode.NXDOMAIN, [])


def test_everybody_may_log_in() -> None:
    assert judged(b"AUTH\t7\tPLAIN\tservice=smtp\tresp=AAAA\n") == b"OK\t7\tuser=bench@example.org\n"
    assert judged(b"VERSION\t1\t2\n") == b""


def test_the_table_compares_with_the_one_that_carries_most() -> None:
    samples = {"mx_one": {"a": [100.0, 900.0, 101.0], "b": [200.0], "ours": [50.0]}, "mx_checked": {"ours": [40.0]}}
    lines = mail_table({"peers": ["a", "ours", "b"], "samples": samples, "notes": []}, OURS).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in (lines[0], *lines[2:])] == [
        ["a", "b", "ours", "ratio"],
        ["101", "**200**", "50.0", "0.25"],
        ["-", "-", "40.0", "-"],
    ]
