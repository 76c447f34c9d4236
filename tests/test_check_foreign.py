"""``tandem check`` on environments of other packages: ways of keeping their state, sync modes, where they are found."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2pclient.cli.check_assessment import Assessment, Way, assess, print_assessment
from p2pclient.cli.check_causes import likely_causes, state_sentences
from p2pclient.cli.check_verdict import print_verdict
from p2pclient.cli.main import main
from p2pclient.common.differences import Difference
from p2pclient.envhost.checking import CheckPlan, CheckReport, Finding, PlayCosts
from p2pclient.envhost.examining import Examination

SMALL = ("--frames", "20", "--distance", "3", "--seeds", "1")
WAYS = ["own", "pickle", "copy", "fork", "resimulate"]
CAN_FORK = sys.platform.startswith("linux")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person stands in the folder of the module that the name leads to."""
    monkeypatch.chdir(Path(__file__).parent)


def check_as_data(env: str, capsys: pytest.CaptureFixture[str], code: int, *flags: str) -> dict[str, Any]:
    assert main(["check", env, *SMALL, "--json", *flags]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


# -- real environments ----------------------------------------------------------------------------------------------


def test_every_way_is_listed_with_its_costs_and_the_first_exact_one_is_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = check_as_data("gymnasium:CartPole-v1", capsys, 0)
    assert (found["verdict"], found["deterministic"], found["chosen"]) == ("fine", True, "pickle")
    assert list(found["strategies"]) == WAYS
    own, pickled, copied, forked, resimulated = (found["strategies"][name] for name in WAYS)
    assert (own["exact"], own["save_us"], own["portable"]) == (False, None, False)
    assert "no get_state" in own["reason"]
    assert pickled["exact"]
    assert copied["exact"]
    assert resimulated["exact"]
    assert (forked["exact"], forked["reason"] is None) == (CAN_FORK, CAN_FORK)
    assert pickled["reason"] is None
    assert min(pickled["save_us"], pickled["load_us"], pickled["bytes"]) > 0
    assert (found["portable"], found["nominal_rate_hz"]) == (False, 50)
    assert "pickle is used: the first way that is exact." in found["reasons"]
    assert any(found["sync_mode"] in sentence for sentence in found["reasons"])
    assert (found["checksum_coverage"], found["coverage_missed"], found["opaque"]) == (1.0, [], [])
    assert any("_elapsed_steps" in path for path in found["counters"])
    assert found["coverage_tried"] > 20
    assert found["causes"] == []


def test_an_object_that_is_made_anew_when_it_is_unpickled_is_caught_and_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "foreign_rig:Reborn", *SMALL]) == 0
    lines = capsys.readouterr().out.splitlines()
    pickled = next(line for line in lines if line.startswith("pickle "))
    assert pickled.split()[1:5] == ["no", "-", "-", "-"]
    assert "not restored whole: it.data.environment.env.place" in pickled
    assert next(line for line in lines if line.startswith("copy ")).endswith("  used")
    assert "copy is used: the first way that is exact." in lines
    assert "Its state is not portable: what is kept is good for the process that made it alone." in lines
    assert "Reborn is an EzPickle: pickling makes a new environment, whatever state this one is in." in lines
    assert "Its checksum noticed 9 of 9 values changed on purpose." in lines


def test_what_cannot_go_back_but_agrees_between_processes_is_for_lockstep(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "foreign_rig:ModuleCounter", *SMALL, "--no-fork"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("foreign_rig:ModuleCounter cannot go back, but can be played in lockstep: two processes ")
    assert "in each of the 20 frames, with 20 distinct checksums" in out
    assert "\nIts steps change foreign_rig._COUNTER, outside of the environment, " in out
    assert "\nNo way of keeping its state is exact, so it cannot go back.\n" in out
    assert "\nBut an episode does not come out the same when it is run again in the same process: " in out
    found = check_as_data("foreign_rig:ModuleCounter", capsys, 0, "--no-fork")
    assert (found["ok"], found["verdict"], found["reason"], found["rollbacks"]) == (True, "lockstep", None, 0)
    assert (found["sync_mode"], found["chosen"], found["deterministic"]) == ("lockstep", "none", True)
    assert (found["max_rate_hz"], found["window"], found["inputs_matter"]) == (None, 0, True)
    assert not any(way["exact"] for way in found["strategies"].values())
    assert found["strategies"]["fork"]["reason"] == "it is switched off here (--no-fork)"


@pytest.mark.skipif(not CAN_FORK, reason="snapshots by forking are for Linux so far")
def test_what_remembers_outside_of_itself_is_taken_back_by_forking(capsys: pytest.CaptureFixture[str]) -> None:
    found = check_as_data("foreign_rig:Trapped", capsys, 0, "--env-arg", "length=15")
    assert (found["verdict"], found["chosen"], found["portable"]) == ("fine", "fork", False)
    assert (found["deterministic"], found["episodes"]) == (True, 2)
    assert found["rollbacks"] > 15
    assert "fork is used: the first way that is exact." in found["reasons"]


def test_episodes_follow_each_other_where_it_cannot_go_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "foreign_rig:ModuleCounter", *SMALL, "--json", "--no-fork", "--env-arg", "length=6"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["episodes"], found["sync_mode"]) == (20, 4, "lockstep")


