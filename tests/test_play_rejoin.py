"""A client that is killed in a match, and started again with the same command, plays on in the same episode."""

from __future__ import annotations

from pathlib import Path

from play_rig import all_gone, assert_whole, in_play, join, settings
from signaling_rig import running_server

from p2pclient.recorder.manifest import read_manifest
from p2pclient.recorder.verify import verify_folders

FRAMES = 600


async def test_killed_player_started_again_plays_on_and_both_recordings_agree(tmp_path: Path) -> None:
    chosen = settings(env_args={"max_steps": FRAMES}, may_return=True, drop_after_s=60.0)
    flags = ("--matches", "1")
    async with running_server(chosen) as url, join(url, tmp_path / "a", "--label", "a", *flags) as a:
        async with join(url, tmp_path / "b", "--label", "b", *flags) as b:
            await in_play(a, b)
            hosts = b.host_pids()
            b.kill()
            await b.end()
            await all_gone(hosts)
        async with join(url, tmp_path / "b", "--label", "b", *flags) as again:
            rejoined = await again.until("rejoined", within=60.0)
            ends = [await player.until("played", within=60.0) for player in (a, again)]
            assert [await player.end(within=40.0) for player in (a, again)] == [0, 0]
    assert rejoined["own"]
    assert not again.of("waiting")
    assert again.of("matched")[0]["match"] == a.of("matched")[0]["match"]
    assert [end["reason"] for end in ends] == ["finished", "finished"]
    folders = [Path(end["folder"]) for end in ends]
    assert_whole(folders[0], least=FRAMES)
    assert verify_folders(*folders).message == f"same: {FRAMES} frames"
    (run,) = (tmp_path / "b").glob("*/manifest.json")
    assert len(read_manifest(run.parent)["earlier_processes"]) == 1
    assert a.of("rejoined")[0]["own"] is False
