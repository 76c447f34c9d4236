"""May an environment be rolled back? Tried on real hosts: back in every frame, over random inputs.

Two hosts run the same inputs. One goes back ``distance`` frames in every frame and simulates them again
(:class:`~p2pclient.rollback.sync_test.SyncTestSession`), over the end of an episode too; the other just steps on, so
that what both say is held against a run without any rollback, in a process that shares nothing. Compared are the
checksums of the state after going back and after each step, and what each step gave. The first difference ends it.

That equal checksums mean something is checked as well: other inputs must give other ones.

An environment that cannot go back at all is stepped on in both hosts: that is what lockstep needs.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2pclient.common.differences import Difference, find_differences
from p2pclient.common.errors import EnvHostError, EnvHostGone, EnvHostHung
from p2pclient.common.frames import NULL_FRAME
from p2pclient.common.seeds import derive_seed
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.exchange import gone_reason
from p2pclient.envhost.random_inputs import RandomInputs
from p2pclient.rollback.session import Load, Save, Step
from p2pclient.rollback.sync_test import SyncCommand, SyncTestSession

RESTORED, RESIMULATED, RESULT, RAISED, PROCESS = "restored", "resimulated", "result", "raised", "process"
REPEATED, REMEMBERED = "repeated", "remembered"
"""Kinds of findings: the state after going back, the state after simulating again, what that step gave beside the state
(rewards, ends, infos), an error in it, another process that differs; an episode that is begun once more, and what a
function remembers of earlier ones."""

_RESULT_FIELDS = ("rewards", "terminations", "truncations", "infos", "ended")
"""What a step's result holds behind the checksum."""

_TRIED_INPUTS = 120
"""Frames of other inputs after which checksums must have shown that inputs matter."""

_REPEATED_FRAMES = 120
"""Of the first episode, which is begun once more after all others."""

_MEASURED = 60
"""Frames over which costs are measured."""

Progress = Callable[[int, int], None]
"""``progress(frames done, frames in all)``"""


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """How much is tried."""

    frames: int = 300
    """Frames per seed, each rolled back."""
    distance: int = 7
    """Frames to go back, at least 1."""
    seeds: int = 3
    """Seeds to begin with: 0, 1, 2, ..."""
    seconds: float | None = None
    """Time after which no further frame is begun, shared out among the seeds; None for as long as it takes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing that was not as it must be."""

    kind: str
    """One of the seven kinds above."""
    seed: int
    """Of :class:`CheckPlan`."""
    episode: int
    """The how manieth reset with this seed, from 0."""
    frame: int
    """The frame that was simulated, or to which it went back. -1: the first state of an episode."""
    differences: tuple[Difference, ...] = ()
    """``ours`` as it was at first, ``theirs`` as it came again."""
    error: str = ""
    """What was raised."""
    checksum: bytes = b""
    """Of the state as it was at first, where another process differs."""


@dataclass(slots=True)
class CheckReport:
    """What was done, and what was found."""

    frames: int = 0
    resimulated: int = 0
    """Frames simulated again, all in all."""
    rollbacks: int = 0
    episodes: int = 0
    ends: int = 0
    """Episodes that ended and were rolled back over their end."""
    checksums: set[bytes] = field(default_factory=set)
    """Those of all states that were simulated for the first time."""
    bare_checksums: set[bytes] = field(default_factory=set)
    """The same without what counts time or steps; empty if the hosts were not made for a check."""
    live_frames: int = 0
    """Frames that began before the episode's end."""
    inputs_matter: bool | None = None
    """Did other inputs give another checksum at the same frame. None: not tried, because something else was found."""
    finding: Finding | None = None
    cut_short: bool = False
    """The time was over before all frames had been tried."""
    goes_back: bool = True
    """False: the environment cannot, so that both hosts only stepped on."""

    @property
    def distinct(self) -> int:
        """How many different states there were, not counting time and steps where that is known."""
        return len(self.bare_checksums or self.checksums)

    @property
    def is_vacuous(self) -> bool:
        """True if nothing was found, but nothing could have been: the checksums do not depend on what is done."""
        return self.finding is None and (self.inputs_matter is False or len(self.checksums) < 2)


@dataclass(frozen=True, slots=True)
class PlayCosts:
    """What the host's commands cost in play, in microseconds."""

    step: int
    """With the checksum of the state that it leads to."""
    save: int | None
    load: int | None
    """None: it cannot go back."""