def test_agreement_of_what_cannot_go_back_proves_nothing_if_inputs_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (Path(__file__).parent / "foreign_rig.py").read_text()
    (tmp_path / "deaf_game.py").write_text(
        f"{source}\n\nclass Deaf(ModuleCounter):\n    def step(self, action):\n        return super().step(1)\n"
    )
    monkeypatch.chdir(tmp_path)
    found = check_as_data("deaf_game:Deaf", capsys, 2, "--no-fork")
    assert (found["chosen"], found["verdict"], found["inputs_matter"]) == ("none", "unchecked", False)
    assert (found["sync_mode"], found["deterministic"]) == (None, None)
    assert found["distinct_checksums"] == 20
    assert found["reasons"][-1] == "Nothing was shown, so no sync mode follows."


@pytest.mark.parametrize(
    ("name", "chosen", "cause"),
    [
        ("WallClock", "none", "It reads a clock: time.perf_counter() in foreign_rig.py, line "),
        ("SetOrder", "pickle", "It is the order of a set: a third process with the same hash seed as the first agrees"),
    ],
)
def test_what_differs_between_processes_cannot_be_used(
    name: str, chosen: str, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = check_as_data(f"foreign_rig:{name}", capsys, 1)
    assert (found["ok"], found["verdict"], found["chosen"]) == (False, "wrong", chosen)
    assert (found["finding"]["kind"], found["finding"]["field"]) == ("process", "environment.env.place")
    assert (found["deterministic"], found["sync_mode"], found["max_rate_hz"]) == (False, None, None)
    assert found["reasons"][-1] == "It cannot be used: two processes differ, and no sync mode mends that."
    (named,) = found["causes"]
    assert named.startswith(cause)


def test_a_finding_where_nothing_went_back_speaks_of_no_rollbacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "foreign_rig:WallClock", *SMALL]) == 1
    out = capsys.readouterr().out
    assert out.startswith("foreign_rig:WallClock cannot be used as it is.\n")
    assert "came out differently in a second process that ran the same inputs.\n" in out
    assert "\n  in the first process   " in out
    assert ", in wind. Count frames instead.\n" in out
    assert out.endswith("It cannot be used: two processes differ, and no sync mode mends that.\n")


@pytest.mark.parametrize("env", ["test:counter_v0", "cogrid:Overcooked-CrampedRoom-V0"])
def test_adapters_of_ours_do_not_go_by_the_order_of_sets(env: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = check_as_data(env, capsys, 0)
    assert (found["deterministic"], list(found["strategies"])) == (True, ["own"])


# -- where a module is found ----------------------------------------------------------------------------------------


def test_a_module_is_found_in_the_folder_where_the_person_stands_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_game.py").write_text("import gymnasium\ndef make():\n    return gymnasium.make('CartPole-v1')\n")
    assert main(["check", "my_game:make", *SMALL]) == 2
    assert "my_game:make" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    found = check_as_data("my_game:make", capsys, 0)
    assert found["chosen"] == "pickle"


def test_a_package_in_that_folder_is_in_the_way_of_modules_from_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "mine.py").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["check", "test:counter_v0", *SMALL]) == 0
    capsys.readouterr()
    assert main(["check", "envs.mine:make", *SMALL]) == 2
    error = capsys.readouterr().err
    assert f"package 'envs' is '{tmp_path / 'envs'}'" in error
    assert "rename the other one" in error


# -- what is said of the state and of causes ------------------------------------------------------------------------


def said(report: CheckReport, inexact: tuple[str, ...] = (), **found: Any) -> list[str]:
    return list(state_sentences(report, Examination(**found), inexact))


