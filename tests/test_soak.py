"""A soak: its plan follows from its seed, its judge sees what is wrong, and whole ones end with the right verdict."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from play_rig import BOT, ENV
from recorder_runs import make_frame, match_records, write_run
from virtual_loop import VirtualLoop

from p2pclient.cli.soak_check import find_difference, lateness_of, look_at
from p2pclient.cli.soak_judge import DIED, FAILED, PLAYED, MatchCourse, Side, judge
from p2pclient.cli.soak_ledger import Ledger
from p2pclient.cli.soak_plan import (
    FAULT_SHARES,
    KILL_CLIENT,
    KILL_HOST,
    KILL_SERVER,
    LEAVE,
    NETWORKS,
    PAUSE,
    Fault,
    Seeds,
    SoakPlan,
    read_repeated,
)
from p2pclient.cli.soak_process import ProcessId
from p2pclient.cli.soak_watch import Holding, Watch, judge_growth
from p2pclient.common.errors import ConfigurationError
from p2pclient.recorder.reading import RunReader
from p2pclient.recorder.records import EpisodeStarted, FrameTimed, Record
from p2pclient.recorder.verify import BEGINNING, DIFFERENT, SAME

FRAMES = 480


def make_plan(**changes: Any) -> SoakPlan:
    fields: dict[str, Any] = {
        "env": ENV,
        "env_args": {"max_steps": 160},
        "bot": BOT,
        "pairs": 2,
        "seconds": 60.0,
        "profile": "wifi",
        "seed": 5,
        "out": Path("nowhere"),
        "rate": 60.0,
        "window": 8,
        "input_delay": "0",
        "prediction": "auto",
        "on_desync": "end",
        "frames": FRAMES,
    }
    return SoakPlan(**{**fields, **changes})


# -- the plan -------------------------------------------------------------------------------------------------------


def test_everything_drawn_follows_from_the_seed() -> None:
    def drawn(plan: SoakPlan) -> list[Any]:
        faults = [plan.fault_of(number) for number in range(50)]
        clients = [plan.client_seeds(slot, generation) for slot in range(4) for generation in range(3)]
        return [faults, clients, plan.server_seed(0), [plan.is_replayed(number) for number in range(50)]]

    assert drawn(make_plan()) == drawn(make_plan())
    for one, other in zip(drawn(make_plan()), drawn(make_plan(seed=6)), strict=True):
        assert one != other
    assert make_plan().server_seed(0) != make_plan().server_seed(1)


def test_faults_come_about_as_often_as_planned_and_within_the_match() -> None:
    plan = make_plan()
    faults = [plan.fault_of(number) for number in range(4000)]
    kinds = Counter(None if fault is None else fault.kind for fault in faults)
    for kind, share in FAULT_SHARES.items():
        assert kinds[kind] / 4000 == pytest.approx(share, abs=0.03)
    moments = [fault.moment for fault in faults if fault is not None]
    assert min(moments) >= 0
    assert max(moments) <= plan.match_seconds + 0.5
    assert any(fault.at_once for fault in faults if fault is not None)
    assert {fault.side for fault in faults if fault is not None} == {0, 1}


def test_server_faults_are_among_the_planned() -> None:
    assert any(fault is not None and fault.kind == KILL_SERVER for fault in map(make_plan().fault_of, range(100)))


def test_no_faults_are_planned_without_kills() -> None:
    assert {make_plan(kills=False).fault_of(number) for number in range(200)} == {None}


def test_mixed_networks_differ_from_client_to_client() -> None:
    networks = {make_plan(profile="mixed").client_seeds(slot, 0).network for slot in range(60)}
    assert networks == set(NETWORKS)
    assert {make_plan().client_seeds(slot, 0).network for slot in range(60)} == {"wifi"}


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"pairs": 0}, "--pairs"),
        ({"seconds": 0.0}, "--minutes"),
        ({"matches": -1}, "--matches"),
        ({"frames": 0}, "--seconds"),
        ({"profile": "perfect"}, "--profile"),
    ],
)
def test_impossible_settings_are_refused_by_name(changes: dict[str, Any], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        make_plan(**changes)


# -- the judge ------------------------------------------------------------------------------------------------------


def played(reason: str, *, frames: int = FRAMES, verified: int | None = None, desyncs: int = 0) -> dict[str, Any]:
    """Return what a client reports at the end of a match."""
    counters = {"confirmed_frames": frames, "verified_frames": frames if verified is None else verified}
    counters |= dict.fromkeys(("rollbacks", "resimulated", "stalls", "overruns", "max_depth"), 0)
    unverified = frames - counters["verified_frames"]
    return {"reason": reason, "unverified": unverified, "outcome": {"counters": {**counters, "desyncs": desyncs}}}


def recordings(a: int = FRAMES, b: int = FRAMES, *, code: int = SAME, **changes: Any) -> dict[str, Any]:
    """Return what the check says of two good recordings of so many frames."""
    sides = [
        {"folder": name, "recorded": n, "verified": n, "checksums": n, "lateness_ms": {"p99": 5.0, "samples": n}}
        for name, n in (("run-a", a), ("run-b", b))
    ]
    found = {
        "sides": sides,
        "verify": {"code": code, "message": "what verify said"},
        "machine_lateness_ms": {"max": 1.0},
    }
    return {**found, **changes}


Ends = tuple[str, str]
"""How the match ended for both sides: a reason if they played it, or else the kind of end."""


def make_course(ends: Ends, fault: Fault | None = None, *, victim: int = 1, **changes: Any) -> MatchCourse:
    course = MatchCourse("0001-abc", 1, fault, began_at=0.0)
    for seat, end in enumerate(ends):
        side = Side(seat, f"client-1{'ab'[seat]}.1", Seeds(seat, "wifi"), ended_at=12.0)
        side.ending = end if end in (FAILED, DIED) else PLAYED
        side.report = played(end) if side.ending == PLAYED else {}
        side.folder = None if end == FAILED else Path(f"run-{'ab'[seat]}")
        course.sides[seat] = side
    course.playing = {0, 1}
    if fault is not None:
        course.fired_at, course.victim = 10.0, victim
    for name, value in changes.items():
        setattr(course, name, value)
    return course


def fault_of(kind: str) -> Fault:
    return Fault(kind, side=1, moment=3.0)


@pytest.mark.parametrize(
    ("ends", "kind"),
    [
        (("finished", "finished"), None),
        (("finished", "finished"), PAUSE),
        (("partner-gone", DIED), KILL_CLIENT),
        (("finished", DIED), KILL_CLIENT),
        (("partner-left", "environment"), KILL_HOST),
        (("partner-left", "left"), LEAVE),
        (("finished", "finished"), KILL_HOST),
    ],
)
def test_what_a_fault_leads_to_is_no_problem(ends: Ends, kind: str | None) -> None:
    fault = None if kind is None else fault_of(kind)
    code = SAME if ends == ("finished", "finished") and kind in (None, PAUSE) else BEGINNING
    assert judge(make_course(ends, fault), recordings(code=code), make_plan()) == []


@pytest.mark.parametrize(
    ("ends", "kind"),
    [
        (("finished", "partner-gone"), None),
        (("partner-left", "environment"), None),
        (("finished", DIED), None),
        (("finished", FAILED), None),
        (("partner-gone", "partner-gone"), PAUSE),
        (("environment", DIED), KILL_CLIENT),
        (("partner-gone", "environment"), KILL_HOST),
        (("desync", "desync"), KILL_CLIENT),
        (("refused", "refused"), KILL_HOST),
        (("partner-left", FAILED), LEAVE),
    ],
)
def test_an_end_that_its_fault_does_not_explain_is_a_problem(ends: Ends, kind: str | None) -> None:
    problems = judge(make_course(ends, None if kind is None else fault_of(kind)), recordings(), make_plan())
    assert problems
    assert all("seat" in problem for problem in problems)


def test_match_that_did_not_come_about_is_right_only_if_it_was_disturbed() -> None:
    assert judge(make_course((FAILED, FAILED), disturbed=True, playing=set()), {}, make_plan()) == []
    assert len(judge(make_course((FAILED, FAILED), playing=set()), {}, make_plan())) == 2
    assert judge(make_course((FAILED, DIED), fault_of(KILL_CLIENT), playing={0}), {}, make_plan()) == []
    assert len(judge(make_course((FAILED, DIED), fault_of(KILL_CLIENT)), {}, make_plan())) == 1


def test_match_that_the_end_of_the_soak_cut_short_is_right() -> None:
    course = make_course(("left", "partner-left"), is_cut_short=True)
    assert judge(course, recordings(code=BEGINNING), make_plan()) == []


def test_client_that_was_told_of_a_match_alone_is_a_problem() -> None:
    course = make_course(("finished", "finished"))
    del course.sides[1]
    assert "only one client was told of the match" in judge(course, {}, make_plan())


def test_a_match_that_outlives_a_killed_host_may_take_its_time() -> None:
    course = make_course(("finished", "finished"), fault_of(KILL_HOST))
    course.sides[0].ended_at = course.sides[1].ended_at = 60.0
    assert judge(course, recordings(code=SAME), make_plan()) == []
    course = make_course(("partner-left", "environment"), fault_of(KILL_HOST))
    course.sides[1].ended_at = 26.0
    assert judge(course, recordings(code=BEGINNING), make_plan()) == ["seat 1 ended only 16.0 s after kill-host"]


def test_late_reaction_is_a_problem_unless_the_server_forgot_the_match() -> None:
    course = make_course(("partner-gone", DIED), fault_of(KILL_CLIENT))
    course.sides[0].ended_at = 26.0
    assert judge(course, recordings(code=BEGINNING), make_plan()) == ["seat 0 ended only 16.0 s after kill-client"]
    course.has_lost_server = True
    assert judge(course, recordings(code=BEGINNING), make_plan()) == []


@pytest.mark.parametrize(
    ("report", "part"),
    [
        (played("finished", frames=FRAMES - 1), "479 frames confirmed"),
        (played("finished", verified=FRAMES - 1), "1 unverified"),
        (played("finished", desyncs=1), "desync"),
    ],
)
def test_finished_match_that_lacks_frames_or_differs_is_a_problem(report: dict[str, Any], part: str) -> None:
    course = make_course(("finished", "finished"))
    course.sides[0].report = report
    (problem,) = judge(course, recordings(), make_plan())
    assert part in problem


def test_match_that_was_played_without_a_recording_is_a_problem() -> None:
    course = make_course(("finished", "finished"))
    course.sides[1].folder = None
    assert judge(course, {}, make_plan()) == ["seat 1 played and left no recording"]


@pytest.mark.parametrize(
    ("check", "part"),
    [
        (recordings(code=BEGINNING), "what verify said"),
        (recordings(code=DIFFERENT), "what verify said"),
        (recordings(difference="episode 0, frame 7"), "episode 0, frame 7"),
        (recordings(unreadable=["torn"]), "torn"),
        (recordings(failures=["no answer"]), "no answer"),
        (recordings(replays=[{"same": True}, {"same": False, "message": "frame 9 differs"}]), "frame 9 differs"),
        (recordings(a=400), "lost"),
    ],
)
def test_recordings_that_are_not_the_whole_truth_are_a_problem(check: dict[str, Any], part: str) -> None:
    problems = judge(make_course(("finished", "finished")), check, make_plan())
    assert len(problems) == 1
    assert part in problems[0]


def test_recordings_with_hardly_any_distinct_states_prove_nothing() -> None:
    check = recordings()
    check["sides"][0]["checksums"] = 3
    (problem,) = judge(make_course(("finished", "finished")), check, make_plan())
    assert "nothing is tested" in problem


def test_lateness_beyond_that_of_the_machine_is_a_problem_unless_we_stopped_the_client() -> None:
    check = recordings()
    check["sides"][1]["lateness_ms"] = {"p99": 52.5, "samples": 300}
    assert "run-b" in judge(make_course(("finished", "finished")), check, make_plan())[0]
    assert judge(make_course(("finished", "finished"), fault_of(PAUSE)), check, make_plan()) == []
    check["machine_lateness_ms"] = {"max": 1.3}
    assert judge(make_course(("finished", "finished")), check, make_plan()) == []


def test_a_few_late_frames_of_a_short_match_are_not_judged() -> None:
    check = recordings()
    check["sides"][1]["lateness_ms"] = {"p99": 500.0, "samples": 90}
    assert judge(make_course(("finished", "finished")), check, make_plan()) == []


# -- what is measured -----------------------------------------------------------------------------------------------


def timed_run(folder: Path, applied_at: list[float], **changes: dict[str, Any]) -> RunReader:
    """Record frames whose inputs were read at these times and that were confirmed in good time."""
    records: list[Record] = [EpisodeStarted(0, 1, bytes(8))]
    for frame, at in enumerate(applied_at):
        times: dict[str, Any] = {"applied_at": at, "simulated_at": at + 0.002, "recorded_at": at + 0.003, "window": 8}
        times |= {"pressed_at": None, "shown_at": None, "rtt_ms": None, "input_delay": 0}
        times |= {"predicted": (False, True), "resimulated": 0, **changes.get(str(frame), {})}
        records += [make_frame(0, frame), FrameTimed(episode=0, frame=frame, **times)]
    return RunReader(write_run(folder, iter(records), settings={"rate_hz": 10}))


def test_a_frame_that_begins_late_for_no_reason_is_lateness(tmp_path: Path) -> None:
    late = lateness_of(timed_run(tmp_path / "run", [0.0, 0.1, 0.2, 0.7, 0.8]))
    assert late == [0.0, 0.0, pytest.approx(0.5 - 0.105), 0.0]


def test_waiting_for_the_host_is_no_lateness(tmp_path: Path) -> None:
    run = timed_run(tmp_path / "run", [0.0, 0.1, 0.2, 0.7, 0.8], **{"2": {"simulated_at": 0.69}})
    assert max(lateness_of(run)) == pytest.approx(0.01)


def test_waiting_for_the_frame_that_leaves_the_window_is_no_lateness(tmp_path: Path) -> None:
    run = timed_run(tmp_path / "run", [0.0, 0.1, 0.2, 0.7, 0.8], **{"1": {"recorded_at": 0.68}})
    assert max(lateness_of(run)) > 0.3  # the window is 8: frame 1 need not be confirmed for frame 3
    narrow = {str(frame): {"window": 2} for frame in range(5)}
    narrow["1"]["recorded_at"] = 0.68
    assert max(lateness_of(timed_run(tmp_path / "narrow", [0.0, 0.1, 0.2, 0.7, 0.8], **narrow))) == pytest.approx(0.02)


def test_difference_in_an_unverified_frame_is_found(tmp_path: Path) -> None:
    def write(name: str, checksum: bytes) -> RunReader:
        records: list[Record] = [EpisodeStarted(0, 1, bytes(8)), make_frame(0, 0), make_frame(0, 1, checksum=checksum)]
        return RunReader(write_run(tmp_path / name, iter(records)))

    a, b, longer = write("a", b"12345678"), write("b", b"12345679"), write("c", b"12345678")
    assert find_difference(a, longer) is None
    assert find_difference(a, b) == "episode 0, frame 1"


def test_check_says_what_both_sides_recorded_and_what_cannot_be_read(tmp_path: Path) -> None:
    good = [write_run(tmp_path / name, match_records(local=at)) for name, at in (("a", 0.0), ("b", 1.0))]
    found = look_at(good, replay=False)
    assert (found["verify"]["code"], found["difference"], found["unreadable"]) == (SAME, None, [])
    assert [(side["recorded"], side["verified"], side["checksums"]) for side in found["sides"]] == [(40, 40, 40)] * 2
    (good[1] / "frames.log").write_bytes(b"not a log")
    found = look_at(good, replay=False)
    assert len(found["unreadable"]) == 1
    assert found["verify"] is None


def holdings(memory: list[float], handles: int = 10) -> list[Holding]:
    return [Holding(mb, handles, 5) for mb in memory]


def test_memory_that_grows_with_every_match_is_not_flat() -> None:
    growth = judge_growth("client", holdings([100 + 2.0 * match for match in range(30)]))
    assert [each.what for each in growth if not each.is_flat] == ["memory_mb"]


def test_memory_that_settles_after_the_first_matches_is_flat() -> None:
    growth = judge_growth("client", holdings([60, 80, 95, *[100 + 0.5 * (match % 3) for match in range(27)]]))
    assert len(growth) == 3
    assert all(each.is_flat for each in growth)


def test_handles_that_are_not_closed_are_seen() -> None:
    samples = [Holding(100, 10 + match // 3, 5) for match in range(30)]
    assert [each.what for each in judge_growth("client", samples) if not each.is_flat] == ["handles"]


def test_process_that_lived_through_few_matches_is_not_judged() -> None:
    assert judge_growth("client", holdings([100 + 10.0 * match for match in range(11)])) == []


def watch_a_hitch(*, looking: bool) -> tuple[Watch, float, float]:
    """Beat; in the midst of it hold the loop up for 150 ms; returns the time of that and of the end, too."""
    loop, watch = VirtualLoop(), Watch()

    async def course() -> float:
        beating = asyncio.create_task(watch.beat())
        await asyncio.sleep(0.11)
        middle = loop.time()
        if looking:
            watch.note_children([])
        loop.hold_up(0.15)
        await asyncio.sleep(0.11)
        beating.cancel()
        return middle

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return watch, runner.run(course()), loop.time()


def test_lateness_of_the_machine_is_that_of_the_time_asked_for() -> None:
    watch, middle, end = watch_a_hitch(looking=False)
    assert watch.lateness_between(end=middle - 0.02) == pytest.approx([0.0] * 4, abs=1e-3)
    # The beat under way when the loop was held up was due 10 ms later.
    assert watch.lateness_between(middle - 0.005, end) == pytest.approx([0.14, *[0.0] * 5], abs=1e-3)
    assert len(watch.lateness_between()) == 11


def test_lateness_that_comes_of_looking_at_processes_is_not_the_machines() -> None:
    watch, _, _ = watch_a_hitch(looking=True)
    assert watch.lateness_between() == pytest.approx([0.0] * 10, abs=1e-3)


_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_process_that_outlives_its_client_is_found_and_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        watch, owner = Watch(), ProcessId.of(parent.pid)
        watch.note_children([owner])
        parent.kill()
        parent.wait()
    assert watch.processes_left(owner) == watch.processes_left() == [orphan]
    watch.end_left_over()
    psutil.wait_procs([psutil.Process(orphan)] if psutil.pid_exists(orphan) else [], timeout=5)
    assert watch.processes_left() == []


_SHARES = """
import mmap, sys
with open(sys.argv[1], "w+b") as file:
    file.truncate(4096)
    shared = mmap.mmap(file.fileno(), 4096)