def can_go_back(ready: Mapping[str, Any]) -> bool:
    """Can the environment that told ``ready`` of itself go back to an earlier state."""
    return bool(ready["snapshots"]["chosen"] != "none")


def check_rollback(
    host: BlockingEnvHost,
    other: BlockingEnvHost,
    plan: CheckPlan,
    progress: Progress,
    clock: Callable[[], float] = time.perf_counter,
) -> CheckReport:
    """Run the whole check with two fresh hosts of the same environment and arguments.

    Raises:
        EnvHostError: the environment fails also without rollbacks, or its state cannot be read.
        ConfigurationError: the plan's distance is out of range.
    """
    report = CheckReport(goes_back=can_go_back(host.ready) and can_go_back(other.ready))
    kind = _Episode if report.goes_back else _StraightEpisode
    lines: dict[int, list[bytes]] = {}
    begin = clock()
    for seed in range(plan.seeds):
        left, episode = plan.frames, 0
        until = math.inf if plan.seconds is None else begin + plan.seconds * (seed + 1) / plan.seeds
        while left > 0 and not (episode and clock() > until):
            one = kind(host, other, plan, report, seed, episode, lambda: clock() > until)  # noqa: B023 - used at once
            left -= one.run(left, lambda: progress(report.frames, plan.frames * plan.seeds))
            if report.finding is not None:
                return report
            if episode == 0:
                lines[seed] = one.checksums
            report.episodes += 1
            episode += 1
        report.cut_short |= left > 0
    if report.goes_back:
        report.inputs_matter = any(_other_inputs_show(other, seed, seen) for seed, seen in lines.items())
        frame = _differs_again(other, 0, lines[0])
        if frame is not None:
            report.finding = Finding(REPEATED, 0, report.episodes, frame)
    else:
        report.inputs_matter = any(_unequal_inputs_show(host, other, seed) for seed in lines)
    return report


def measure_costs(host: BlockingEnvHost) -> PlayCosts:
    """Measure what a step, a save and a load cost in the host. Its episode is lost.

    Raises:
        EnvHostError: the environment fails.
    """
    inputs = RandomInputs(host.ready["action_spaces"], random.Random("costs"))
    costs: dict[str, list[int]] = {}
    frame, ended = 0, True
    for _ in range(_MEASURED):
        if ended:
            host.run([["reset", 0]])
            frame = 0
        step: list[Any] = ["step", frame, inputs.next_line()]
        batch = [["save", frame], step, ["load", frame], step, ["drop", frame]] if can_go_back(host.ready) else [step]
        reply = host.run(batch)
        for command, spent in zip(batch, reply.costs_us, strict=True):
            costs.setdefault(command[0], []).append(spent)
        ended = reply.results[batch.index(step)][5]
        frame += 1
    middle = {name: round(statistics.median(spent)) for name, spent in costs.items()}
    return PlayCosts(middle["step"], middle.get("save"), middle.get("load"))


