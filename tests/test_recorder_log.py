"""The log: whole after a kill, honest about damage, loud about a disk that fails."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pclient.common.errors import RecordingError
from p2pclient.recorder.log import HEADER, LogReader, file_header, frame_payload
from p2pclient.recorder.writing import LogWriter

ROOT = Path(__file__).parents[1]
PAYLOADS = [b"first", b"", b"x" * 300, b"last one"]


def write_log(path: Path, payloads: list[bytes]) -> None:
    writer = LogWriter(path)
    for payload in payloads:
        writer.append(payload)
    writer.close()


def read_log(path: Path) -> tuple[list[bytes], LogReader]:
    reader = LogReader(path)
    return [payload for _, payload in reader.payloads()], reader


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    write_log(tmp_path / "log", PAYLOADS)
    payloads, reader = read_log(tmp_path / "log")
    assert payloads == PAYLOADS
    assert reader.torn_bytes == 0
    assert reader.end == (tmp_path / "log").stat().st_size


def test_the_format_is_frozen() -> None:
    assert file_header().hex() == "544e444d4c4f470a010000005d413a54"
    assert frame_payload(b"abc").hex() == "f55464a703000000335de166616263"


def test_a_log_is_never_overwritten(tmp_path: Path) -> None:
    write_log(tmp_path / "log", PAYLOADS)
    with pytest.raises(RecordingError, match="never overwritten"):
        LogWriter(tmp_path / "log")
    assert read_log(tmp_path / "log")[0] == PAYLOADS


def test_a_tail_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_log(path, PAYLOADS)
    whole = path.read_bytes()
    last = len(whole) - len(frame_payload(PAYLOADS[-1]))
    for size in range(last, len(whole)):
        path.write_bytes(whole[:size])
        payloads, reader = read_log(path)
        assert payloads == PAYLOADS[:-1]
        assert (reader.end, reader.torn_bytes) == (last, size - last)


def test_a_log_cut_within_its_header_holds_nothing(tmp_path: Path) -> None:
    for size in range(HEADER.size):
        (tmp_path / "log").write_bytes(file_header()[:size])
        payloads, reader = read_log(tmp_path / "log")
        assert payloads == []
        assert reader.torn_bytes == size


def test_a_tail_of_zeros_as_a_power_cut_leaves_it_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_log(path, PAYLOADS)
    path.write_bytes(path.read_bytes() + bytes(5000))
    payloads, reader = read_log(path)
    assert payloads == PAYLOADS
    assert reader.torn_bytes == 5000


def test_any_changed_byte_before_the_last_record_is_found_with_its_offset(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write_log(path, PAYLOADS)
    whole = path.read_bytes()
    starts, at = [], HEADER.size
    for payload in PAYLOADS:
        starts.append(at)
        at += len(frame_payload(payload))
    for offset in range(HEADER.size, starts[-1]):
        changed = bytearray(whole)
        changed[offset] ^= 0x5A
        path.write_bytes(changed)
        damaged = max(start for start in starts if start <= offset)
        with pytest.raises(RecordingError, match=f"damaged at byte {damaged};"):
            read_log(path)


def test_a_log_of_another_version_says_what_to_use(tmp_path: Path) -> None:
    import zlib

    start = HEADER.pack(b"TNDMLOG\n", 9, 0, 0)[:-4]
    (tmp_path / "log").write_bytes(start + zlib.crc32(start).to_bytes(4, "little"))
    with pytest.raises(RecordingError, match="version 9"):
        read_log(tmp_path / "log")


def test_random_corruption_raises_nothing_but_recording_errors(tmp_path: Path) -> None:
    path, chance = tmp_path / "log", random.Random(3)
    write_log(path, PAYLOADS * 5)
    whole, errors, tails = path.read_bytes(), 0, 0
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.choice([len(data), chance.randrange(len(data))]) :]
        path.write_bytes(data)
        try:
            payloads, reader = read_log(path)
        except RecordingError:
            errors += 1
        else:
            assert payloads == (PAYLOADS * 5)[: len(payloads)]
            tails += reader.torn_bytes > 0
    assert errors > 100
    assert tails > 100


def test_a_huge_length_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(file_header() + b"\xf5Td\xa7" + b"\xff\xff\xff\xff" + bytes(4))
    assert read_log(path)[1].torn_bytes == 12


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from p2pclient.recorder.writing import LogWriter
writer = LogWriter(Path(sys.argv[1]), sync_interval=0.01)
number = 0
while True:
    writer.append(number.to_bytes(4, "little") * (1 + number % 400))
    sys.stdout.buffer.write(number.to_bytes(4, "little"))
    sys.stdout.buffer.flush()
    number += 1
"""


