"""A straight run of the recorded inputs in a fresh host: proof that the recording is what the environment does.

Two sides that agree could both be wrong; a run without network, prediction and rollback cannot share their mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from p2pclient.common.errors import EnvHostError, EnvHostGone, RecordingError
from p2pclient.common.frames import unpack_seat_input
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.process import HostSpec
from p2pclient.recorder.reading import EpisodeSummary, RunReader
from p2pclient.recorder.records import FrameRecorded
from p2pclient.recorder.verify import is_same

BATCH_FRAMES = 32
"""Steps in one batch: few enough for a progress bar and a deadline, many enough that the pipe costs nothing."""

Command = list[Any]
_COMPARED = (("reward", 1), ("terminated", 2), ("truncated", 3), ("info", 4))
"""Name of a field and its place in a step's result."""


@dataclass(frozen=True, slots=True)
class ReplayVerdict:
    """What a straight run found."""

    is_same: bool
    message: str
    frames: int
    """Frames that came out as recorded, from the first on."""
    recorded: int
    """Frames in the recording, verified or not."""
    totals: tuple[tuple[float, ...], ...]
    """Sums of the replayed rewards, by episode and seat."""
    episode: int | None = None
    """Where the first difference is; None if there is none. Likewise the next two."""
    frame: int | None = None
    field: str | None = None


def _steps(run: RunReader) -> Iterator[EpisodeSummary | FrameRecorded]:
    """Yield each episode's head, then its frames: one command and one result for each."""
    frames = run.frames()
    for episode in run.episodes:
        yield episode
        yield from islice(frames, episode.recorded)


def replay_commands(run: RunReader) -> Iterator[list[Command]]:
    """Yield the batches that a fresh host is to run, in order: every episode from its seed, every recorded frame."""
    batch: list[Command] = []
    for step in _steps(run):
        if isinstance(step, FrameRecorded):
            payloads = [unpack_seat_input(value)[0] for value in step.inputs]
            batch.append(["step", step.frame, payloads, step.observations is not None])
        else:
            batch.append(["reset", step.seed])
        if len(batch) >= BATCH_FRAMES:
            yield batch
            batch = []
    if batch:
        yield batch