print("mapped", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shared memory has names there only")
def test_shared_memory_that_a_client_leaves_is_named() -> None:
    path = Path(f"/dev/shm/tandem-test-{os.getpid()}")
    watch = Watch()
    try:
        command = [sys.executable, "-c", _SHARES, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            watch.note_children([ProcessId.of(process.pid)])
            process.kill()
        assert watch.shared_memory_left() == [path.name]
    finally:
        path.unlink()
    assert watch.shared_memory_left() == []


# -- the ledger -----------------------------------------------------------------------------------------------------


def test_failed_match_keeps_all_that_is_needed_to_repeat_it(tmp_path: Path) -> None:
    said: list[str] = []
    plan = make_plan(out=tmp_path)
    ledger = Ledger(plan, say=said.append)
    course = make_course(("partner-gone", DIED), fault_of(KILL_CLIENT))
    for seat, side in course.sides.items():
        side.folder = write_run(tmp_path / "clients" / str(seat) / "run", match_records())
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "client-1b.1.log").write_text("its last words\n")
    ledger.close(course, recordings(), ["something was wrong"])
    folder = tmp_path / "failed" / "00001_0001-abc"
    assert [RunReader(folder / name).recorded for name in ("seat-0", "seat-1")] == [40, 40]
    assert (folder / "client-1b.1.log").read_text() == "its last words\n"
    (problem,) = ledger.problems
    assert (problem.text, problem.folder) == ("something was wrong", str(folder))
    assert problem.repeat is not None
    assert str(folder / "match.json") in problem.repeat
    assert said == ["0001-abc: something was wrong"]

    settings, repeated = read_repeated(folder / "match.json")
    again = SoakPlan(**settings, pairs=1, seconds=60.0, out=tmp_path, repeated=repeated)
    assert again.fault_of(1) == again.fault_of(2) == course.fault
    assert course.fault is not None
    assert [again.client_seeds(slot, 3) for slot in (0, 1)] == [Seeds(0, "wifi"), Seeds(1, "wifi")]
    assert (again.frames, again.env_args) == (plan.frames, plan.env_args)


def test_only_what_was_really_done_to_a_match_is_repeated() -> None:
    fault = Fault(KILL_CLIENT, side=0, moment=3.0)
    ends = ("finished", "finished")
    assert make_course(ends, fault, victim=1).fault_done == replace(fault, side=1)
    assert make_course(ends, fault, fired_at=None, victim=None).fault_done is None
    server = replace(fault, kind=KILL_SERVER)
    assert make_course(ends, server, fired_at=None, victim=None).fault_done is None
    assert make_course(ends, server, fired_at=None, victim=None, has_lost_server=True).fault_done == server
    assert make_course(ends).fault_done is None


def test_file_that_is_no_failed_match_is_refused(tmp_path: Path) -> None:
    (tmp_path / "match.json").write_text('{"fault": null}')
    with pytest.raises(ConfigurationError, match="--repeat"):
        read_repeated(tmp_path / "match.json")


def test_recordings_of_a_good_match_are_thrown_away_unless_they_are_to_be_kept(tmp_path: Path) -> None:
    for keep in (False, True):
        ledger = Ledger(make_plan(out=tmp_path, keep=keep), say=print)
        course = make_course(("finished", "finished"))
        folder = course.sides[0].folder = write_run(tmp_path / f"keep-{keep}", match_records())
        ledger.close(course, recordings(), [])
        assert folder.exists() is keep
        assert (ledger.matches, ledger.whole, ledger.problems) == (1, 1, [])