def test_all_that_was_reported_as_written_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(11)
    for attempt in range(10):
        path = tmp_path / f"log{attempt}"
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        seen = b""
        for _ in range(chance.randint(1, 2000)):
            seen += process.stdout.read(4)
        process.send_signal(signal.SIGKILL)
        seen += process.stdout.read()
        process.wait()
        process.stdout.close()
        reported = len(seen) // 4
        payloads, _ = read_log(path)
        assert reported > 0
        assert len(payloads) in (reported, reported + 1)
        assert [int.from_bytes(payload[:4], "little") for payload in payloads] == list(range(len(payloads)))


FILL_UP = """
import resource, sys
from pathlib import Path
from p2pclient.common.errors import RecordingError
from p2pclient.recorder.writing import LogWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
told = []
writer = LogWriter(Path(sys.argv[1]), on_problem=told.append, sync_interval=60)
written = 0
try:
    while True:
        writer.append(b"x" * 300)
        written += 1
except RecordingError as error:
    first = str(error)
try:
    writer.append(b"y")
except RecordingError as error:
    assert str(error) == first
else:
    raise SystemExit("a failed writer went on")
writer.close()
assert told == [first] == list(writer.problems()), told
print(written, first)
"""


def test_a_file_that_may_not_grow_is_told_and_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    result = subprocess.run(
        [sys.executable, "-c", FILL_UP, str(path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    count, _, sentence = result.stdout.partition(" ")
    assert str(path) in sentence
    assert "largest size" in sentence
    payloads, reader = read_log(path)
    assert payloads == [b"x" * 300] * int(count)
    assert reader.torn_bytes == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a small disk needs root on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_what_was_written_stays_whole(small_disk: Path) -> None:
    told: list[str] = []
    writer = LogWriter(small_disk / "log", on_problem=told.append, sync_interval=60)
    written = 0
    while not told:
        with contextlib.suppress(RecordingError):
            writer.append(b"x" * 1000)
            written += 1
    with pytest.raises(RecordingError, match="the disk is full: free some space"):
        writer.append(b"more")
    writer.close()
    assert len(told) == 1
    assert written > 20
    payloads, reader = read_log(small_disk / "log")
    assert payloads == [b"x" * 1000] * written
    assert reader.torn_bytes == 0


def test_a_failed_flush_is_told_by_callback_and_by_the_next_call(tmp_path: Path) -> None:
    told, noticed = [], threading.Event()

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def tell(problem: str) -> None:
        told.append((problem, threading.current_thread().name))
        noticed.set()

    writer = LogWriter(tmp_path / "log", on_problem=tell, sync=fail, sync_interval=0.001)
    assert noticed.wait(10)
    with pytest.raises(RecordingError, match="the disk reports an error"):
        writer.append(b"more")
    writer.close()
    assert [thread for _, thread in told] == ["log-sync"]


def test_flushing_happens_beside_the_caller(tmp_path: Path) -> None:
    entered, release = threading.Event(), threading.Event()

    def sync(fd: int) -> None:
        entered.set()
        assert release.wait(10)

    writer = LogWriter(tmp_path / "log", sync=sync, sync_interval=0.001)
    assert entered.wait(10)
    writer.append(b"while the disk is busy")
    assert read_log(tmp_path / "log")[0] == [b"while the disk is busy"]
    release.set()
    writer.close()