class _Check:
    """Compares the results of a straight run with the recording, one after the other."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._seats = len(run.agents)
        self._same = 0
        self._totals: list[list[float]] = []
        self._episode: EpisodeSummary | None = None
        self._difference: tuple[int, int | None, str] | None = None

    def take(self, step: EpisodeSummary | FrameRecorded, result: Any) -> bool:
        """Compare one result; return False at the first difference, after which nothing means anything."""
        if isinstance(step, FrameRecorded):
            field = self._compare_frame(step, result)
            if field is not None:
                return self._differ(step.episode, step.frame, field)
            self._same += 1
            return True
        if not self._check_totals():
            return False
        self._episode = step
        self._totals.append([0.0] * self._seats)
        return result == step.first_checksum or self._differ(step.episode, None, "first_checksum")

    def _differ(self, episode: int, frame: int | None, field: str) -> bool:
        self._difference = (episode, frame, field)
        return False

    def _compare_frame(self, record: FrameRecorded, result: Any) -> str | None:
        if result[0] != record.checksum:
            return "checksum"
        values = (record.rewards, record.terminations, record.truncations, record.infos)
        for (field, place), recorded in zip(_COMPARED, values, strict=True):
            if not is_same(tuple(result[place]), recorded):
                return field
        if record.observations is not None and not is_same(tuple(result[6] or ()), record.observations):
            return "observation"
        for seat, reward in enumerate(record.rewards):
            if reward is not None:
                self._totals[-1][seat] += float(reward)
        return None

    def _check_totals(self) -> bool:
        """Compare the totals of the episode replayed last, if the recording has its end and all of its frames."""
        episode = self._episode
        if episode is None or episode.end is None or episode.recorded != episode.end.last_frame + 1:
            return True
        return list(episode.end.totals) == self._totals[-1] or self._differ(episode.episode, None, "totals")

    def verdict(self) -> ReplayVerdict:
        """Return what was found once every result was taken, or the first difference."""
        if self._difference is None and self._same == self._run.recorded:
            self._check_totals()
        totals = tuple(map(tuple, self._totals))
        if self._difference is None and self._same == self._run.recorded:
            return ReplayVerdict(True, f"same: {self._same} frames", self._same, self._same, totals)
        episode, frame, field = self._difference or (None, None, "frames")
        where = "the end" if episode is None else f"episode {episode}" + ("" if frame is None else f", frame {frame}")
        message = f"the recording differs from a straight run of its inputs at {where}: {field}"
        return ReplayVerdict(False, message, self._same, self._run.recorded, totals, episode, frame, field)


def check_replay(results: Iterable[Any], run: RunReader) -> ReplayVerdict:
    """Compare the results of :func:`replay_commands` with what ``run`` holds.

    Compared are checksums, rewards, terminations, truncations, infos and recorded observations, and the totals.

    Args:
        results: one per command, in order; taken as needed, and no further than the first difference.
    """
    check = _Check(run)
    results = iter(results)
    for step in _steps(run):
        try:
            result = next(results)
        except StopIteration:
            break
        if not check.take(step, result):
            break
    return check.verdict()


def replay_run(
    folder: Path, *, progress: Callable[[float], None] | None = None, host_options: Mapping[str, Any] | None = None
) -> ReplayVerdict:
    """Run the recorded inputs of the run in ``folder`` in a fresh host. Waits; not for an event loop.

    The host should be like that of the recording: the manifest says which Python and NumPy it had. Under others the
    same may come out; if not, the message says that they are others.

    Args:
        host_options: further fields of the host's ``HostSpec``, such as ``python`` and the step hook that the run had.
        progress: called with the share of frames done, 0..1.

    Raises:
        RecordingError: the run cannot be read, or does not say which environment it is of.
        EnvHostError: the environment cannot be loaded here, or failed.
    """
    run = RunReader(folder)
    env = run.manifest["env"]
    name, args = env.get("env"), env.get("args")
    if not isinstance(name, str) or not isinstance(args, dict):
        raise RecordingError(f"the manifest in {folder} does not name the environment; restore it from a copy")
    spec = HostSpec(env=name, args=args, **(host_options or {}))
    recorded = _machine(env)
    try:
        host = BlockingEnvHost(spec)
    except EnvHostGone as error:
        where = f"; it was recorded under {recorded}" if recorded else ""
        raise EnvHostGone(f"{error}{where}", traceback=error.traceback) from error
    with host:
        if host.ready["step_hook"] != env.get("step_hook"):
            raise EnvHostError(
                f"the run was recorded with step hook {env.get('step_hook')}, here it is {host.ready['step_hook']}"
            )
        if len(host.ready["agents"]) != len(run.agents):
            raise EnvHostError(
                f"{name} has {len(host.ready['agents'])} agents here, {len(run.agents)} in the recording"
            )
        verdict = check_replay(_results(host, run, progress or (lambda share: None)), run)
    here = _machine(host.ready)
    if verdict.is_same or recorded in ("", here):
        return verdict
    advice = f"it was recorded under {recorded} and replayed under {here}: replay it under what it was recorded with"
    return replace(verdict, message=f"{verdict.message}; {advice}")


def _machine(ready: Mapping[str, Any]) -> str:
    """Return under what a host ran, as it said itself; empty if the manifest does not say."""
    machine = ready.get("machine")
    if not isinstance(machine, Mapping):
        return ""
    return f"Python {machine.get('python')} with NumPy {machine.get('numpy')}"


def _results(host: BlockingEnvHost, run: RunReader, progress: Callable[[float], None]) -> Iterator[Any]:
    done, total = 0, max(1, run.recorded + len(run.episodes))
    for batch in replay_commands(run):
        results = host.run(batch).results
        done += len(batch)
        progress(done / total)
        yield from results
