"""``tandem simulate``: flags, output, exit codes, and scenarios that can be run again."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2pclient.cli.main import main, make_parser
from p2pclient.cli.simulate import command_for, make_campaign
from p2pclient.common.errors import ConfigurationError
from p2pclient.rollback.chain import ChecksumChain
from p2pclient.sim.network import LinkSpec
from p2pclient.sim.profiles import PROFILES
from p2pclient.sim.scenario import Fault, Scenario, scenario_from_json

REQUIRED = {
    "matches", "confirmed_frames", "wrong_frames", "false_desyncs", "missed_desyncs", "hangs", "rollbacks", "stalls",
    "skipped_frames", "trace_hash", "speed_x_realtime", "peers",
}  # fmt: skip
REQUIRED_OF_PEERS = {"resimulated_per_100", "bytes_per_s", "messages_per_s", "rate_error"}


def simulate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["simulate", "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def campaign_of(*words: str) -> Any:
    return make_campaign(make_parser("simulate").parse_args(["simulate", *words]))


def test_json_holds_what_is_promised_and_the_code_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = simulate(capsys, "--seconds", "3", "--matches", "2", "--seed", "5")
    assert code == 0
    assert set(told) >= REQUIRED
    assert told["matches"] == 2
    assert told["confirmed_frames"] == 360
    assert told["failures"] == []
    assert told["ok"] is True
    assert len(told["peers"]) == 2
    assert all(set(peer) >= REQUIRED_OF_PEERS for peer in told["peers"])


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (("--matches", "0"), "--matches"),
        (("--players", "1"), "--players"),
        (("--players", "2-1000000000"), "--players"),
        (("--players", "4-2"), "--players"),
        (("--auto-delay", "90-100"), "--auto-delay"),
        (("--episode-frames", "0"), "episode_frames"),
        (("--ends-when", "0"), "ends_when"),
        (("--start-offset-frames", "-4"), "start_offset_frames"),
        (("--hitch-ms", "-100"), "--hitch-ms"),
        (("--outage-ms", "1e300"), "--outage-ms"),
        (("--prediction", "nonsense"), "--prediction"),
        (("--seconds", "-5"), "seconds"),
    ],
)
def test_a_value_out_of_range_is_named_before_anything_runs(words: tuple[str, ...], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        campaign_of(*words)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--scenario", "@/no/such/file"), "--scenario"),
        (("--trace", "/no/such/folder/trace.json"), "--trace"),
        (("--jobs", "-3"), "--jobs"),
        (("--jobs", "1000"), "--jobs"),
        (("--scenario", '{"plan":{"nonsense":1}}'), "nonsense"),
        (("--scenario", '{"plan":{"on_desync":5}}'), "on_desync"),
        (("--scenario", '{"plan":{"delay_range":[3,1]}}'), "delay_range"),
        (("--scenario", '{"plan":{"prediction":[]}}'), "prediction"),
        (("--scenario", '{"spectators":[{"at":-5}]}'), "spectator: at"),
        (("--scenario", '{"faults":[{"kind":"pause","seconds":-1}]}'), "pause: seconds"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    words: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--seconds", "1", *words]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert part in told.err
    assert "Traceback" not in told.err


def test_faults_come_on_top_of_the_conditions_that_were_asked_for() -> None:
    words = ("--skew-ppm", "777", "--input-bytes", "5", "--step-cost-ms", "3", "--input-delay", "3", "--matches", "30")
    asked = [*words, "--hitch-ms", "400", "--outage-ms", "200", "--hold-frames", "9", "--on-drop", "go-on"]
    scenarios = list(campaign_of(*asked, "--faults", "--players", "3").scenarios())
    for scenario in scenarios:
        assert (scenario.skew_ppm, scenario.input_bytes, scenario.step_ms) == (777, 5, 3)
        assert (scenario.input_delays, scenario.hold_frames, scenario.plan["on_drop"]) == ((3,), 9, "go-on")
        assert [(f.kind, f.seconds) for f in scenario.faults[:2]] == [("pause", 0.4), ("outage", 0.2)]
    assert len({scenario.faults for scenario in scenarios}) > 20


def test_trace_hash_is_the_same_with_one_process_and_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--seconds", "2", "--matches", "3", "--profile", "mobile")
    _, one = simulate(capsys, *words)
    code, two = simulate(capsys, *words, "--jobs", "2")
    assert code == 0
    assert one["trace_hash"] == two["trace_hash"]
    assert simulate(capsys, *words, "--seed", "2")[1]["trace_hash"] != one["trace_hash"]


def test_the_table_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seconds", "2", "--profile", "all", "--matches", "5"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in PROFILES)
    assert "Nothing was wrong." in out
    assert "x real time" in out


def test_a_failure_prints_commands_that_repeat_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChecksumChain, "_compare", lambda *_: [])
    code, told = simulate(capsys, "--seconds", "4", "--players", "3")
    assert code == 1
    assert told["ok"] is False
    failure = told["failures"][0]
    assert failure["problems"]
    for command in (failure["command"], failure["shrunk_command"]):
        words = shlex.split(command)
        assert words[:2] == ["tandem", "simulate"]
        again, repeated = simulate(capsys, *words[2:], "--no-shrink")
        assert again == 1
        assert repeated["failures"][0]["problems"]
    small = scenario_from_json(shlex.split(failure["shrunk_command"])[3])
    assert (small.players, small.link, small.seconds < 2) == (2, LinkSpec(), True)
    assert main(["simulate", "--seconds", "1", "--no-shrink"]) == 1
    assert "--scenario" in capsys.readouterr().out


def test_a_scenario_may_come_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "scenario.json"
    path.write_text(Scenario(seconds=1.0, players=3).to_json())
    code, told = simulate(capsys, "--scenario", f"@{path}")
    assert (code, told["confirmed_frames"], len(told["peers"])) == (0, 60, 3)


def test_single_conditions_are_set_over_the_profile() -> None:
    words = "--profile wifi --delay-ms 10 --delay-back-ms 100 --loss 0 --hitch-ms 400 --seconds 20 --step-cost-ms 2"
    base = campaign_of(*words.split(), "--start-offset-frames", "4", "--skew-ppm", "1000", "--input-bytes", "4").base
    assert base.link == LinkSpec(delay_ms=10, jitter_ms=20, loss=0)
    assert base.back == replace(base.link, delay_ms=100)
    assert base.faults == (Fault("pause", at=10.0, seconds=0.4),)
    assert (base.start_offset_frames, base.skew_ppm, base.input_bytes, base.step_ms) == (4, 1000, 4, 2)
    assert campaign_of().base.network == "wifi"
    assert campaign_of().base.link == PROFILES["wifi"]


def test_settings_of_the_plan_have_flags() -> None:
    assert campaign_of("--auto-delay", "0-8", "--on-desync", "resimulate").base.plan == {
        "delay_range": (0, 8),
        "on_desync": "resimulate",
    }
    assert campaign_of("--auto-delay", "3").base.plan == {"delay_range": (3, 3)}


def test_players_and_profiles_take_turns() -> None:
    scenarios = list(campaign_of("--players", "2-4", "--profile", "all", "--matches", "6", "--seed", "9").scenarios())
    assert [s.players for s in scenarios] == [2, 3, 4, 2, 3, 4]
    assert [s.network for s in scenarios] == [*PROFILES, "lan"]
    assert [s.seed for s in scenarios] == list(range(9, 15))


def test_a_printed_scenario_is_the_same_one() -> None:
    scenario = Scenario(
        seed=4, players=3, back=LinkSpec(delay_ms=9), input_delays=(1, 2), faults=(Fault("hold", at=1, seconds=2),)
    )
    words = shlex.split(command_for(scenario))
    assert scenario_from_json(words[3]) == scenario
    assert Scenario().to_json() == "{}"


@pytest.mark.parametrize(
    "words",
    [
        ["--matches", "0"],
        ["--players", "two"],
        ["--players", "4-2"],
        ["--players", "9"],
        ["--players", "3", "--seats-per-peer", "4"],
        ["--input-delay", "99"],
        ["--input-bytes", "64"],
        ["--loss", "2"],
        ["--seconds", "0"],
        ["--profile", "all", "--loss", "0.1"],
        ["--scenario", "{nonsense"],
        ["--scenario", '{"unheard": 1}'],
        ["--scenario", '{"faults": [{"kind": "flood"}]}'],
        ["--scenario", '{"faults": [{"kind": "leave", "peer": 5}]}'],
    ],
)
def test_wrong_values_are_one_sentence(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["simulate", *words]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "allowed:" in captured.err


def test_a_scenario_is_checked_where_it_is_built() -> None:
    with pytest.raises(ConfigurationError, match="window"):
        Scenario(window=-1)
