"""``tandem check``: exit codes, what a person reads, and the JSON."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

import numpy as np
import pytest

from p2pclient.cli.check import add_arguments, flags_of_finding
from p2pclient.cli.check_verdict import print_verdict, verdict_data
from p2pclient.cli.main import main
from p2pclient.common.differences import ABSENT, Difference
from p2pclient.envhost.checking import CheckPlan, CheckReport, Finding

SMALL = ("--frames", "30", "--distance", "3", "--seeds", "1")


def test_an_environment_that_can_be_rolled_back_is_fine_and_the_figures_show_that_it_was_tried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "test:counter_v0", *SMALL, "--max-steps", "20"]) == 0
    out, err = capsys.readouterr()
    said, _, table = out.partition("\n\n")
    assert said.splitlines() == [
        "test:counter_v0 can be rolled back: 24 rollbacks, up to 3 frames deep, and each of the 68 frames simulated "
        "again came out the same.",
        "26 distinct checksums in 30 frames; other inputs gave other checksums; a second process without rollbacks "
        "agreed in every frame.",
        "Rolled back over the end of 1 episode.",
    ]
    assert table.startswith("way         exact  save us  load us    bytes\nown         yes  ")
    assert "\nIts adapter keeps its state.\nIts state is portable: " in table
    assert "\nSync mode: rollback. On this machine " in table
    assert err == ""


def test_what_is_wrong_is_named_with_frame_field_and_both_values_and_can_be_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["check", "test:leaky_v0", *SMALL, "--env-arg", "leak=restore", "--env-arg", "from_frame=5"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert out.startswith("test:leaky_v0 cannot be rolled back as it is.\n\nGoing back to frame 5 did not ")
    assert "First field that differs: environment.traces[0]\n  when it was saved  " in out
    line = next(line for line in out.splitlines() if line.startswith("This command finds it again: "))
    repeat = shlex.split(line.partition(": ")[2])
    assert repeat[0] == "tandem"
    assert main(repeat[1:]) == 1
    assert capsys.readouterr().out == out


def test_json_has_the_finding_field_by_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "test:leaky_v0", *SMALL, "--env-arg", "leak=info", "--json"]) == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["verdict"], found["env_args"]) == (False, "wrong", {"leak": "info"})
    finding = found["finding"]
    assert (finding["kind"], finding["frame"], finding["seed"]) == ("result", 0, 0)
    assert finding["field"] == "infos[0].steps_ever"
    assert finding["differences"][0] == {"path": "infos[0].steps_ever", "first": 1, "again": 2}
    assert found["reason"] == "Frame 0 gave something else when it was simulated again, although the state is the same."
    assert found["strategies"]["own"]["exact"] is False
    assert found["strategies"]["own"]["reason"] == found["reason"]
    assert (found["deterministic"], found["sync_mode"], found["max_rate_hz"]) == (None, None, None)


def test_json_of_a_fine_environment_has_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "test:counter_v0", *SMALL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["verdict"], found["reason"], found["finding"]) == (True, "fine", None, None)
    assert (found["frames"], found["distinct_checksums"], found["inputs_matter"]) == (30, 30, True)
    assert found["resimulated"] == 26 * 3 + 1
    assert (found["deterministic"], found["chosen"], found["portable"]) == (True, "own", True)
    assert found["strategies"]["own"]["exact"]
    assert found["strategies"]["own"]["save_us"] >= 0
    assert found["step_us"] > 0
    assert found["frame_us"] > 0
    assert len(found["numeric_probe"]) == 16
    assert found["sync_mode"] == "rollback"


def test_equal_checksums_that_prove_nothing_are_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "test:leaky_v0", *SMALL, "--env-arg", "leak=inputs"]) == 2
    assert "cannot be checked: other inputs gave the same checksums" in capsys.readouterr().out
    assert main(["check", "test:leaky_v0", *SMALL, "--env-arg", "leak=inputs", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["verdict"], found["inputs_matter"]) == (False, "unchecked", False)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["test:counter_v0", "--step-timeout", "0"], "--step-timeout is 0.0"),
        (["test:counter_v0", "--env-arg", "fail_at_frame=4"], "frame 4 of episode 1 with seed 0 fails without"),
        (["test:counter_v0", "--env-arg", "nonsense"], "--env-arg is 'nonsense'"),
        (["test:counter_v0", "--distance", "0"], "--distance is 0"),
        (["test:counter_v0", "--distance", "61"], "--distance is 61"),
        (["test:counter_v0", "--frames", "7"], "--frames is 7; allowed: more than the distance, 7"),
        (["test:counter_v0", "--seeds", "0"], "--seeds is 0"),
    ],
)
def test_what_cannot_be_checked_is_said_in_a_sentence(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"tandem check: {words[0]} cannot be checked: ")
    assert reason in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["test:nothing_v0"], "environment is 'test:nothing_v0'; allowed: "),
        (["test:counter_v0", "--env-arg", "seats=99"], "environment argument seats is 99"),
    ],
)
def test_what_cannot_be_loaded_says_so_once(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"tandem check: {words[0]} could not be loaded: {reason}")
    assert err.count("could not") + err.count("cannot") == 1
    assert len(err.splitlines()) == 1


def test_what_cannot_be_checked_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "test:nothing_v0", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["verdict"]) == (False, "unchecked")
    assert "could not be loaded" in found["reason"]


def test_every_kind_of_finding_has_words_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    many = tuple(Difference(f"a[{n}]", n, ABSENT) for n in range(9))
    findings = {
        "frame 4": Finding("resimulated", 2, 1, 4, many),
        "Frame 4 gave": Finding("result", 2, 1, 4, many[:1]),
        "Going back to frame 4": Finding("restored", 2, 1, 4, many[:2]),
        "second process": Finding("process", 2, 1, 4, many),
        "first state": Finding("process", 2, 1, -1, many),
        "ValueError: no": Finding("raised", 2, 1, 4, error="ValueError: no"),
        "begun once more": Finding("repeated", 2, 1, 4),
        "game.wind": Finding("remembered", 2, 1, 4, error="game.wind"),
    }
    for words, finding in findings.items():
        print_verdict("some:env", {"a": "b c"}, CheckPlan(), CheckReport(finding=finding))
        out = capsys.readouterr().out
        assert words.lower() in out.lower()
        assert "It was in episode 2 with seed 2." in out
        assert "--seeds 3 --env-arg 'a=\"b c\"'" in out
    print_verdict("some:env", {}, CheckPlan(), CheckReport(finding=findings["frame 4"]))
    assert "Also: a[1], a[2], a[3], a[4], a[5], and 3 more" in capsys.readouterr().out


def test_the_command_that_finds_it_again_has_every_flag_that_matters(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "some:env", "--step-hook", "a:b", "--no-fork", "--seconds", "90", "--env-python", "old"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    flags = flags_of_finding(parser.parse_args(words[1:]))
    assert flags == ("--seconds", "90", "--step-hook", "a:b", "--no-fork", "--env-python=old")
    assert flags_of_finding(parser.parse_args(["some:env"])) == ()
    report = CheckReport(finding=Finding("resimulated", 0, 0, 3))
    print_verdict("some:env", {}, CheckPlan(), report, flags=flags)
    repeat = verdict_data("some:env", {}, CheckPlan(), report, flags)["repeat"]
    assert f"finds it again: {repeat}\n" in capsys.readouterr().out
    assert parser.parse_args(shlex.split(repeat)[2:]).step_hook == "a:b"
    later = CheckReport(finding=Finding("repeated", 0, 3, 3))
    assert "--seeds 3" in verdict_data("some:env", {}, CheckPlan(), later)["repeat"]


def test_a_shorter_episode_is_advised_only_where_that_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    report = CheckReport(frames=300, checksums={b"a", b"b"}, inputs_matter=True)
    print_verdict("some:env", {}, CheckPlan(), report, takes_max_steps=True)
    assert "With --max-steps 150 the end is tried as well." in capsys.readouterr().out
    print_verdict("some:env", {}, CheckPlan(), report)
    out = capsys.readouterr().out
    assert "--max-steps" not in out
    assert "No episode ended in 300 frames. Its end was not tried." in out


def test_values_that_json_lacks_are_written_as_text() -> None:
    differences = (Difference("x", float("nan"), np.float32(0.5)), Difference("y", b"\x01", ABSENT))
    report = CheckReport(finding=Finding("resimulated", 0, 0, 3, differences))
    data = json.loads(json.dumps(verdict_data("e", {}, CheckPlan(), report), allow_nan=False))
    assert data["finding"]["differences"] == [
        {"path": "x", "first": "NaN", "again": 0.5},
        {"path": "y", "first": "01", "again": ABSENT},
    ]


def test_a_state_that_never_changes_is_said_to_prove_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report = CheckReport(frames=40, checksums={b"one"}, inputs_matter=False)
    print_verdict("some:env", {}, CheckPlan(), report)
    assert "all 40 states had the same checksum" in capsys.readouterr().out
