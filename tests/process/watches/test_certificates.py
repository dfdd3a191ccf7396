"""What is told of certificates that near their end, and when new files are noticed."""

import asyncio
import dataclasses
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rig.pki import Pki
from rig.recorder import Line, Recorder

from tlsproxy.config.model import CertificateFiles
from tlsproxy.core.events import Event
from tlsproxy.net.tls.certs import Certificate, load_certificate
from tlsproxy.process.watches import certificates as certwatch_room
from tlsproxy.process.watches.certificates import CertificateWatch


class Watched:
    """A watch over one pair on disk."""

    def __init__(self, pki: Pki, folder: Path) -> None:
        chain, key = pki.pair(folder, "mail.example")
        self.files = CertificateFiles(chain=chain, key=key)
        self.log = Recorder()
        self.renewals = 0
        self.watch = CertificateWatch(self.log, self._renew)

    def _renew(self) -> None:
        self.renewals += 1

    def certificate(self, days_left: float | None = None) -> Certificate:
        certificate = load_certificate(self.files)
        if days_left is None:
            return certificate
        return dataclasses.replace(certificate, not_after=datetime.now(UTC) + timedelta(days=days_left, minutes=1))

    def change(self, days_left: float | None = None) -> None:
        self.watch.change([self.certificate(days_left)], [self.files])

    def told(self) -> list[tuple[Any, Any]]:
        lines: list[Line] = self.log.lines(Event.CERTIFICATE_EXPIRING)
        return [(line["level"], line["days_left"]) for line in lines]


@pytest.fixture
async def watched(rig_pki: Pki, tmp_path: Path) -> Any:
    found = Watched(rig_pki, tmp_path)
    yield found
    found.watch.close()
    found.watch.close()


async def test_loaded_is_told_once_for_each_new_pair(watched: Watched, rig_pki: Pki, tmp_path: Path) -> None:
    watched.change()
    watched.change()
    (line,) = watched.log.lines(Event.CERTIFICATE_LOADED)
    assert line["names"] == ["mail.example"]
    assert line["chain"] == str(watched.files.chain)
    assert line["days_left"] == watched.certificate().days_left(datetime.now(UTC))
    rig_pki.pair(tmp_path, "mail.example")
    watched.change()
    assert len(watched.log.lines(Event.CERTIFICATE_LOADED)) == 2
    assert watched.told() == []


@pytest.mark.parametrize(
    ("days", "level"), [(22, None), (21, None), (20, "warning"), (6, "warning"), (0, "warning"), (-1, "error")]
)
async def test_marks(watched: Watched, days: int, level: str | None) -> None:
    watched.change(days)
    assert watched.told() == ([(level, days)] if level else [])
    watched.watch._look()
    assert len(watched.told()) == (1 if level else 0), "once for each mark"


async def test_each_mark_is_told_once(watched: Watched) -> None:
    for days in (30, 20, 15, 7, 6, 3, 1, 0.5, 0, -1, -2):
        watched.watch._certificates = [watched.certificate(days)]
        watched.watch._warn(datetime.now(UTC))
    assert watched.told() == [("warning", 20), ("warning", 6), ("warning", 0), ("error", -1)]


async def test_renewed_pair_begins_anew(watched: Watched) -> None:
    watched.change(5)
    watched.change(30)
    watched.change(5.5)
    assert [level for level, _ in watched.told()] == ["warning"] * 2


async def test_new_files_ask_for_a_renewal_once(watched: Watched, rig_pki: Pki, tmp_path: Path) -> None:
    watched.change()
    watched.watch._look()
    assert watched.renewals == 0
    rig_pki.pair(tmp_path, "mail.example")
    watched.watch._look()
    watched.watch._look()
    assert watched.renewals == 1, "a pair that is refused is tried again only when it changes again"
    watched.files.key.chmod(0o640)
    watched.watch._look()
    assert watched.renewals == 2
    watched.change()
    watched.watch._look()
    assert watched.renewals == 2


async def test_missing_file_is_a_change(watched: Watched) -> None:
    watched.change()
    moved = watched.files.key.rename(watched.files.key.with_suffix(".old"))
    watched.watch._look()
    assert watched.renewals == 1
    moved.rename(watched.files.key)
    watched.watch._look()
    assert watched.renewals == 1, "as it was: nothing to do"


async def test_file_that_changes_between_reading_and_watching(watched: Watched) -> None:
    certificate = watched.certificate()
    os.utime(watched.files.chain, ns=(1, 1))
    watched.watch.change([certificate], [watched.files])
    watched.watch._look()
    assert watched.renewals == 1


async def test_looks_by_itself(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certwatch_room, "_LOOK_PERIOD_S", 0.01)
    asked = asyncio.Event()
    watched.watch._renew = asked.set
    watched.change()
    watched.files.chain.touch()
    async with asyncio.timeout(5):
        await asked.wait()
