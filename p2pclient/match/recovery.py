"""How a match outlives its environment's host: when that dies, hangs or raises, another one takes its place.

1. The match stands still and tells the others why; datagrams, keep-alives and inputs that come are handled as ever.
2. A host is brought to the first frame that is not recorded: by the confirmed inputs since the newest snapshot of the
   same host, since the newest portable state, or since the episode's beginning, in this order as far as there is such.
   In batches of about a quarter of a second, so that a deadline means something and progress can be told.
3. After every frame the checksum must be the recorded one. A host that comes to anything else is not played on with.
4. Play begins again with confirmed inputs only: what failed may have come from a wrong guess, and would again.

A lost reset is repeated. After :data:`MOST` failures within a minute, or at one frame, the match ends as it would have
at the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from p2pclient.common.errors import ConfigurationError
from p2pclient.common.frames import NULL_FRAME
from p2pclient.match.core import MatchCore
from p2pclient.match.episode import EpisodePlay, EvidenceBatch, PlayBatch
from p2pclient.match.plan import MatchPlan
from p2pclient.match.reset import ResetBatch, begin_episode
from p2pclient.protocol.control import Recovered, Recovering

LONGEST = 60.0
"""Seconds after which a recovery ends the match, whatever is still under way. Others wait longer for whom they hear."""
MOST = 3
"""Failures within :data:`SPAN`, or at one frame, that are survived."""
SPAN = 60.0
"""Seconds."""
KEEP_EVERY = 1.0
"""Seconds of play between two portable states that are kept. With CoGrid one costs the host 20 us."""
_TELL_EVERY = 1.0
"""Seconds between two words to the others about how far it is."""
_BATCH_SECONDS = 0.25
"""What a batch should take; it ends earlier than its deadline by a wide margin then."""
_FIRST_STEPS, _MOST_STEPS = 16, 1024
"""Steps of the first batch, of which nobody knows yet what they cost here, and of all others at most."""


class Way(Enum):
    """Where a recovery begins."""

    SNAPSHOT = "snapshot"
    """The same host goes back to its oldest snapshot: for an environment that raised for the first time in a while."""
    STATE = "state"
    """A new host takes over the kept portable state."""
    SEED = "seed"
    """A new host begins the episode anew."""


@dataclass(slots=True)
class RecoveryBatch:
    """Commands that bring a host nearer to where play goes on."""

    commands: list[list[Any]]
    checks: dict[int, int] = field(default_factory=dict)
    """The frame after which each result must tell the recorded checksum, by index."""
    steps: list[int] = field(default_factory=list)
    """Index of each step."""
    at: int = 0
    """The frame at whose beginning the host stands afterwards."""


@dataclass(slots=True)
class _Case:
    """One recovery."""

    began: float
    cause: str
    reset: ResetBatch | None
    """What is repeated, if nothing was played in the episode yet."""
    way: Way
    first: int = 0
    """The frame from which on is simulated again."""
    at: int = 0
    target: int = 0
    """Where play goes on."""
    saves: tuple[int, ...] = ()
    """Frames of which play needs a snapshot."""
    steps: int = _FIRST_STEPS
    """How many go into the next batch."""
    told_at: float = float("-inf")


class RecoveryCourse:
    """Sees the recoveries of one match through."""

    def __init__(self, core: MatchCore) -> None:
        self._core = core
        self._case: _Case | None = None
        self._failures: list[tuple[float, tuple[int, int]]] = []
        """When, and in which episode behind which recorded frame."""
        self._careful: tuple[int, int] = (NULL_FRAME, 0)
        """The episode in which nothing is assumed, and the frame before which."""
        self._kept_at = float("-inf")

    @property
    def is_open(self) -> bool:
        """Is the host not to be had for anything else."""
        return self._case is not None

    @property
    def progress(self) -> float | None:
        """Share of the frames to simulate again that is done; None while no recovery is under way."""
        case = self._case
        return None if case is None else (case.at - case.first) / max(1, case.target - case.first)

    # -- in play ------------------------------------------------------------------------------------------------

    def ask(self, batch: PlayBatch, now: float) -> None:
        """Append to a batch of play what fetches a portable state, if it is time for one."""
        core, episode = self._core, self._core.episode
        if episode is None or now - self._kept_at < KEEP_EVERY or not (core.plan.is_portable and core.plan.goes_back):
            return
        # Of what all have verified: that is never withdrawn.
        fit = [frame for frame in episode.session.snapshots if 0 < frame <= episode.chain.verified_frame + 1]
        if fit:
            self._kept_at = now
            batch.kept = len(batch.commands)
            batch.commands.append(["get_snapshot", fit[-1]])

    def window(self, episode: EpisodePlay, usual: int) -> int:
        """Return the prediction window: none until after a recovery all frames have run again that had run before."""
        number, until = self._careful
        return 0 if episode.number == number and episode.session.current_frame < until else usual

    # -- the host is lost ---------------------------------------------------------------------------------------

    def begin(self, batch: object, cause: str, *, is_gone: bool, now: float) -> RecoveryBatch | None:
        """The host did not do ``batch``; returns what it is to do instead, if it is still there.

        Otherwise ``Outbox.wants_host`` asks for another one, or the match has ended.
        """
        core, before = self._core, self._case
        if core.ended is not None:
            return None
        position = core.number, core.episode.recorded if core.episode is not None else NULL_FRAME
        if not _can_be_repeated(batch) or self._has_failed_often(position, now):
            core.end("environment", f"The environment failed: {cause}", leave="error", now=now)
            return None
        is_first = not self._failures
        self._failures.append((now, position))
        core.note("environment-lost", {"cause": cause, "gone": is_gone})
        case = self._case = _Case(
            began=before.began if before is not None else now,
            cause=before.cause if before is not None else cause,
            reset=batch if isinstance(batch, ResetBatch) else None,
            way=self._choose(batch, before, is_trusted=is_first and not is_gone),
        )
        self._tell(case, now)
        if case.way is Way.SNAPSHOT:
            return self._first_batch(case)
        core.out.wants_host = True
        return None

    def _has_failed_often(self, position: tuple[int, int], now: float) -> bool:
        self._failures = [each for each in self._failures if now - each[0] < SPAN or each[1] == position]
        return len(self._failures) >= MOST

    def _choose(self, batch: object, before: _Case | None, *, is_trusted: bool) -> Way:
        """Say where to begin. An environment that raises a second time may be broken inside: then in a new process."""
        core, episode = self._core, self._core.episode
        if isinstance(batch, ResetBatch) or episode is None:
            return Way.SEED
        if is_trusted and core.plan.goes_back and episode.session.snapshots:
            return Way.SNAPSHOT
        has_failed = before is not None and before.way is Way.STATE
        return Way.SEED if has_failed or episode.journal.state is None else Way.STATE

    def take_host(self, ready: Mapping[str, Any], now: float) -> ResetBatch | RecoveryBatch | None:
        """Another host is there, and says this of itself; returns the first that it is to do."""
        core, case = self._core, self._case
        if case is None or core.ended is not None:
            return None
        if not is_same_environment(core.plan, ready):
            text = f"The environment failed, and is not the same when it is started again: {case.cause}"
            core.end("environment", text, leave="error", now=now)
            return None
        return case.reset if case.reset is not None else self._first_batch(case)

    # -- bringing it there --------------------------------------------------------------------------------------

    def _first_batch(self, case: _Case) -> RecoveryBatch:
        episode, plan = self._core.episode, self._core.plan
        assert episode is not None
        case.target = episode.recorded + 1
        case.saves = tuple(sorted({episode.chain.verified_frame + 1, case.target}))
        batch = RecoveryBatch([])
        if case.way is Way.SNAPSHOT:
            case.first = episode.session.snapshots[0]
            batch.commands += [["load", case.first], ["compute_hash"]]
            batch.checks[1] = case.first - 1
        else:
            batch.commands += begin_episode(plan, episode.number)
            batch.checks[0] = NULL_FRAME
            state = episode.journal.state if case.way is Way.STATE else None
            case.first = 0 if state is None else int(state["frame"])
            if state is not None:
                batch.checks[len(batch.commands)] = case.first - 1
                batch.commands.append(["set_state", state])
        case.at = case.first
        return self._add_steps(case, batch, episode)

    def _add_steps(self, case: _Case, batch: RecoveryBatch, episode: EpisodePlay) -> RecoveryBatch:
        for frame in range(case.at, min(case.at + case.steps, case.target) + 1):
            if frame > case.at:
                batch.steps.append(len(batch.commands))
                batch.checks[len(batch.commands)] = frame - 1
                batch.commands.append(["step", frame - 1, episode.journal.payloads(frame - 1)])
            if frame in case.saves and (frame > case.at or frame == case.first):
                batch.commands.append(["save", frame])
            batch.at = frame
        return batch

    def take_results(
        self, batch: RecoveryBatch, results: Sequence[Any], costs_us: Sequence[int], now: float
    ) -> RecoveryBatch | None:
        """Take in what the host did; returns what it is to do next. None if it is done, or another host is needed."""
        core, case, episode = self._core, self._case, self._core.episode
        if case is None or core.ended is not None:
            return None
        assert episode is not None
        for index, frame in batch.checks.items():
            result = results[index]
            ours, expected = bytes(result[0] if isinstance(result, list) else result), episode.journal.checksum(frame)
            if ours != expected:
                core.note("recovery-differs", {"after": frame, "ours": ours.hex(), "recorded": expected.hex()})
                return self._differ(batch, case, frame, now)
        case.at = batch.at
        if costs_us and batch.steps:
            mean = sum(costs_us[index] for index in batch.steps) / len(batch.steps) / 1e6
            case.steps = max(1, min(int(_BATCH_SECONDS / max(mean, 1e-6)), _MOST_STEPS))
        if case.at < case.target:
            return self._add_steps(case, RecoveryBatch([]), episode)
        number, until = self._careful
        ran = episode.session.current_frame
        self._careful = episode.number, max(ran, until) if number == episode.number else ran
        episode.session.restart(case.saves)
        self.close(now)
        return None

    def _differ(self, batch: RecoveryBatch, case: _Case, frame: int, now: float) -> RecoveryBatch | None:
        cause = f"started again, it came to another state after frame {frame}"
        if case.way is Way.SEED:
            core = self._core
            core.end("environment", f"The environment failed: {case.cause}; {cause}", leave="error", now=now)
            return None
        return self.begin(batch, cause, is_gone=True, now=now)

    def close(self, now: float) -> None:
        """The host stands where play goes on, or at the repeated reset. Does nothing if no recovery is under way."""
        core, case = self._core, self._case
        if case is None:
            return
        self._case = None
        core.counters.recoveries += 1
        core.counters.recovering_seconds += now - case.began
        again = case.target - case.first
        details = {"cause": case.cause, "from": case.way.value, "resimulated": again, "seconds": now - case.began}
        core.note("environment-recovered", details)
        core.peers.tell(Recovered())

    # -- time ---------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Tell the others how far it is; end the match if it takes too long. Call it in every tick."""
        core, case = self._core, self._case
        if case is None or core.ended is not None:
            return
        if now - case.began > LONGEST:
            text = f"The environment failed, and could not be started again in time: {case.cause}"
            core.end("environment", text, leave="error", now=now)
        elif now - case.told_at >= _TELL_EVERY:
            self._tell(case, now)

    def _tell(self, case: _Case, now: float) -> None:
        case.told_at = now
        self._core.peers.tell(Recovering(case.at - case.first, case.target - case.first))


def _can_be_repeated(batch: object) -> bool:
    """Is it known what the host is to do once it is back.

    In the midst of simulating a desync again it is not: what is recorded there may be wrong.
    """
    if isinstance(batch, PlayBatch):
        return not batch.withdraws
    return isinstance(batch, ResetBatch | RecoveryBatch | EvidenceBatch)


def is_same_environment(plan: MatchPlan, ready: Mapping[str, Any]) -> bool:
    """Does a host say of itself what the lost one said, as far as the match depends on it."""
    try:
        return replace(plan, env=ready).facts() == plan.facts()
    except ConfigurationError:
        return False
