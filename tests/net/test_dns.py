"""The resolver against a scripted name server: answers, failures, cache, sharing, cancelling, load."""

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import dns.rcode
import dns.resolver
import pytest
from rig.nameserver import NameServer
from rig.planes import on_both_planes, until
from rig.zones import Zones, simple_zones

from tlsproxy.core.errors import ConfigError
from tlsproxy.net.dns import Resolver, Tally
from tlsproxy.net.dns import resolver as resolver_module
from tlsproxy.net.plane import Plane
from tlsproxy.senders.names import LookupFailedError, MailExchange, Record, RecordType
from tlsproxy.senders.spf import SpfVerdict, check_host

A, AAAA, MX, TXT, PTR = RecordType
LONG = "x" * 4000


@pytest.fixture
def server(closing: Any) -> NameServer:
    zones = simple_zones(
        {
            "a.example": ["A 192.0.2.1", "A 192.0.2.2", "TXT one", "TXT two"],
            "six.example": ["AAAA 2001:db8::1"],
            "mail.example": ["MX 20 b.mail.example", "MX 10 a.mail.example", "MX 30 "],
            "1.2.0.192.in-addr.arpa": ["PTR a.example", "PTR bad\\046label.example", "PTR ", "PTR umlaut\\228.example"],
            "alias.example": ["CNAME other.example"],
            "other.example": ["CNAME a.example"],
            "loop.example": ["CNAME loop.example"],
            "long.example": [f"TXT {LONG}"],
            "silent.example": ["TIMEOUT"],
            "back\\slash.example": ["A 192.0.2.3"],
        }
    )
    found: NameServer = closing(NameServer(zones))
    return found


def resolver_of(*servers: NameServer, timeout_s: float = 2.0, entries: int = 100, max_ttl_s: float = 60) -> Resolver:
    addresses = [(ip_address(each.address[0]), each.address[1]) for each in servers]
    return Resolver(addresses, timeout_s=timeout_s, cache_entries=entries, max_ttl_s=max_ttl_s)