class _Episode:
    """One episode with both hosts."""

    def __init__(
        self,
        host: BlockingEnvHost,
        other: BlockingEnvHost,
        plan: CheckPlan,
        report: CheckReport,
        seed: int,
        episode: int,
        is_over: Callable[[], bool],
    ) -> None:
        self.checksums: list[bytes] = []
        """After each frame, as first simulated."""
        self._host, self._other, self._plan, self._report = host, other, plan, report
        self._seed, self._episode, self._is_over = seed, episode, is_over
        self._session = SyncTestSession(
            host.ready["controls"]["neutral"], distance=plan.distance, window=plan.distance + 1
        )
        self._inputs = RandomInputs(host.ready["action_spaces"], random.Random(f"{seed} {episode}"))
        self._states: dict[int, Any] = {}
        """Portable state at the beginning of a frame, as first seen."""
        self._results: dict[int, list[Any]] = {}
        self._start = b""
        self._last_frame: int | None = None
        """Of the episode, once it is known."""
        self._went_back_to = NULL_FRAME
        self._went_over_end = False
        self._line = self._inputs.next_line()
        """Inputs of the frame that comes next."""

    def run(self, most: int, tell: Callable[[], None]) -> int:
        """Play ``most`` frames, fewer if the episode ends or the time is over before; return how many.

        Raises:
            EnvHostHung: a call does not return; says in which episode.
        """
        try:
            return self._play(most, tell)
        except EnvHostHung as error:
            where = f"in episode {self._episode + 1} with seed {self._seed}"
            raise error.within(f"{where}, {gone_reason(self._host.spec.env, error)}") from error

    def _play(self, most: int, tell: Callable[[], None]) -> int:
        self._begin()
        while self._report.finding is None and self._done < most and not self._is_past_end:
            if self._done > self._plan.distance and self._is_over():
                break
            self._run_frame()
            tell()
        self._report.ends += self._went_over_end
        return self._done

    @property
    def _done(self) -> int:
        return self._session.current_frame

    @property
    def _is_past_end(self) -> bool:
        """True once it has gone back over the end from every frame from which it can."""
        return self._last_frame is not None and self._went_back_to > self._last_frame

    def _begin(self) -> None:
        seed = derive_seed(self._seed, "episode", self._episode) if self._episode else self._seed
        self._start, state = self._host.run([["reset", seed], ["get_state"]]).results
        self._states[0] = state["data"]
        there = self._other.run([["reset", seed], ["get_state_unless", self._start]]).results[1]
        if there is not None:
            self._find(PROCESS, -1, state["data"], there["data"])
        else:
            self._try_first_frame()

    def _try_first_frame(self) -> None:
        """Step frame 0 and go back to the first state, which the session, always ``distance`` behind, never does."""
        batch: list[list[Any]] = [
            ["save", 0],
            ["step", 0, self._line],
            ["get_state"],
            ["load", 0],
            ["get_state_unless", self._start],
        ]
        done = self._run([Save(0), Step(0, tuple(self._line), (), again=False), Load(0)], [1, 2, 2], batch)
        if done is not None:
            self._report.rollbacks += 1
            self._report.resimulated += 1
            self._keep_first(0, done[1], done[2]["data"])
            self._went_over_end = bool(done[1][5])
            if done[4] is not None:
                self._find(RESTORED, 0, self._states[0], done[4]["data"])

    def _run_frame(self) -> None:
        session, report = self._session, self._report
        frame = session.current_frame
        commands = session.advance(self._line)
        results = self._run(commands, [2] * len(commands), self._translate(commands))
        if results is None:
            return
        for command, result, beside in zip(commands, results[::2], results[1::2], strict=True):
            if report.finding is None:
                self._judge(command, result, beside)
        report.frames += 1
        if isinstance(commands[0], Load):
            report.rollbacks += 1
            self._went_back_to = commands[0].frame
            self._went_over_end |= self._last_frame is not None and self._went_back_to <= self._last_frame < frame
        report.resimulated += sum(isinstance(command, Step) and command.again for command in commands)
        if report.finding is None:
            self._compare_with_other(frame)
        for old in [kept for kept in self._states if kept < session.oldest_needed]:
            del self._states[old]
            self._results.pop(old, None)
        self._line = self._inputs.next_line()

    def _run(
        self, commands: Sequence[SyncCommand], sizes: Sequence[int], batch: Sequence[Sequence[Any]]
    ) -> list[Any] | None:
        """Run a batch that has ``sizes`` commands of the host for each of ``commands``.

        Returns:
            The results; None if what was possible once failed the next time, which is a finding.

        Raises:
            EnvHostError: the environment fails by itself.
        """
        try:
            return self._host.run(batch).results
        except EnvHostGone:
            raise
        except EnvHostError as error:
            which = [command for command, size in zip(commands, sizes, strict=True) for _ in range(size)]
            command = which[error.index or 0]
            reason = str(error).partition(" failed: ")[2]
            if isinstance(command, Load) or (isinstance(command, Step) and command.frame in self._results):
                self._report.finding = Finding(RAISED, self._seed, self._episode, command.frame, error=reason)
                return None
            where = f"frame {command.frame} of episode {self._episode + 1} with seed {self._seed}"
            raise EnvHostError(f"{where} fails without being rolled back: {reason}") from error

    def _translate(self, commands: Sequence[SyncCommand]) -> list[list[Any]]:
        """Return the host's batch, two commands for each of ours: itself, and a look at the state where one is due."""
        batch: list[list[Any]] = []
        for command in commands:
            if isinstance(command, Step):
                again = command.frame in self._results
                look = ["get_state_unless", self.checksums[command.frame]] if again else ["get_state"]
                batch += [["step", command.frame, list(command.inputs)], look]
            elif isinstance(command, Load):
                batch += [["load", command.frame], ["get_state_unless", self._checksum_before(command.frame)]]
            else:
                batch += [["save", command.frame], ["drop", self._session.oldest_needed]]
        return batch

    def _checksum_before(self, frame: int) -> bytes:
        return self.checksums[frame - 1] if frame else self._start

    def _judge(self, command: SyncCommand, result: Any, beside: Any) -> None:
        if isinstance(command, Load) and beside is not None:
            self._find(RESTORED, command.frame, self._states[command.frame], beside["data"])
        elif isinstance(command, Step):
            self._session.receive_checksum(command.frame, result[0])
            if command.frame not in self._results:
                self._keep_first(command.frame, result, beside["data"])
            elif beside is not None:
                self._find(RESIMULATED, command.frame, self._states[command.frame + 1], beside["data"])
            else:
                self._compare_results(RESULT, command.frame, result)

    def _keep_first(self, frame: int, result: list[Any], state: Any) -> None:
        self.checksums.append(result[0])
        self._report.checksums.add(result[0])
        self._report.live_frames += self._last_frame is None
        self._states[frame + 1], self._results[frame] = state, result
        if result[5] and self._last_frame is None:
            self._last_frame = frame

    def _compare_results(self, kind: str, frame: int, result: list[Any]) -> None:
        ours, theirs = (dict(zip(_RESULT_FIELDS, found[1:6], strict=True)) for found in (self._results[frame], result))
        if find_differences(ours, theirs, limit=1):
            self._find(kind, frame, ours, theirs)

    def _compare_with_other(self, frame: int) -> None:
        batch: list[list[Any]] = [["step", frame, self._line], ["get_state_unless", self.checksums[frame]]]
        bare: list[list[Any]] = [["compute_bare_hash"]] if self._other.spec.thorough else []
        result, there, *more = self._other.run(batch + bare).results
        self._report.bare_checksums.update(more)
        if there is not None:
            self._find(PROCESS, frame, self._states[frame + 1], there["data"])
        else:
            self._compare_results(PROCESS, frame, result)

    def _find(self, kind: str, frame: int, ours: Any, theirs: Any) -> None:
        differences = tuple(find_differences(ours, theirs))
        checksum = (self.checksums[frame] if frame >= 0 else self._start) if kind == PROCESS else b""
        self._report.finding = Finding(kind, self._seed, self._episode, frame, differences, checksum=checksum)


