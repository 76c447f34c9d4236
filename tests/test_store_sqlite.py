"""The store in a file: what a crash leaves, who else may have the folder, and files that it will not touch."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from p2pclient.common.errors import LocalMisuseError, StoreError
from signaling.store.interface import AuditLine, Count, Decision, Participant, Study
from signaling.store.lock import LOCK_NAME
from signaling.store.schema import STEPS
from signaling.store.sqlite import SqliteStore
from signaling.store.sqlite_open import FILE_NAME, open_database

ROOT = Path(__file__).resolve().parent.parent
KILLS = 5

WRITER = """
import asyncio, sys
from pathlib import Path
from signaling.store.interface import Count, Decision, Participant
from signaling.store.sqlite import SqliteStore

async def write(store, lane):
    for number in range(1_000_000):
        name = f"p-{sys.argv[2]}-{lane}-{number}"
        batch = [Participant(id=name, study_id="s"), Decision(study_id="s", at=1.0, line={"who": name})]
        await store.write([*batch, Count(study_id="s", name="n")])
        print(name, flush=True)

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await asyncio.gather(*(write(store, lane) for lane in range(8)))

asyncio.run(main())
"""


async def what_is_kept(folder: Path) -> tuple[set[str], list[str], int]:
    """Return the participants' ids, those that the decisions name, and the counter."""
    store = SqliteStore(folder)
    kept = {each.id for each in await store.participants("s")}
    lines = [line.line["who"] for line in await store.decisions("s", limit=1_000_000)]
    counters = await store.counters("s")
    await store.close()
    return kept, lines, counters["n"]


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for life in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(life)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(20 + 30 * life):  # each life ends in another moment
                acknowledged.add(process.stdout.readline().strip())
            process.kill()
            rest = process.stdout.read().split("\n")
        acknowledged.update(rest[:-1])  # what stands behind the last line's end is half a line
        assert process.returncode != 0
    acknowledged.discard("")
    assert len(acknowledged) >= sum(20 + 30 * life for life in range(KILLS))
    kept, lines, count = asyncio.run(what_is_kept(tmp_path))
    assert acknowledged - kept == set()
    assert set(lines) == kept  # whole batches, nothing twice
    assert len(lines) == len(kept) == count


async def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    for number in range(3):
        store = SqliteStore(tmp_path / "made" / "for it")
        assert len(await store.participants("s")) == number
        await store.write([Participant(id=f"p-{number}", study_id="s")])
        await store.close()


async def test_writes_at_once_share_a_transaction_and_a_refused_one_takes_no_other_with_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    one = [Count(study_id="s", name="n", cap=50), Decision(study_id="s", at=1.0)]
    outcomes = await asyncio.gather(*(store.write(one) for _ in range(200)), return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["NoneType"] * 50 + ["StoreRefusal"] * 150
    assert len(await store.decisions("s")) == 50
    await store.close()


async def test_more_writes_than_are_taken_up_wait_and_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signaling.store.sqlite.MAX_PENDING_BATCHES", 3)
    store = SqliteStore(tmp_path)
    async with asyncio.timeout(60.0):  # so that a hang is a failure with a name
        await asyncio.gather(*(store.write([Decision(study_id="s", at=float(at))]) for at in range(50)))
    assert [line.at for line in await store.decisions("s")] == [float(at) for at in range(50)]
    await store.close()


def size_of_log(store: SqliteStore) -> int:
    return Path(f"{store.path}-wal").stat().st_size


async def test_a_long_log_is_moved_into_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.store.sqlite_open._LONG_LOG_BYTES", 100_000)
    store = SqliteStore(tmp_path)
    longest = 0
    for number in range(30):
        await store.write([Decision(study_id="s", at=float(number), line={"why": "x" * 20_000})])
        longest = max(longest, size_of_log(store))
    await store.flush()
    assert 100_000 < longest < 300_000
    assert store.path.stat().st_size > 300_000
    await store.close()


async def test_a_guest_leaves_the_log_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.store.sqlite_open._LONG_LOG_BYTES", 10_000)
    server, guest = SqliteStore(tmp_path), SqliteStore(tmp_path, serve=False)
    for number in range(10):
        await guest.write([Decision(study_id="s", at=float(number), line={"why": "x" * 20_000})])
    await guest.flush()
    assert size_of_log(guest) > 200_000
    await server.write([Study(id="s")])
    await server.flush()
    assert size_of_log(server) == 0
    await guest.close()
    await server.close()


async def test_another_programs_long_write_fails_a_write_and_not_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signaling.store.sqlite_open._BUSY_S", 0.01)
    store = SqliteStore(tmp_path)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="Another program holds the file"):
        await store.write([Study(id="lost")])
    other.execute("ROLLBACK")
    other.close()
    await store.write([Study(id="kept")])
    assert await store.studies() == (Study(id="kept"),)
    await store.close()