@on_both_planes
async def test_records(plane: Plane, server: NameServer) -> None:
    resolver = resolver_of(server)

    async def look_up(name: str, record_type: RecordType) -> Sequence[Record]:
        found = await resolver.look_up(name, record_type)
        return sorted(found, key=str)

    assert await look_up("A.Example.", A) == [IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")]
    assert await look_up("a.example", TXT) == [b"one", b"two"]
    assert await look_up("six.example", AAAA) == [IPv6Address("2001:db8::1")]
    assert await look_up("mail.example", MX) == [
        MailExchange(10, "a.mail.example"),
        MailExchange(20, "b.mail.example"),
        MailExchange(30, ""),
    ]
    assert await look_up("1.2.0.192.in-addr.arpa", PTR) == ["a.example"]
    assert await look_up("alias.example", A) == [IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")]
    assert await look_up("a.example", MX) == []
    assert await look_up("nobody.example", A) == []
    assert resolver.tally == Tally(asked=8, failed=0)


@pytest.mark.parametrize("name", ["", ".", "a..example", f"{'a' * 64}.example", "ü.example", f"{'a.' * 127}example"])
@on_both_planes
async def test_no_query_can_be_made_of_some_names(plane: Plane, server: NameServer, name: str) -> None:
    assert await resolver_of(server).look_up(name, A) == ()
    assert not server.asked


@on_both_planes
async def test_a_name_is_taken_as_it_stands(plane: Plane, server: NameServer) -> None:
    """No escapes, no search list, no second label for a short name."""
    resolver = resolver_of(server)
    assert await resolver.look_up("back\\slash.example", A) == (IPv4Address("192.0.2.3"),)
    assert await resolver.look_up("short", A) == ()
    assert [name for _, name, _ in server.asked] == ["back\\slash.example", "short"]


@on_both_planes
async def test_failures(plane: Plane, server: NameServer) -> None:
    server.rcodes |= {"servfail.example": dns.rcode.SERVFAIL, "refused.example": dns.rcode.REFUSED}
    server.garbled.add("garbled.example")
    resolver = resolver_of(server, timeout_s=0.1)
    names = ["servfail.example", "refused.example", "garbled.example", "silent.example", "loop.example"]
    for name in names * 2:
        with pytest.raises(LookupFailedError, match=f"A of {name} cannot be looked up"):
            await resolver.look_up(name, A)
    assert resolver.tally == Tally(asked=10, failed=10)  # none of them is remembered
    server.rcodes.clear()
    assert await resolver.look_up("servfail.example", A) == ()


@on_both_planes
async def test_nobody_listens(plane: Plane, closing: Any) -> None:
    with NameServer(Zones()) as gone:
        pass
    with pytest.raises(LookupFailedError):
        await resolver_of(gone, timeout_s=0.1).look_up("a.example", A)


@on_both_planes
async def test_the_second_server_helps_out(plane: Plane, server: NameServer) -> None:
    with NameServer(simple_zones({"a.example": ["TIMEOUT"]})) as silent:
        assert len(await resolver_of(silent, server, timeout_s=0.2).look_up("a.example", A)) == 2


@on_both_planes
async def test_a_truncated_answer_is_asked_for_over_tcp(plane: Plane, server: NameServer) -> None:
    server.truncated.add("a.example")
    resolver = resolver_of(server)
    assert len(await resolver.look_up("a.example", A)) == 2
    assert await resolver.look_up("long.example", TXT) == (LONG.encode(),)
    assert [transport for transport, _, _ in server.asked] == ["udp", "tcp"] * 2


@on_both_planes
async def test_a_server_that_hangs_up_is_no_good(plane: Plane, server: NameServer) -> None:
    server.truncated.add("a.example")
    server.hung_up.add("a.example")
    with pytest.raises(LookupFailedError):
        await resolver_of(server).look_up("a.example", MX)


@on_both_planes
async def test_forged_answers_are_passed_over(plane: Plane, server: NameServer) -> None:
    """Nothing, the question itself, an answer to another question, and one with another id come first."""
    server.forged.add("six.example")
    assert await resolver_of(server).look_up("six.example", AAAA) == (IPv6Address("2001:db8::1"),)
    assert len(server.asked) == 1


@on_both_planes
async def test_an_answer_is_remembered(plane: Plane, server: NameServer) -> None:
    resolver = resolver_of(server)
    for name in ("a.example", "A.EXAMPLE.", "nobody.example", "a.example", "nobody.example"):
        await resolver.look_up(name, A)
    await resolver.look_up("six.example", A)
    await resolver.look_up("six.example", A)
    assert set(server.times_asked().values()) == {1}


@pytest.mark.parametrize(
    ("name", "ttl_s", "negative_ttl_s", "remembered_s"),
    [
        ("a.example", 7, 300, 7),
        ("a.example", 300, 7, 60),
        ("a.example", 0, 7, None),
        ("nobody.example", 300, 9, 9),
        ("six.example", 300, 9, 9),
        ("alias.example", 5, 300, 5),
        ("long.example", 300, 300, 60),
    ],
)
@on_both_planes
async def test_how_long_an_answer_is_remembered(
    plane: Plane, server: NameServer, name: str, ttl_s: int, negative_ttl_s: int, remembered_s: int | None
) -> None:
    server.ttl_s, server.negative_ttl_s = ttl_s, negative_ttl_s
    resolver = resolver_of(server, max_ttl_s=60)
    now = asyncio.get_running_loop().time()
    await resolver.look_up(name, TXT)
    later = asyncio.get_running_loop().time()
    if remembered_s is None:
        assert not resolver._cache._found
        return
    assert resolver._cache.get((name, TXT), now + remembered_s - 0.01) is not None
    assert resolver._cache.get((name, TXT), later + remembered_s) is None
    assert not resolver._cache._found


@pytest.mark.parametrize("name", ["nobody.example", "six.example"])
@on_both_planes
async def test_without_an_soa_nothing_is_not_remembered(plane: Plane, server: NameServer, name: str) -> None:
    server.negative_ttl_s = None
    resolver = resolver_of(server)
    await resolver.look_up(name, TXT)
    assert not resolver._cache._found


@on_both_planes
async def test_the_cache_is_bounded_in_entries(plane: Plane, server: NameServer) -> None:
    resolver = resolver_of(server, entries=2)
    for name in ("1.example", "2.example", "1.example", "3.example", "1.example", "2.example"):
        await resolver.look_up(name, A)
        assert len(resolver._cache._found) <= 2
    assert server.times_asked() == {("1.example", "A"): 1, ("2.example", "A"): 2, ("3.example", "A"): 1}


@on_both_planes
async def test_a_large_answer_is_not_remembered(plane: Plane, server: NameServer) -> None:
    server.zones.add("large.example", TXT, b"x" * 4097)
    server.zones.add("many.example", A, *(IPv4Address(number) for number in range(65)))
    resolver = resolver_of(server)
    for name, record_type in [("large.example", TXT), ("many.example", A)] * 2:
        await resolver.look_up(name, record_type)
    assert not resolver._cache._found
    assert server.times_asked()["large.example", "TXT"] == 4  # UDP and TCP, twice


@on_both_planes
async def test_the_number_of_records_is_bounded(plane: Plane, server: NameServer) -> None:
    """Each of them costs the loop, and whoever sends mail chooses how many there are."""
    for name, count in (("most.example", 255), ("more.example", 256), ("flood.example", 4000)):  # and one of EDNS
        server.zones.add(name, A, *(IPv4Address(number) for number in range(count)))
    resolver = resolver_of(server)
    assert len(await resolver.look_up("most.example", A)) == 255
    for name in ("more.example", "flood.example"):
        with pytest.raises(LookupFailedError):
            await resolver.look_up(name, A)


@on_both_planes
async def test_a_question_is_asked_once_for_all(plane: Plane, server: NameServer) -> None:
    server.zones.delay_s = 0.1
    resolver = resolver_of(server)
    names = ["a.example", "A.example", "a.example."] * 10
    found = await asyncio.gather(*(resolver.look_up(name, A) for name in names))
    assert [len(each) for each in found] == [2] * 30
    assert len(server.asked) == 1
    assert not resolver._questions


@on_both_planes
async def test_a_failure_is_told_to_all(plane: Plane, server: NameServer) -> None:
    server.rcodes["a.example"] = dns.rcode.SERVFAIL
    resolver = resolver_of(server)
    found = await asyncio.gather(*(resolver.look_up("a.example", A) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in found] == [LookupFailedError] * 5
    assert len(server.asked) == 1


@on_both_planes
async def test_the_question_outlives_all_askers_but_the_last(plane: Plane, server: NameServer) -> None:
    server.zones.delay_s = 0.2
    resolver = resolver_of(server)
    asking = [asyncio.create_task(resolver.look_up("a.example", A)) for _ in range(3)]
    await until(lambda: bool(server.asked))
    asking[0].cancel()
    asking[2].cancel()
    assert len(await asking[1]) == 2
    assert (asking[0].cancelled(), asking[2].cancelled()) == (True, True)
    assert len(server.asked) == 1


@on_both_planes
async def test_the_last_asker_ends_the_question(plane: Plane, server: NameServer) -> None:
    server.zones.delay_s = 0.1
    resolver = resolver_of(server)
    asking = [asyncio.create_task(resolver.look_up("a.example", A)) for _ in range(2)]
    await until(lambda: bool(server.asked))
    question = resolver._questions["a.example", A].task
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    assert not resolver._questions
    # Somebody who comes now, before the question has ended, is not told of its end.
    assert len(await resolver.look_up("a.example", A)) == 2
    assert question.cancelled()


@on_both_planes
async def test_whoever_comes_in_between_keeps_the_own_question(plane: Plane, server: NameServer) -> None:
    server.zones.delay_s = 0.1
    resolver = resolver_of(server)
    first = asyncio.create_task(resolver.look_up("a.example", A))
    await until(lambda: bool(server.asked))
    given_up = resolver._questions.pop(("a.example", A))
    second = asyncio.create_task(resolver.look_up("a.example", A))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert resolver._questions["a.example", A] is not given_up
    assert len(await second) == 2


@on_both_planes
async def test_questions_in_flight_are_bounded(
    plane: Plane, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "_MAX_IN_FLIGHT", 3)
    server.zones.delay_s = 0.2
    resolver = resolver_of(server)
    asking = [asyncio.create_task(resolver.look_up(f"{number}.example", A)) for number in range(7)]
    await asyncio.sleep(0.1)
    assert len(server.asked) == 3
    asking[6].cancel()
    assert await asyncio.gather(*asking[:6]) == [()] * 6
    assert len(server.asked) == 6


@pytest.fixture
def frozen() -> Iterator[None]:
    """What stands is no concern of the garbage collector's, as in a worker: here, all that tests have left behind."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@on_both_planes
@pytest.mark.usefixtures("frozen")
async def test_slow_servers_hold_nobody_up(plane: Plane, closing: Any) -> None:
    """200 senders whose server takes a second for each of three answers, and the loop is there for others."""
    zones = Zones()
    for number in range(200):
        zones.add_policy(f"{number}.example", f"v=spf1 include:_spf.{number}.example -all")
        zones.add_policy(f"_spf.{number}.example", f"v=spf1 a:out.{number}.example -all")
        zones.add(f"out.{number}.example", A, IPv4Address("192.0.2.1"))
    zones.delay_s = 1.0
    server = closing(NameServer(zones))
    resolver = resolver_of(server, timeout_s=3.0, entries=1000)
    wall_s = cpu_s = 0.0

    async def watch() -> None:
        nonlocal wall_s, cpu_s
        while True:
            wall, cpu = time.monotonic(), time.thread_time()
            await asyncio.sleep(0.01)
            wall_s = max(wall_s, time.monotonic() - wall - 0.01)
            cpu_s = max(cpu_s, time.thread_time() - cpu)

    async def check(number: int) -> SpfVerdict:
        domain = f"{number}.example"
        result = await check_host(
            ip_address("192.0.2.1"), domain, f"u@{domain}", domain, resolver.look_up, receiver="", now=0
        )
        return result.verdict

    watching = asyncio.create_task(watch())
    start = time.monotonic()
    assert await asyncio.gather(*map(check, range(200))) == [SpfVerdict.PASS] * 200
    assert time.monotonic() - start < 6.0
    watching.cancel()
    await asyncio.wait([watching])
    assert cpu_s < 0.1  # in CPU time, which does not know what else this machine does
    assert wall_s < 0.5  # whoever waits for an answer in the loop needs a second


async def test_servers_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """/etc/resolv.conf is read where no server is named; its search list is never used."""
    path = tmp_path / "resolv.conf"
    path.write_text("search corp.example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver 192.0.2.54\n")
    monkeypatch.setattr(dns.resolver.BaseResolver.__init__, "__defaults__", (str(path), True))
    resolver = Resolver((), timeout_s=2.0, cache_entries=1, max_ttl_s=1)
    assert [each.address for each in resolver._resolver.nameservers] == ["192.0.2.53", "2001:db8::53", "192.0.2.54"]
    assert resolver._resolver.lifetime == 6.0
    path.write_text("search corp.example\n")
    with pytest.raises(ConfigError, match=r"dns\.servers: /etc/resolv\.conf names no server"):
        Resolver((), timeout_s=2.0, cache_entries=1, max_ttl_s=1)