def test_drawing_that_fails_or_changes_the_state_is_said_unless_a_copy_is_drawn() -> None:
    (sentence,) = said(CheckReport(), picture_changes="environment.wind")
    assert sentence.startswith("Its render() changes environment.wind: ")
    (sentence,) = said(CheckReport(), picture_fails="RuntimeError: no font")
    assert sentence.startswith("It cannot be drawn: RuntimeError: no font. ")
    assert list(state_sentences(CheckReport(), Examination(picture_changes="environment.wind"), (), "fork")) == []
    (undone,) = state_sentences(CheckReport(), Examination(picture_changes="environment.wind"), (), "pickle")
    assert "undone after each picture" in undone
    assert "desync" not in undone
    changes = Examination(picture_changes="environment.wind")
    (again,) = state_sentences(CheckReport(), changes, (), "resimulate")
    assert "simulating the episode again" in again
    for used, stays in (("resimulate", True), (None, False)):
        (sentence,) = state_sentences(CheckReport(), replace(changes, picture_stays=stays), (), used)
        assert "matches would end with a desync" in sentence


def moved(distinct: int, live: int, finding: Finding | None = None) -> CheckReport:
    bare = {bytes([number]) for number in range(distinct)}
    return CheckReport(bare_checksums=bare, live_frames=live, inputs_matter=True, finding=finding)


def test_gaps_of_the_checksum_are_named_below_the_mark_alone() -> None:
    assert said(CheckReport(), tried=20, noticed=19) == ["Its checksum noticed 19 of 20 values changed on purpose."]
    (gaps,) = said(CheckReport(), tried=100, noticed=94, missed=["a.b", "a.c", "d", "e", "f"])
    assert gaps.startswith("These parts of the state are not in the checksum: a.b, a.c, d and 2 more (6 of 100 values")
    assert said(CheckReport(), opaque=["x: generator"]) == ["Could not be looked into: x: generator."]
    (failed,) = said(CheckReport(), failed="it is gone")
    assert failed == "What its checksum covers could not be measured: it is gone."
    assert said(CheckReport(), remade=["Game"]) == []
    assert said(CheckReport(), ("pickle",), remade=["Game"])[0].startswith("Game is an EzPickle: ")


def test_a_state_in_which_only_counters_move_is_found_out() -> None:
    assert said(moved(1, 100))[0].startswith("In its state nothing moves but what counts time or steps")
    assert said(moved(89, 100))[0].startswith("Only 89 of 100 frames had a state of their own")
    assert said(moved(90, 100)) == []
    assert said(moved(1, 100, Finding("process", 0, 0, 3))) == []


def test_causes_are_named_only_where_something_is_wrong() -> None:
    read = {"kind": "chance", "call": "os.urandom", "file": "game.py", "line": 7, "function": "step", "times": 9}
    seen = Examination(reads=[read, {**read, "kind": "address", "call": "id", "function": "<module>"}], changed=["a.B"])
    assert list(likely_causes(CheckReport(), seen)) == []
    first, second = likely_causes(CheckReport(finding=Finding("process", 0, 0, 3)), seen)
    assert first == (
        "It draws from chance that no seed governs: os.urandom() in game.py, line 7, in step. "
        "Take the generator that reset has seeded."
    )
    assert second.startswith("It looks at addresses in memory: id() in game.py, line 7. ")
    *_, last = likely_causes(CheckReport(finding=Finding("resimulated", 0, 0, 3)), seen)
    assert last.startswith("Its steps change a.B, outside of the environment")
    assert len(list(likely_causes(CheckReport(goes_back=False), seen))) == 3
    order = Examination(reads=[read], hash_order=True)
    (only,) = likely_causes(CheckReport(finding=Finding("process", 0, 0, 3)), order)
    assert only.startswith("It is the order of a set")