# -- one server per folder --------------------------------------------------------------------------------------------


async def test_a_second_server_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path, program="tandem serve demo")
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path)
    assert f"process {os.getpid()} (tandem serve demo on " in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    await first.write([Study(id="s")])  # and the first goes on
    await first.close()
    second = SqliteStore(tmp_path)
    assert await second.studies() == (Study(id="s"),)
    await second.close()


async def test_a_guest_reads_and_writes_beside_the_server(tmp_path: Path) -> None:
    server = SqliteStore(tmp_path)
    guest = SqliteStore(tmp_path, serve=False)
    await server.write([Study(id="of-the-server")])
    await guest.write([Study(id="of-the-guest")])
    assert {study.id for study in await server.studies()} == {"of-the-server", "of-the-guest"}
    assert await guest.studies() == await server.studies()
    await guest.close()
    await server.write([Study(id="later")])
    await server.close()


async def test_a_lock_without_a_readable_name_still_holds(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path)
    (tmp_path / LOCK_NAME).write_text("{half a sen")
    with pytest.raises(StoreError, match="in use by another process"):
        SqliteStore(tmp_path)
    await first.close()


# -- files that will not do -------------------------------------------------------------------------------------------


async def fill(folder: Path) -> Path:
    store = SqliteStore(folder)
    await store.write([Participant(id=f"p-{n}", study_id="s", label="x" * 500) for n in range(500)])
    await store.close()
    return store.path


def refusal_of(folder: Path) -> str:
    """Return the sentence with which a folder is refused. A second try must say the same: nothing was left behind."""
    sentences = set()
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            SqliteStore(folder)
        sentences.add(str(caught.value))
    assert len(sentences) == 1
    return sentences.pop()


@pytest.mark.parametrize("at", [0, 8192, 40_960])
async def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, at: int) -> None:
    path = await fill(tmp_path)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * 4096)
    before = path.read_bytes()
    sentence = refusal_of(tmp_path)
    assert f"{path} is damaged" in sentence
    assert "put back a copy" in sentence
    assert path.read_bytes() == before


