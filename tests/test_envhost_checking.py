"""Rolling real hosts back in every frame: good environments pass, and each kind of fault is found and named."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from envs.contract import no_progress
from envs.counter import make as make_counter
from envs.registry import describe
from envs.simulation import Simulation
from p2pclient.common.errors import EnvHostError, EnvHostGone
from p2pclient.common.spaces import decode_action
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.checking import CheckPlan, CheckReport, check_rollback
from p2pclient.envhost.examining import examine
from p2pclient.envhost.exchange import BatchReply
from p2pclient.envhost.host_batch import BatchRunner
from p2pclient.envhost.process import HostSpec
from p2pclient.envhost.random_inputs import RandomInputs
from p2pclient.envhost.values import decode

COUNTER, LEAKY, KITCHEN = "test:counter_v0", "test:leaky_v0", "cogrid:Overcooked-CrampedRoom-V0"


def check(
    env: str, args: dict[str, Any], plan: CheckPlan, progress: Callable[[int, int], None] = lambda done, total: None
) -> CheckReport:
    spec = HostSpec(env, args)
    with BlockingEnvHost(spec) as host, BlockingEnvHost(spec) as other:
        return check_rollback(host, other, plan, progress)


def test_a_deterministic_environment_passes_and_was_really_rolled_back() -> None:
    told: list[tuple[int, int]] = []
    report = check(COUNTER, {}, CheckPlan(frames=40, distance=5, seeds=2), lambda *done: told.append(done))
    assert report.finding is None
    assert report.inputs_matter
    assert not report.is_vacuous
    # Frames 6 to 39 go back by 5 each; frame 0 is gone back over by itself.
    assert (report.frames, report.rollbacks, report.resimulated) == (80, 2 * 35, 2 * (34 * 5 + 1))
    assert len(report.checksums) == 80
    assert (report.episodes, report.ends) == (2, 0)
    assert told[0] == (1, 80)
    assert told[-1] == (80, 80)


def test_the_end_of_an_episode_is_rolled_back_over_and_another_begins() -> None:
    report = check(COUNTER, {"max_steps": 12}, CheckPlan(frames=50, distance=4, seeds=1))
    assert report.finding is None
    # 12 frames, then back over the last from 4 frames on: 17 each in two episodes, and 16 in a third.
    assert (report.frames, report.episodes, report.ends) == (50, 3, 3)
    assert len(report.checksums) == 3 * 12


def test_a_kitchen_is_rolled_back_over_its_end() -> None:
    report = check(KITCHEN, {"max_steps": 12}, CheckPlan(frames=20, distance=4, seeds=1))
    assert report.finding is None
    assert report.inputs_matter
    assert (report.episodes, report.ends) == (2, 1)
    assert len(report.checksums) > 12


@pytest.mark.parametrize("max_steps", [1, 3])
def test_an_episode_shorter_than_the_distance_is_rolled_back_over_its_end_too(max_steps: int) -> None:
    report = check(COUNTER, {"max_steps": max_steps}, CheckPlan(frames=40, distance=7, seeds=1))
    assert report.finding is None
    assert report.ends >= report.episodes - 1 > 2
    assert report.rollbacks > report.episodes


FROM = 9


@pytest.mark.parametrize(
    ("leak", "kind", "field"),
    [
        ("random", "resimulated", "environment.treasure"),
        ("restore", "restored", "environment.traces[0]"),
        ("info", "result", "infos[0].steps_ever"),
        ("process", "process", "environment.traces[0]"),
    ],
)
def test_a_fault_is_found_at_its_first_frame_with_the_field_and_both_values(leak: str, kind: str, field: str) -> None:
    args = {"leak": leak, "from_frame": FROM, "max_steps": 100}
    finding = check(LEAKY, args, CheckPlan(frames=60, distance=3, seeds=1)).finding
    assert finding is not None
    assert (finding.kind, finding.seed, finding.episode) == (kind, 0, 0)
    # Where a generator draws the same number again, nothing differs yet.
    assert FROM <= finding.frame <= FROM + (3 if leak == "random" else 0)
    first = finding.differences[0]
    assert first.path == field
    assert first.ours != first.theirs
    assert type(first.ours) is type(first.theirs) is int


def test_a_frame_that_can_be_simulated_only_once_is_a_finding_with_its_error() -> None:
    for from_frame in (0, FROM):
        args = {"leak": "crash", "from_frame": from_frame}
        finding = check(LEAKY, args, CheckPlan(frames=60, distance=3, seeds=1)).finding
        assert finding is not None
        assert (finding.kind, finding.frame) == ("raised", from_frame)
        assert finding.error == f"RuntimeError: frame {from_frame} cannot be simulated twice"
        assert finding.differences == ()


@pytest.mark.parametrize("leak", ["random", "info", "process"])
def test_a_fault_in_the_very_first_frame_is_found_there(leak: str) -> None:
    finding = check(LEAKY, {"leak": leak}, CheckPlan(frames=60, distance=7, seeds=1)).finding
    assert finding is not None
    assert finding.frame == 0


def test_a_first_state_that_is_not_restored_is_found() -> None:
    report = check(LEAKY, {"leak": "restore"}, CheckPlan(frames=60, distance=30, seeds=5))
    assert report.finding is not None
    assert (report.finding.kind, report.finding.frame) == ("restored", 0)


def test_a_check_that_could_not_have_found_anything_says_so() -> None:
    report = check(LEAKY, {"leak": "inputs"}, CheckPlan(frames=20, distance=2, seeds=2))
    assert report.finding is None
    assert len(report.checksums) == 40
    assert report.inputs_matter is False
    assert report.is_vacuous
    assert CheckReport(checksums={b"same"}, inputs_matter=True).is_vacuous


def test_an_environment_that_fails_without_rollbacks_cannot_be_checked() -> None:
    for frame in (0, 5):
        with pytest.raises(
            EnvHostError, match=f"^frame {frame} of episode 1 .* without being rolled back: RuntimeError"
        ):
            check(COUNTER, {"fail_at_frame": frame}, CheckPlan(frames=20, distance=2, seeds=1))


def test_a_host_that_is_gone_cannot_be_checked() -> None:
    spec = HostSpec(COUNTER, {"max_steps": 50})
    with BlockingEnvHost(spec) as host, BlockingEnvHost(spec) as other:

        def kill(done: int, total: int) -> None:
            if done == 10:
                host.close()

        with pytest.raises(EnvHostGone, match="closed"):
            check_rollback(host, other, CheckPlan(frames=20, distance=2, seeds=1), kill)


def test_a_slow_environment_is_checked_as_far_as_the_time_goes() -> None:
    ticks = itertools.count()
    spec = HostSpec(COUNTER, {"max_steps": 1000})
    plan = CheckPlan(frames=200, distance=2, seeds=2, seconds=60.0)
    with BlockingEnvHost(spec) as host, BlockingEnvHost(spec) as other:
        report = check_rollback(host, other, plan, lambda done, total: None, clock=lambda: float(next(ticks)))
        whole = check_rollback(host, other, CheckPlan(frames=20, distance=2, seeds=2), lambda done, total: None)
    assert report.cut_short
    assert not whole.cut_short
    assert 40 < report.frames < 100
    assert (report.episodes, whole.frames) == (2, 40)
    assert report.inputs_matter


class Forgetful(Simulation):
    """A second episode with the same seed goes on as another one, once: something outlives the first."""

    def __init__(self, forgets: int | None) -> None:
        super().__init__(make_counter("test:counter_v0", {"max_steps": 30}, no_progress))
        self._resets, self._forgets = 0, forgets

    def reset(self, seed: int) -> bytes:
        self._resets += 1
        return super().reset(seed + 1 if self._resets == self._forgets else seed)


class HostHere:
    """A host without a process."""

    spec = HostSpec(COUNTER)

    def __init__(self, forgets: int | None = None) -> None:
        self.ready = describe(make_counter("test:counter_v0", {"max_steps": 30}, no_progress), COUNTER)
        self._runner = BatchRunner(Forgetful(forgets))

    def run(self, commands: Any, deadline: float | None = None) -> BatchReply:
        reply = decode(self._runner.run(1, commands))
        assert reply[1] == "result", reply
        return BatchReply(reply[2], reply[3], 0)


@pytest.mark.parametrize(("forgets", "kind"), [(None, None), (3, None), (4, "repeated")])
def test_an_episode_that_is_begun_once_more_must_come_out_the_same(forgets: int | None, kind: str | None) -> None:
    # Two episodes are played, a third with other inputs, and then the first once more.
    one, other = HostHere(), HostHere(forgets)
    plan = CheckPlan(frames=60, distance=3, seeds=1)
    report = check_rollback(one, other, plan, lambda done, total: None)  # type: ignore[arg-type]
    assert report.episodes == 2
    assert report.inputs_matter
    assert (report.finding.kind if report.finding is not None else None) == kind
    assert report.finding is None or report.finding.frame == 0


def test_hosts_of_a_check_tell_states_apart_without_their_counters() -> None:
    plan = CheckPlan(frames=30, distance=2, seeds=1)
    quick, thorough = HostSpec(COUNTER), HostSpec(COUNTER, thorough=True)
    with BlockingEnvHost(quick) as host, BlockingEnvHost(thorough) as other:
        report = check_rollback(host, other, plan, lambda done, total: None)
        with pytest.raises(EnvHostError, match="no command 'examine'"):
            host.run([["examine"]])
        seen = examine(other)
    assert len(report.bare_checksums) == report.distinct == 30
    assert report.live_frames == 30
    assert (seen.coverage, seen.failed, seen.missed) == (1.0, "", [])
    assert CheckReport(checksums={b"a", b"b"}).distinct == 2


def test_what_cannot_be_examined_is_said_and_ends_nothing() -> None:
    with BlockingEnvHost(HostSpec(COUNTER)) as host:
        seen = examine(host)
    assert seen.coverage is None
    assert "examine" in seen.failed


def test_random_inputs_are_of_their_spaces_and_are_held_for_a_while() -> None:
    spaces: list[dict[str, Any]] = [
        {"kind": "discrete", "n": 5, "start": -2},
        {"kind": "multi_discrete", "nvec": [3, 300]},
        {"kind": "multi_binary", "n": 9},
        {"kind": "box", "dtype": "<f4", "shape": [2], "low": [-1.0, None], "high": [1.0, None]},
        {"kind": "dict", "spaces": {"word": {"kind": "text", "max": 3, "charset": "abc"}}},
    ]
    inputs = RandomInputs(spaces, random.Random(1))
    lines = [inputs.next_line() for _ in range(2000)]
    for seat, space in enumerate(spaces):
        values = [decode_action(space, line[seat]) for line in lines]
        kept = sum(a == b for a, b in itertools.pairwise(values)) / len(values)
        assert 0.5 < kept < 0.8
    assert {decode_action(spaces[0], line[0]) for line in lines} == {-2, -1, 0, 1, 2}
    assert any(a[0] == b[0] and a[1] != b[1] for a, b in itertools.pairwise(lines))
