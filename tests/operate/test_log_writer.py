"""The thread behind the log: whole, bounded, never in the way."""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tlsproxy.core.errors import ConfigError
from tlsproxy.operate.log_writer import LineWriter, open_log

FULL = Path("/dev/full")
LINE = b"x" * 99 + b"\n"
LIMIT = 10_000

Make = Callable[[int], LineWriter]


@pytest.fixture
def make() -> Iterator[Make]:
    writers: list[LineWriter] = []

    def make(fd: int) -> LineWriter:
        writers.append(LineWriter(fd, lambda count: b"dropped %d\n" % count))
        return writers[-1]

    yield make
    for writer in writers:
        writer.stop(5)
    assert not [thread for thread in threading.enumerate() if thread.name == "log"]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def drain(reader: int, until: bytes) -> bytes:
    seen = b""
    while until not in seen:
        data = os.read(reader, 1 << 20)
        assert data, seen
        seen += data
    return seen


def test_lines_arrive_whole_and_in_order(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = make(open_log(str(path)))
    for number in range(5000):
        writer.put(b"%d\n" % number)
    assert writer.stop(5)
    assert path.read_bytes() == b"".join(b"%d\n" % n for n in range(5000))


def test_file_is_for_owner_and_group_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    old = os.umask(0)
    try:
        fd = open_log(str(path))
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640
    os.write(fd, b"1\n")
    os.close(fd)
    again = open_log(str(path))
    os.write(again, b"2\n")
    os.close(again)
    assert path.read_bytes() == b"1\n2\n"


def test_what_cannot_be_written_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "log"):
        with pytest.raises(ConfigError) as caught:
            open_log(str(path))
        (mistake,) = caught.value.mistakes
        assert (mistake.key, mistake.value) == ("log.file", str(path))


def test_fifo_without_a_reader_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError):
        open_log(str(tmp_path / "fifo"))


