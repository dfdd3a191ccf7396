"""The same random zones judged by pyspf: another reading of RFC 7208, differing only where we know why."""

import random
import warnings
from collections import Counter
from ipaddress import ip_address
from typing import Any

import pytest
from rig.zones import Zones, simple_zones

from tlsproxy.senders.names import MailExchange, Record, RecordType
from tlsproxy.senders.spf import SpfVerdict, check_host, questions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its source is of an older Python
    spf: Any = pytest.importorskip("spf")

ZONES = 6000
CLIENTS = ("192.0.2.1", "192.0.2.77", "198.51.100.1", "2001:db8::1", "2001:db8:1::1")
ADDRESSES = ("A 192.0.2.1", "A 192.0.2.9", "A 198.51.100.1", "AAAA 2001:db8::1", "AAAA 2001:db8::ffff")
NAMES = ("a.example", "b.example", "c.example", "d.a.example", "mx.b.example", "nobody.example")
DOMAINS = (*NAMES, *NAMES, "%{d}", "%{o}", "%{h}", "%{d2}", "%{l}.b.example", "%{ir}.%{v}.c.example", "%{p}")
LENGTHS = ("", "", "", "/24", "/0", "//64", "/16//32", "//0")
NETWORKS = ("ip4:192.0.2.0/24", "ip4:198.51.100.1", "ip4:192.0.2.77", "ip6:2001:db8::/32", "ip6:::/0", "ip4:0.0.0.0/1")
MISTAKES = (
    "moo",
    "a/33",
    "a//129",
    "a:x",
    "a:",
    "ip4:192.0.2",
    "all:a.example",
    "exp=%{c}",
    "=",
    "include:%{}",
)
MODIFIERS = ("redirect", "exp", "exp", "x-y", "moo")
TEXTS = ("not for %{i} of %{s}", "%{d} %{p} %{h} %{C}", "%{x}", "%{lr+}%_%%.", "")


def random_policy(chance: random.Random) -> str:
    terms = []
    for _ in range(chance.randint(0, 5)):
        name = chance.choice(("a", "mx", "ptr", "include", "exists", "network", "modifier"))
        domain = chance.choice(DOMAINS)
        match name:
            case "a" | "mx":
                term = name + chance.choice(("", f":{domain}")) + chance.choice(LENGTHS)
            case "ptr":
                term = name + chance.choice(("", f":{domain}"))
            case "include" | "exists":
                term = f"{name}:{domain}"
            case "network":
                term = chance.choice(NETWORKS)
            case _:
                term = f"{chance.choice(MODIFIERS)}={domain}"
        if chance.random() < 0.01:
            term = chance.choice(MISTAKES)
        terms.append(term if name == "modifier" else chance.choice(("", "", "-", "~", "?")) + term)
    return " ".join(["v=spf1", *terms, *chance.choice(([], ["-all"], ["~all"], ["all"]))])


def random_zones(chance: random.Random, client: str) -> Zones:
    zones: dict[str, list[str]] = {}
    for name in NAMES[:-1]:
        lines = chance.sample(ADDRESSES, chance.randint(0, 3))
        lines += [f"MX {n} {chance.choice(NAMES)}" for n in range(chance.choice((0, 1, 1, 2, 2, 2, 3, 11)))]
        lines += [f"TXT {random_policy(chance)}"] * chance.choices((0, 1, 2), (3, 60, 1))[0]
        lines += ["TIMEOUT"] * (chance.random() < 0.05)
        zones[name] = lines
    zones["c.example"] = [f"TXT {chance.choice(TEXTS)}", *zones["c.example"]][: chance.choice((1, 99))]
    reverse = ip_address(client).reverse_pointer
    zones[reverse] = [f"PTR {name}" for name in chance.sample(NAMES, chance.randint(0, 4))]
    zones[reverse] += ["TIMEOUT"] * (chance.random() < 0.05)
    return simple_zones(zones)


def ask_pyspf(zones: Zones, client: str, sender: str, helo: str) -> tuple[str, str, str]:
    """Verdict, explanation, problem."""

    def look_up(name: str, qtype: str, *_: object) -> list[tuple[tuple[str, str], Any]]:
        found = zones.told(name, RecordType(qtype))
        if found is None:
            raise spf.TempError("DNS timeout")
        return [((name, qtype), _as_pyspf(record)) for record in found]

    before, spf.DNSLookup = spf.DNSLookup, look_up
    try:
        query = spf.query(i=client, s=sender, h=helo, receiver="me.example")
        query.set_default_explanation("")
        verdict, _, text = query.check()
    finally:
        spf.DNSLookup = before
    return verdict, text if verdict == "fail" else "", text


def _as_pyspf(record: Record) -> object:
    match record:
        case bytes():
            return (record,)
        case MailExchange():
            return (record.preference, record.name)
        case str():
            return record
        case _:
            return str(record)


def known_difference(theirs: str, problem: str, zones: Zones) -> str:
    """Why they differ; empty where that is not known."""
    if "trivial recursion" in problem:
        return "an include of itself is an error to pyspf even where it is never reached"
    texts = b" ".join(text for records in zones.records.values() for text in records[RecordType.TXT])  # type: ignore[misc] # TXT records are bytes
    if theirs == "temperror" and zones.silent and (b"ptr" in texts or b"%{p}" in texts):
        return "a DNS error inside ptr is a temperror to pyspf, even where %{p} is never reached; see RFC 7208 §5.5"
    if "MUST appear at most once" in problem and not any(f" {name}=" in problem for name in ("redirect", "exp")):
        return "a repeated unknown modifier is an error to pyspf; RFC 7208 §6 says so of redirect and exp alone"
    return ""


async def test_pyspf_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the limit of void look-ups: pyspf counts each, the client's too; RFC 7208 §4.6.4 counts terms."""
    monkeypatch.setattr(spf, "MAX_VOID_LOOKUPS", 1000)
    monkeypatch.setattr(questions, "_VOID_LIMIT", 1000)
    verdicts: Counter[str] = Counter()
    differences: Counter[str] = Counter()
    unknown = []
    for seed in range(ZONES):
        chance = random.Random(seed)
        client = chance.choice(CLIENTS)
        zones = random_zones(chance, client)
        sender, helo = f"ann+x@{chance.choice(NAMES[:-1])}", chance.choice(NAMES)
        domain = sender.rpartition("@")[2]
        ours = await check_host(ip_address(client), domain, sender, helo, zones.look_up, receiver="me.example", now=1e9)
        theirs, explanation, problem = ask_pyspf(zones, client, sender, helo)
        verdicts[ours.verdict] += 1
        if (ours.verdict, ours.explanation) == (theirs, explanation):
            continue
        why = known_difference(theirs, problem, zones)
        differences[why] += 1
        if not why:
            unknown.append(f"{seed}: {ours} but {theirs} {explanation!r} {problem!r}")
    assert not unknown, "\n".join(unknown[:20])
    assert differences.total() < ZONES / 20
    assert all(verdicts[verdict] > ZONES / 100 for verdict in SpfVerdict), verdicts
