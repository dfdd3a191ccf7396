"""The openspf test suite for RFC 7208, where somebody has put it; it is data of others and not in this repository."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from rig.zones import Zones, simple_zones
from tlsproxy.senders.names import Lookup
from tlsproxy.senders.spf import SpfResult, check_host

_VARIABLE: Final = "TLSPROXY_RFC7208_SUITE"
_BESIDE: Final = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rfc7208-tests.yml"
WHERE: Final = (
    f"rfc7208-tests.yml is missing: take it from https://github.com/sdgathman/pyspf (test/, openspf release 2014.04) "
    f"and name it in {_VARIABLE}"
)


@dataclass(frozen=True, slots=True)
class Case:
    """One test of the suite."""

    name: str
    scenario: int
    zones: Mapping[str, Sequence[str]]
    host: str
    mailfrom: str
    helo: str
    results: tuple[str, ...]
    explanation: str | None
    """None where the suite does not care; empty for what it calls DEFAULT."""

    def make_zones(self) -> Zones:
        return simple_zones(self.zones)

    async def run(self, lookup: Lookup) -> SpfResult:
        domain = self.mailfrom.rpartition("@")[2] or self.helo
        ip = ip_address(self.host)
        return await check_host(ip, domain, self.mailfrom, self.helo, lookup, receiver="mx.example", now=1e9)


def parametrize() -> pytest.MarkDecorator:
    """One run for each case; one that is skipped where the suite is missing."""
    cases = load_suite()
    if cases:
        return pytest.mark.parametrize("case", cases, ids=lambda case: f"{case.scenario}-{case.name}")
    return pytest.mark.parametrize("case", [pytest.param(None, marks=pytest.mark.skip(reason=WHERE))])


@cache
def load_suite() -> tuple[Case, ...]:
    """All cases of the suite; none where it is missing."""
    path = Path(os.environ.get(_VARIABLE) or _BESIDE)
    if not path.exists():
        return ()
    scenarios = yaml.safe_load_all(path.read_text("utf-8"))
    return tuple(case for number, scenario in enumerate(scenarios) for case in _cases(number, scenario))


def _cases(number: int, scenario: dict[str, Any]) -> list[Case]:
    zones = {name: _lines(entries) for name, entries in scenario["zonedata"].items()}
    return [
        Case(
            name=name,
            scenario=number,
            zones=zones,
            host=test["host"],
            mailfrom=test["mailfrom"],
            helo=test["helo"],
            results=(test["result"],) if isinstance(test["result"], str) else tuple(test["result"]),
            explanation=test["explanation"].replace("DEFAULT", "") if "explanation" in test else None,
        )
        for name, test in scenario["tests"].items()
    ]


def _lines(entries: list[Any]) -> list[str]:
    """The words of ``simple_zones``; SPF records stand in for TXT records unless there are some of those."""
    pairs = [(entry, "") if isinstance(entry, str) else next(iter(entry.items())) for entry in entries]
    has_texts = any(kind == "TXT" for kind, _ in pairs)
    lines = []
    for kind, value in pairs:
        if value == "NONE" or (kind == "SPF" and has_texts):
            continue
        separator = " " if kind == "MX" else ""
        words = separator.join(map(str, value)) if isinstance(value, list) else str(value)
        lines.append(f"{'TXT' if kind == 'SPF' else kind} {words}".rstrip("\n") if kind != "TIMEOUT" else kind)
    return lines