def test_stuck_pipe_blocks_nobody_and_the_missing_are_counted(make: Make, pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = make(fd)
    for _ in range(LIMIT + 777):  # far more than the pipe and the queue take together
        writer.put(LINE)
    assert len(writer._waiting) + writer._under_way <= LIMIT
    assert not writer.stop(0)
    kept = missing = 0
    rest = b""
    while kept + missing < LIMIT + 777:
        *lines, rest = (rest + os.read(reader, 1 << 20)).split(b"\n")
        told = [int(line.removeprefix(b"dropped ")) for line in lines if line != LINE[:-1]]
        kept, missing = kept + len(lines) - len(told), missing + sum(told)
    assert kept + missing == LIMIT + 777
    assert kept >= LIMIT
    assert missing


def test_missing_are_told_even_if_nothing_else_is_to_be_said(make: Make, pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = make(fd)
    with writer._condition:  # so that the thread takes all at once
        for _ in range(LIMIT):
            writer.put(LINE)
    wait_until(lambda: writer._under_way == LIMIT)
    for _ in range(5):
        writer.put(LINE)
    assert drain(reader, b"dropped 5\n") == LINE * LIMIT + b"dropped 5\n"


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_full_disk_is_told_once_on_stderr_and_counted(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    writer = make(open_log(str(FULL)))
    for count in range(1, 4):
        writer.put(LINE)
        wait_until(lambda count=count: writer._dropped == count)
    assert not writer.stop(5)
    assert writer._dropped == 3
    assert capsys.readouterr().err.count("the log cannot be written: No space left on device") == 1


def test_after_a_failure_the_next_target_is_told_the_count(make: Make, tmp_path: Path) -> None:
    reader, fd = os.pipe()
    os.close(reader)
    writer = make(fd)
    writer.put(LINE)
    wait_until(lambda: writer._dropped == 1)
    path = tmp_path / "log"
    writer.use(open_log(str(path)))
    writer.put(b"after\n")
    assert writer.stop(5)
    assert sorted(path.read_bytes().split(b"\n")) == [b"", b"after", b"dropped 1"]


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = threading.Event()
    for _ in range(5000):
        if is_so():
            return
        deadline.wait(0.001)
    raise AssertionError


class ShortDisk:
    """A write that takes a few bytes and then fails, until there is room again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room: int | None = room
        self.write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, fd: int, data: memoryview) -> int:
        if self.room is None:
            return self.write(fd, data)
        if not self.room:
            raise OSError(28, "No space left on device")
        written = self.write(fd, data[: self.room])
        self.room -= written
        return written


def test_half_a_line_does_not_spoil_the_next_one(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    fd = open_log(str(path))
    disk = ShortDisk(monkeypatch, room=6)
    writer = make(fd)
    with writer._condition:
        writer._waiting += [b"1st\n", b"2nd\n", b"3rd\n"]
        writer._condition.notify()
    wait_until(lambda: writer._dropped == 2)
    writer.put(b"lost\n")
    wait_until(lambda: writer._dropped == 3)
    disk.room = None
    writer.put(b"4th\n")
    assert writer.stop(5)
    assert path.read_bytes() == b"1st\n2n\n4th\ndropped 3\n"


def test_nonblocking_pipe_is_waited_for(make: Make, pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    os.set_blocking(fd, False)
    writer = make(fd)
    for _ in range(2000):
        writer.put(LINE)
    writer.put(b"end\n")
    assert drain(reader, b"end\n") == LINE * 2000 + b"end\n"


def test_old_target_is_closed_and_so_is_one_that_was_never_used(make: Make, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    fds = [open_log(str(path)) for path in paths]
    writer = make(fds[0])
    with writer._condition:  # the thread cannot take anything in between
        writer.use(fds[1])
        writer.use(fds[2])
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fds[1])
    writer.put(b"x\n")
    assert writer.stop(5)
    assert [path.read_bytes() for path in paths] == [b"", b"", b"x\n"]
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_stderr_that_is_gone_is_no_reason_to_stop(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "err").open("w") as gone:
        pass
    monkeypatch.setattr(sys, "stderr", gone)
    reader, fd = os.pipe()
    os.close(reader)
    writer = make(fd)
    writer.put(LINE)
    assert not writer.stop(5)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What each write was given."""
    seen: list[bytes] = []
    write = os.write

    def noted(fd: int, data: memoryview) -> int:
        seen.append(bytes(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", noted)
    return seen


LONG = b"y" * 9000 + b"\n"
MIXED = [LINE] * 100 + [LONG] + [LINE] * 100


def put_at_once(writer: LineWriter, lines: list[bytes]) -> None:
    with writer._condition:
        writer._waiting += lines
        writer._condition.notify()


def test_a_write_to_a_pipe_holds_whole_lines_that_nobody_elses_can_fall_into(
    make: Make, pipe: tuple[int, int], writes: list[bytes]
) -> None:
    reader, fd = pipe
    writer = make(fd)
    put_at_once(writer, MIXED)
    assert writer.stop(5)
    assert drain(reader, LONG + LINE * 100) == b"".join(MIXED)
    assert all(one.endswith(b"\n") for one in writes)
    assert {len(one) for one in writes} == {4000, 2000, len(LONG)}  # 40 lines, what is left, the one that is too long


def test_a_file_takes_everything_in_one_write(make: Make, tmp_path: Path, writes: list[bytes]) -> None:
    writer = make(open_log(str(tmp_path / "log")))
    put_at_once(writer, MIXED)
    assert writer.stop(5)
    assert writes == [b"".join(MIXED)]


def test_a_new_target_is_written_to_in_its_own_way(
    make: Make, pipe: tuple[int, int], tmp_path: Path, writes: list[bytes]
) -> None:
    _, fd = pipe
    file = open_log(str(tmp_path / "log"))
    writer = make(fd)
    assert writer.fd == fd
    writer.use(file)
    assert writer.fd == file
    put_at_once(writer, MIXED)
    assert writer.stop(5)
    assert writes == [b"".join(MIXED)]


def test_lines_of_a_while_are_written_together(
    make: Make, tmp_path: Path, writes: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlsproxy.operate.log_writer._PACE_S", 3600.0)
    writer = make(open_log(str(tmp_path / "log")))
    writer.put(b"at once\n")
    wait_until(lambda: bool(writes))
    for _ in range(100):
        writer.put(b"later\n")
    assert writer.stop(5), "the end waits for no pace"
    assert writes == [b"at once\n", b"later\n" * 100]


@pytest.mark.parametrize("is_pipe", [True, False], ids=["pipe", "unix socket"])
def test_two_writers_do_not_tear_each_others_lines(make: Make, *, is_pipe: bool) -> None:
    ours, theirs = socket.socketpair()
    reader, fd = os.pipe() if is_pipe else (ours.detach(), theirs.detach())
    ours.close()
    theirs.close()
    writers = [make(os.dup(fd)), make(fd)]
    kinds = [bytes([letter]) * size + b"\n" for letter, size in ((97, 700), (98, 1100))]
    for writer, line in zip(writers, kinds, strict=True):
        put_at_once(writer, [line] * 2000)
    seen = drain_lines(reader, 4000)
    os.close(reader)
    assert sorted(set(seen)) == kinds
    assert all(seen.count(line) == 2000 for line in kinds)


def drain_lines(reader: int, count: int) -> list[bytes]:
    seen = b""
    while seen.count(b"\n") < count:
        seen += os.read(reader, 1 << 16)
    return seen.splitlines(keepends=True)
