"""What a client does when its surroundings fail: no server, no disk, a server that dies, a bug of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from play_rig import BOT, ENV, LONG, RunReader, assert_whole, frames_recorded, in_play, join, pair, settings, tandem
from signaling_rig import running_server

from p2pclient.match.match import Match
from p2pclient.runtime.participant import Participant
from p2pclient.runtime.participant_settings import ParticipantSettings
from p2pclient.runtime.playing import ClientCrash
from p2pclient.runtime.presenter import NoWindow


def only_sentence(errors: str) -> str:
    """Return the one line that a client said: no trace of the stack, nothing twice."""
    (line,) = errors.splitlines()
    assert line.startswith("tandem: ")
    return line


async def test_match_goes_on_and_is_finished_when_the_server_is_killed(tmp_path: Path) -> None:
    arguments = [
        "serve",
        ENV,
        "--if-lost",
        "end",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--rate",
        "60",
        "--seconds",
        "2",
    ]
    async with tandem(*arguments, out=tmp_path) as server:
        url = (await server.until_line("tandem join")).split()[-1]
        async with pair(url, tmp_path) as (a, b):
            await in_play(a, b)
            await frames_recorded(a, 20)
            server.kill()
            assert [await a.end(), await b.end()] == [0, 0]
    for client in (a, b):
        (played,) = client.of("played")
        assert played["reason"] == "finished"
        assert played["outcome"]["counters"]["verified_frames"] == 120
        assert not client.of("silence")


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "forgotten"])
async def test_clients_that_lose_the_server_before_their_match_play_it_or_meet_again(
    tmp_path: Path, is_kept: bool
) -> None:
    arguments = ["serve", ENV, "--if-lost", "end", "--host", "127.0.0.1", "--rate", "60", "--seconds", "0.5"]
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(tandem(*arguments, "--port", "0", out=tmp_path))
        url = (await server.until_line("tandem join")).split()[-1]
        a = await stack.enter_async_context(join(url, tmp_path / "a"))
        await a.until("waiting")
        b = await stack.enter_async_context(join(url, tmp_path / "b"))
        matched = await a.until("matched")
        server.kill()  # they have not told each other yet how they can be reached
        await server.end()
        again = [*arguments, "--port", url.rsplit(":", 1)[1]]
        if not is_kept:
            again += ["--data", str(tmp_path / "another")]
        await stack.enter_async_context(tandem(*again, out=tmp_path))
        if not is_kept:
            failed = await a.until("failed")
            assert "connection to the server" in failed["text"]
        assert [await a.end(), await b.end()] == [0, 0]
        assert [client.of("played")[0]["reason"] for client in (a, b)] == ["finished", "finished"]
        assert (a.of("matched")[-1]["match"] == matched["match"]) is is_kept


@pytest.mark.alone
async def test_client_without_a_server_says_so_in_one_sentence(tmp_path: Path) -> None:
    began = perf_counter()
    async with join("http://127.0.0.1:9", tmp_path) as client:
        assert await client.end() == 1
        assert perf_counter() - began < 5
    assert "No server answers at http://127.0.0.1:9." in only_sentence(client.errors)
    assert client.lines == []


async def test_client_that_cannot_record_says_so_before_it_waits_for_anyone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with running_server() as url, join(url, tmp_path / "file") as client:
        assert await client.end() == 1
        assert str(tmp_path / "file") in only_sentence(client.errors)
        assert client.lines == []


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare of util-linux for a small file system")
async def test_full_disk_ends_the_match_with_a_sentence_and_the_partner_is_told(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=48k tandem "{small}" && exec "$@"'
    prefix = ("unshare", "--mount", "--map-root-user", "--user", "sh", "-c", mount, "sh")
    probe = await asyncio.create_subprocess_exec(*prefix, "true", stderr=asyncio.subprocess.PIPE)
    _, why = await probe.communicate()
    if probe.returncode:
        pytest.skip(f"needs a mount in a user namespace: {why.decode().strip()}")
    async with running_server(LONG) as url, join(url, tmp_path / "a") as a:
        async with join(url, small, prefix=prefix) as b:
            told = await a.until("played")
            assert await b.end() == 1
            assert "full" in only_sentence(b.errors.splitlines()[-1])
        assert (told["reason"], told["text"]) == ("partner-left", "The other player's program had to stop.")
        assert await a.end() == 1
    assert_whole(Path(told["folder"]), least=10)


@pytest.mark.parametrize(("env", "bot", "said"), [("test:none", BOT, "'test:none'"), (ENV, "none", "bot is 'none'")])
async def test_unknown_names_are_told_in_one_sentence(env: str, bot: str, said: str, tmp_path: Path) -> None:
    async with running_server(settings(env=env)) as url, join(url, tmp_path, "--bot", bot) as client:
        assert await client.end() == 1
    assert said in only_sentence(client.errors)


class Breaks(Exception):
    """The bug that is put in."""


class BrokenMatch(Match):
    """A match with a bug that shows after a while."""

    def tick(self, *, now: float, owed: int = 1) -> Any:
        if self.counters.confirmed_frames > 30:
            raise Breaks("a bug on purpose")
        return super().tick(now=now, owed=owed)


@pytest.mark.alone
async def test_bug_in_a_match_leaves_a_report_and_the_partner_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[dict[str, Any]] = []
    async with running_server(LONG) as url, join(url, tmp_path / "partner") as partner:
        await partner.until("welcome")
        monkeypatch.setattr("p2pclient.runtime.playing.Match", BrokenMatch)
        told = ParticipantSettings(url=url, out=tmp_path / "here", bot=BOT, linger=False, headless=True)
        client = Participant(told, NoWindow(), report=reports.append)
        with pytest.raises(ClientCrash, match="A report is in") as crash:
            await client.run()
        crashed_at = perf_counter()
        played = await partner.until("played")
        assert played["at"] - crashed_at < 0.5
        assert (played["reason"], played["text"]) == ("partner-left", "The other player's program had to stop.")
        assert await partner.end() == 1
    (report,) = (tmp_path / "here").glob("*/crash-*.txt")
    assert str(report) in str(crash.value)
    text = report.read_text()
    assert "Breaks: a bug on purpose" in text
    assert "p2pclient" in text
    assert RunReader(report.parent).recorded > 30
    assert_whole(Path(played["folder"]), least=20)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_frames_are_logged_alike_on_both_sides_and_from_the_moment_asked_for(tmp_path: Path) -> None:
    async with running_server(settings(frames=120)) as url, pair(url, tmp_path, "--latency-ms", "30") as (a, b):
        await in_play(a, b)
        await frames_recorded(a, 20)
        for client in (a, b):
            client.send(signal.SIGUSR1)
        assert [await a.end(), await b.end()] == [0, 0]
    newest: list[dict[str, str]] = []
    for client in (a, b):
        text = (client.run_folders()[0] / "frames-debug.log").read_text()
        steps = re.findall(r"^(?:live|again) +e0 f(\d+) inputs .* (before \w+ after \w+)$", text, re.MULTILINE)
        newest.append(dict(steps))
        assert "rollback" in text
        assert len(steps) > len(newest[-1]) > 60
    assert newest[0].keys() & newest[1].keys() >= {str(frame) for frame in range(60, 120)}
    assert all(newest[1][frame] == checksums for frame, checksums in newest[0].items() if frame in newest[1])
