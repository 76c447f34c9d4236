"""The note about the match in play, between processes that share a folder."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from p2pclient.common.lobby_messages import LastMatch
from p2pclient.runtime.bookmark import Bookmark, Command

ROOT = Path(__file__).resolve().parent.parent
COMMAND = Command(url="lab:8765", label="p1", bot=None)
_PUT = """
import sys
from pathlib import Path
from p2pclient.common.lobby_messages import LastMatch
from p2pclient.runtime.bookmark import Bookmark, Command
folder, match, client, url, label, bot = sys.argv[1:]
Bookmark(Path(folder), Command(url=url, label=label, bot=bot or None)).put(LastMatch(match_id=match, client_id=client))
print("noted", flush=True)
sys.stdin.read()
"""


class Player:
    """A process that is in a match."""

    def __init__(self, folder: Path, match: str, client: str = "c3", command: Command = COMMAND) -> None:
        self.last_match = LastMatch(match_id=match, client_id=client)
        arguments = [str(folder), match, client, command.url, command.label, command.bot or ""]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PUT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "noted\n"

    def kill(self, *, reap: bool = True) -> None:
        self.process.kill()
        if reap:
            self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def players() -> Iterator[list[Player]]:
    made: list[Player] = []
    yield made
    for player in made:
        player.close()


def notes(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_was_in_is_taken_once(tmp_path: Path) -> None:
    killed = Player(tmp_path, "0001-aa")
    killed.kill()
    assert notes(tmp_path) == [".in-match-0001-aa-c3.json"]
    assert Bookmark(tmp_path, COMMAND).take() == killed.last_match
    assert Bookmark(tmp_path, COMMAND).take() is None
    assert notes(tmp_path) == []


def test_what_a_living_process_is_in_is_left_alone(tmp_path: Path, players: list[Player]) -> None:
    players += [Player(tmp_path, "0001-aa", "c1"), Player(tmp_path, "0001-aa", "c2")]
    players[1].kill()
    assert Bookmark(tmp_path, COMMAND).take() == players[1].last_match
    assert Bookmark(tmp_path, COMMAND).take() is None
    assert notes(tmp_path) == [".in-match-0001-aa-c1.json"]


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="only where a dead process stays until it is waited for")
def test_a_killed_process_that_nobody_has_waited_for_is_dead(tmp_path: Path, players: list[Player]) -> None:
    players.append(Player(tmp_path, "0001-aa"))
    players[0].kill(reap=False)
    os.waitid(os.P_PID, players[0].process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
    assert psutil.Process(players[0].process.pid).status() == psutil.STATUS_ZOMBIE
    assert Bookmark(tmp_path, COMMAND).take() == players[0].last_match


@pytest.mark.parametrize(
    "other",
    [
        Command(url="lab:8766", label="p1", bot=None),
        Command(url="lab:8765", label="p2", bot=None),
        Command(url="lab:8765", label="p1", bot="greedy"),
    ],
)
def test_a_client_that_is_started_otherwise_is_another_one(tmp_path: Path, other: Command) -> None:
    Player(tmp_path, "0001-aa").kill()
    assert Bookmark(tmp_path, other).take() is None
    assert Bookmark(tmp_path, COMMAND).take() is not None


def test_two_that_were_killed_together_come_back_one_by_one_the_newest_first(tmp_path: Path) -> None:
    killed = [Player(tmp_path, "0001-aa"), Player(tmp_path, "0002-bb")]
    for player in killed:
        player.kill()
    took = [Bookmark(tmp_path, COMMAND).take() for _ in range(3)]
    assert took == [killed[1].last_match, killed[0].last_match, None]


def edited(folder: Path, **changes: object) -> None:
    """Change fields of the only note."""
    (path,) = folder.glob(".in-match-*")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_another_process_under_the_number_of_the_dead_one_is_not_it(tmp_path: Path) -> None:
    Player(tmp_path, "0001-aa").kill()
    own = psutil.Process()
    edited(tmp_path, process=own.pid, process_began=own.create_time())
    assert Bookmark(tmp_path, COMMAND).take() is None
    edited(tmp_path, process_began=own.create_time() - 60)
    assert Bookmark(tmp_path, COMMAND).take() is not None


def test_what_another_machine_noted_in_a_shared_folder_is_not_ours(tmp_path: Path) -> None:
    Player(tmp_path, "0001-aa").kill()
    edited(tmp_path, machine="another")
    assert Bookmark(tmp_path, COMMAND).take() is None
    assert len(notes(tmp_path)) == 1


def test_after_an_orderly_end_nothing_is_left(tmp_path: Path) -> None:
    bookmark = Bookmark(tmp_path, COMMAND)
    assert bookmark.take() is None
    bookmark.remove()
    for match in ("0001-aa", "0002-bb"):
        bookmark.put(LastMatch(match_id=match, client_id="c1"))
        assert notes(tmp_path) == [f".in-match-{match}-c1.json"]
    bookmark.remove()
    bookmark.remove()
    assert notes(tmp_path) == []


def test_what_cannot_be_read_or_written_is_told_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("tandem"), "propagate", True)
    Player(tmp_path, "0001-aa").kill()
    for name, content in (("cut", b'{"last_match": {"match_'), ("long", b" " * 100_000), ("path", b"")):
        (tmp_path / f".in-match-{name}.json").write_bytes(content)
    (tmp_path / ".in-match-folder.json").mkdir()
    edit = {"match_id": "../../x", "client_id": "c1"}
    (tmp_path / ".in-match-path.json").write_text(json.dumps({"last_match": edit}))
    assert Bookmark(tmp_path, COMMAND).take() is not None
    assert len([line for line in caplog.messages if "cannot be read" in line]) == 4
    missing = Bookmark(tmp_path / "missing", COMMAND)
    assert missing.take() is None
    missing.put(LastMatch(match_id="0001-aa", client_id="c1"))
    assert "will not be brought back" in caplog.messages[-1]
    missing.remove()


def test_killed_while_it_waited_its_token_is_taken_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    token = "ab" * 20
    Bookmark(tmp_path, COMMAND).put_waiting("c1-aa", token)
    (path,) = tmp_path.iterdir()
    assert path.name == ".waiting-c1-aa.json"
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0
    again = Bookmark(tmp_path, COMMAND)
    assert (again.take(), again.token) == (None, None), "its process is alive: this one"
    path.write_text(json.dumps({**json.loads(path.read_text()), "process_began": 1.0}))
    assert (again.take(), again.token) == (None, token)
    assert notes(tmp_path) == []