class _StraightEpisode(_Episode):
    """One episode in which neither host goes back."""

    @property
    def _done(self) -> int:
        return len(self.checksums)

    @property
    def _is_past_end(self) -> bool:
        return self._last_frame is not None

    def _try_first_frame(self) -> None:
        pass

    def _run_frame(self) -> None:
        frame = self._done
        command = Step(frame, tuple(self._line), (), again=False)
        done = self._run([command], [2], [["step", frame, self._line], ["get_state"]])
        assert done is not None
        self._keep_first(frame, done[0], done[1]["data"])
        self._report.frames += 1
        self._compare_with_other(frame)
        del self._states[frame], self._results[frame]
        self._line = self._inputs.next_line()


def _unequal_inputs_show(host: BlockingEnvHost, other: BlockingEnvHost, seed: int) -> bool:
    """True if two hosts with the same history come to other checksums when their inputs differ."""
    hosts = {"one": host, "two": other}
    inputs = {
        name: RandomInputs(one.ready["action_spaces"], random.Random(f"{seed} {name}")) for name, one in hosts.items()
    }
    for one in hosts.values():
        one.run([["reset", seed]])
    for frame in range(_TRIED_INPUTS):
        found = {one.run([["step", frame, inputs[name].next_line()]]).results[0][0] for name, one in hosts.items()}
        if len(found) > 1:
            return True
    return False


def _differs_again(host: BlockingEnvHost, seed: int, seen: Sequence[bytes]) -> int | None:
    """Return the frame at which the first episode of a seed differs from ``seen`` when it is begun once more, after
    others in the same process; None if it comes out the same."""
    inputs = RandomInputs(host.ready["action_spaces"], random.Random(f"{seed} 0"))
    host.run([["reset", seed]])
    for frame, checksum in enumerate(seen[:_REPEATED_FRAMES]):
        if host.run([["step", frame, inputs.next_line()]]).results[0][0] != checksum:
            return frame
    return None


def _other_inputs_show(host: BlockingEnvHost, seed: int, seen: Sequence[bytes]) -> bool:
    """True if other inputs than those of ``seen`` give another checksum after one of the same frames."""
    inputs = RandomInputs(host.ready["action_spaces"], random.Random(f"{seed} other"))
    host.run([["reset", seed]])
    for frame, checksum in enumerate(seen[:_TRIED_INPUTS]):
        if host.run([["step", frame, inputs.next_line()]]).results[0][0] != checksum:
            return True
    return False