async def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = await fill(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    connection.close()
    before = path.read_bytes()
    sentence = refusal_of(tmp_path)
    assert f"{path} was written by a newer version of this program (format {len(STEPS) + 1}; " in sentence
    assert "Upgrade" in sentence
    assert path.read_bytes() == before


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    assert f"{path} was not made by this program" in refusal_of(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    assert str(tmp_path / "a file" / "data") in refusal_of(tmp_path / "a file" / "data")


def test_an_older_file_takes_the_steps_and_is_copied_before(tmp_path: Path) -> None:
    path = asyncio.run(fill(tmp_path))
    newer = (*STEPS, ("ALTER TABLE studies ADD COLUMN place TEXT NOT NULL DEFAULT 'lab'",))
    _, connection = open_database(tmp_path, guest=False, steps=newer)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(newer)
    assert connection.execute("SELECT count(*) FROM participants").fetchone()[0] == 500
    connection.execute("SELECT place FROM studies")
    connection.close()
    copies = [each for each in tmp_path.iterdir() if each.name.startswith(f"tandem-format-{len(STEPS)}-")]
    assert len(copies) == 1
    copy = sqlite3.connect(copies[0])
    assert copy.execute("PRAGMA user_version").fetchone()[0] == len(STEPS)
    assert copy.execute("SELECT count(*) FROM participants").fetchone()[0] == 500
    copy.close()
    assert f"format {len(newer)}" in refusal_of(tmp_path)
    assert path.exists()


async def test_a_step_that_fails_leaves_the_file_at_its_format(tmp_path: Path) -> None:
    await fill(tmp_path)
    broken = (*STEPS, ("CREATE TABLE more (x INTEGER)", "CREATE TABLE studies (x INTEGER)"))
    with pytest.raises(StoreError, match="already exists"):
        open_database(tmp_path, guest=False, steps=broken)
    store = SqliteStore(tmp_path)
    assert len(await store.participants("s")) == 500
    await store.close()


async def test_a_guest_does_not_change_the_form_under_a_server(tmp_path: Path) -> None:
    server = SqliteStore(tmp_path)
    newer = (*STEPS, ("CREATE TABLE more (x INTEGER)",))
    with pytest.raises(StoreError, match="stop the server"):
        open_database(tmp_path, guest=True, steps=newer)
    await server.close()


# -- what the file promises -------------------------------------------------------------------------------------------


async def test_lines_cannot_be_changed_with_any_program(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.write([Decision(study_id="s", at=1.0), AuditLine(at=1.0, by="ada", action="pair")])
    await store.close()
    connection = sqlite3.connect(store.path, isolation_level=None)
    for table in ("decisions", "audit"):
        for statement in (f"UPDATE {table} SET at = 2", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
                connection.execute(statement)
    connection.close()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    _, connection = open_database(tmp_path, guest=False)
    found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    connection.close()
    assert found == {"journal_mode": "wal", "synchronous": 2}  # 2: FULL


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps others out by the user's folder")
async def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "data")
    await store.write([Study(id="s")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert len(modes) == 4  # the file, its log, the log's index and the lock
    assert {mode & 0o077 for mode in modes.values()} == {0}
    await store.close()


async def test_what_another_program_put_in_is_said_and_not_believed(tmp_path: Path) -> None:
    path = await fill(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE participants SET attributes = '{half' WHERE id = 'p-7'")
    connection.close()
    store = SqliteStore(tmp_path)
    with pytest.raises(StoreError, match="did not write"):
        await store.participants("s")
    assert await store.participants("other") == ()
    await store.close()


async def test_a_full_disk_fails_the_write_and_not_the_next_one(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    pages = await store._read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await store._read(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone())
    big = Decision(study_id="s", at=1.0, line={"why": "x" * 100_000})
    with pytest.raises(StoreError, match="Make room"):
        await store.write([Study(id="lost"), big])
    await store.write([Study(id="kept")])
    assert [study.id for study in await store.studies()] == ["kept"]
    assert await store.decisions("s") == ()
    await store.close()


async def test_a_file_that_breaks_while_it_is_open_is_never_written_again(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    await store.write([Study(id="s")])
    await store._read(
        lambda connection: connection.execute("PRAGMA query_only = ON").fetchone()
    )  # as a dying disk does
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be written"):
            await store.write([Study(id="t")])
        await store._read(lambda connection: connection.execute("PRAGMA query_only = OFF").fetchone())
    assert await store.studies() == (Study(id="s"),)
    await store.close()


async def test_a_question_that_no_file_can_answer_harms_nobody(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with pytest.raises(LocalMisuseError):
        await store.decisions("s", after=1 << 80)
    with pytest.raises(LocalMisuseError):
        await store.participants("\ud800")
    await store.write([Study(id="s")])
    await store.close()


async def test_nobody_waits_for_a_thread_that_died_of_a_bug(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SqliteStore(tmp_path)

    def fail(connection: sqlite3.Connection) -> None:
        raise ZeroDivisionError("a bug")

    for ask in (store._read(fail), store.write([Study(id="s")]), store.studies(), store.flush()):
        with pytest.raises(StoreError, match="a bug"):
            await ask
    with pytest.raises(StoreError, match="a bug"):
        await store.close()
    assert "ZeroDivisionError" in caplog.text
    await SqliteStore(tmp_path).close()  # the folder is free
