"""The mails that the part ``data`` measures with, and its figures."""

import sys
from pathlib import Path

import pytest

from bench import data
from bench.machine import Cores
from bench.peers import tlsproxy
from bench.processes import BenchError

SIZE = 100_000


def test_every_kind_of_mail_has_its_speed() -> None:
    mails = data.mails(SIZE)
    assert len(mails) > 9
    assert all(data.measure(mail) > 0.1 for mail in mails.values())
    assert max(map(len, mails.values())) < 2 * SIZE


@pytest.mark.parametrize("mail", [b"a\r\n", b"a\r\n.\r\nb\r\n.\r\n"])
def test_a_mail_that_does_not_end_where_it_should_has_none(mail: bytes) -> None:
    with pytest.raises(BenchError, match="ended too early"):
        data.measure(mail)


def test_each_interpreter_is_asked_once() -> None:
    ours = [tlsproxy(sys.executable), tlsproxy(sys.executable, "uvloop")]
    said: list[str] = []
    found = data.data(ours, Cores.divide().proxy, said.append, SIZE)
    assert list(found) == [ours[0].name]
    assert set(found[ours[0].name]) == set(data.mails(SIZE))
    assert len(said) == 1


def test_an_interpreter_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("raise ImportError('nothing here')\n")
    monkeypatch.setenv("BENCH_SOURCE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="nothing here"):
        data.data([tlsproxy(sys.executable)], Cores.divide().proxy, lambda _: None, SIZE)