def test_lines_are_broken_at_the_width_of_the_window(capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding("process", 0, 0, 3, (Difference("a.b", 1, 2),))
    report = CheckReport(finding=finding, frames=4)
    found = assessed(step=100)
    for width in (80, 120):
        print_verdict("some:env", {}, CheckPlan(), report, ["It reads a clock. " * 9], width)
        print_verdict("some:env", {}, CheckPlan(), moved(40, 40), (), width)
        print_assessment(found, width)
        lines = capsys.readouterr().out.splitlines()
        # A command that is to be copied stays in one piece.
        assert max(len(line) for line in lines if not line.startswith("This command finds it again: ")) <= width


# -- what follows from the costs ------------------------------------------------------------------------------------


def assessed(
    *, step: int, save: int = 0, load: int = 0, way: str = "pickle", max_steps: int | None = 100, step_alone: int = 10
) -> Assessment:
    grade = {"name": way, "exact": True, "reason": "", "portable": False, "save_us": save, "load_us": load, "size": 9}
    ready: dict[str, Any] = {
        "snapshots": {"chosen": way, "graded": [grade]},
        "portable": False,
        "max_steps": max_steps,
        "nominal_rate_hz": 20,
        "numeric_probe": "p",
        "step_us": step_alone,
    }
    return assess(ready, CheckReport(checksums={b"a", b"b"}, inputs_matter=True), PlayCosts(step, save, load), None)


@pytest.mark.parametrize(
    ("step", "save", "load", "mode", "window", "rate"),
    [
        (100, 50, 50, "rollback", 8, 240.0),
        (5_000, 1_000, 2_000, "rollback", 8, 20.0),
        (5_000, 1_000, 2_001, "rollback with delay", 7, 19.9),
        (20_000, 2_000, 6_000, "rollback with delay", 2, 5.4),
        (20_000, 2_000, 6_001, "lockstep", 0, 5.4),
        (1_000, 0, 400_000, "lockstep", 0, 2.4),
    ],
)
def test_the_mode_is_what_fits_into_a_frame(
    step: int, save: int, load: int, mode: str, window: int, rate: float, capsys: pytest.CaptureFixture[str]
) -> None:
    found = assessed(step=step, save=save, load=load)
    assert (found.sync_mode, found.window, found.max_rate_hz) == (mode, window, rate)
    print_assessment(found)
    out = capsys.readouterr().out
    assert f"\nSync mode: {mode}. " in out
    assert f"{rate:g} Hz" in out


def test_snapshots_that_cost_more_than_steps_are_weighed_as_far_apart_as_play_takes_them() -> None:
    # Eight steps and eight saves would take 36 ms. With a snapshot in every seventh frame, going back may mean six
    # frames more, which are 14 steps with two saves: 15 ms.
    assert assessed(step=500, save=4_000, load=5_000).max_rate_hz == 50.0
    assert assessed(step=500, save=4_000, load=35_000).window == 8
    assert assessed(step=500, save=4_000, load=35_001).window == 7


def test_simulating_an_episode_again_is_as_dear_as_its_last_frame() -> None:
    costs: dict[str, Any] = {"step": 100, "load": 200, "way": "resimulate", "step_alone": 100}
    assert assessed(max_steps=480, **costs).window == 8
    assert assessed(max_steps=500, **costs).sync_mode == "lockstep"
    assert assessed(max_steps=None, **costs).sync_mode == "lockstep"


def test_a_way_that_rollbacks_refute_is_not_called_exact() -> None:
    grade = {"name": "pickle", "exact": True, "reason": "", "portable": False, "save_us": 1, "load_us": 1, "size": 9}
    ready = {
        "snapshots": {"chosen": "pickle", "graded": [grade]},
        "portable": False,
        "nominal_rate_hz": 20,
        "numeric_probe": "p",
        "step_us": 10,
    }
    found = assess(ready, CheckReport(finding=Finding("resimulated", 0, 0, 3)), None, "Frame 3 differs.")
    assert (found.ways[0].exact, found.ways[0].reason, found.sync_mode) == (False, "Frame 3 differs.", None)
    assert found.deterministic is None
    assert "rollbacks showed that it is not" in found.reasons[0]
    unknown = assess(ready, CheckReport(inputs_matter=False), None, "other inputs gave the same.")
    assert (unknown.ways[0].exact, unknown.sync_mode, unknown.deterministic) == (True, None, None)


@pytest.mark.parametrize("width", [None, 80, 120])
def test_reasons_of_the_table_are_whole_at_every_width(width: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    reason = "after 60 steps,\n a restored snapshot goes on differently: " + "it[0] is 7, not 8, " * 9 + "that is all"
    ways = (Way("own", False, reason, False, None, None, None), Way("copy", False, "short", False, None, None, None))
    print_assessment(replace(assessed(step=100), ways=ways), width)
    table = capsys.readouterr().out.partition("\n\n")[0].lstrip()
    assert " ".join(reason.split()) in " ".join(table.split())
    lines = table.splitlines()
    assert lines[-1].startswith("copy        no ")
    assert lines[-1].endswith("  short")
    assert (len(lines) == 3) == (width is None)
    assert width is None or max(map(len, lines)) <= width
