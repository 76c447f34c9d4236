"""What has come of a soak so far: the counts, the problems, and a folder for each match that failed."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pclient.cli.soak_judge import PLAYED, MatchCourse
from p2pclient.cli.soak_plan import PAUSE, MatchFacts, SoakPlan, settings_of

_COUNTED = ("rollbacks", "resimulated", "stalls", "overruns", "desyncs")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be."""

    text: str
    match_id: str | None = None
    """None if it is about no match. Likewise the next two."""
    folder: str | None = None
    """Where the evidence is."""
    repeat: str | None = None
    """The command that has all this again."""


class Ledger:
    """Counts matches, and keeps what failed. ``say`` is told of each problem as it is found."""

    def __init__(self, plan: SoakPlan, *, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.problems: list[Problem] = []
        self.matches = 0
        self.whole = 0
        """Matches that both played to the planned end."""
        self.not_begun = 0
        """Matches that did not come about because of what was done to them."""
        self.cut_short = 0
        """Matches that the end of the soak kept from their planned end."""
        self.replayed = 0
        self.failed = 0
        self.faults: Counter[str] = Counter()
        """What was done, by kind."""
        self.reasons: Counter[str] = Counter()
        """How the sides' matches ended."""
        self.recorded = 0
        self.verified = 0
        self.sums: Counter[str] = Counter()
        """Counters of the matches, summed over both sides."""
        self.max_depth = 0
        self.lateness: list[Mapping[str, float]] = []
        """Quantiles in milliseconds of each side of each match."""
        self._say = say

    @property
    def has_enough(self) -> bool:
        """So much has failed that more would tell nothing new."""
        return self.failed + sum(each.match_id is None for each in self.problems) >= self.plan.most_failures

    @property
    def has_all(self) -> bool:
        """As many matches are checked as the plan asks for."""
        return 0 < self.plan.matches <= self.matches

    def problem(self, text: str, match_id: str | None = None) -> None:
        """Note a problem; with a match's id, it is kept with that match."""
        self._add(Problem(text, match_id))

    def problems_of(self, match_id: str) -> list[str]:
        """Return what was found wrong with a match so far."""
        return [problem.text for problem in self.problems if problem.match_id == match_id]

    def close(self, course: MatchCourse, check: Mapping[str, Any], problems: Sequence[str]) -> None:
        """Count a match that is over and checked; keep its evidence if anything was wrong, or else throw it away."""
        self._count(course, check)
        if problems:
            self.failed += 1
            self._keep(course, check, problems)
        elif not self.plan.keep:
            for side in course.sides.values():
                if side.folder is not None:
                    shutil.rmtree(side.folder, ignore_errors=True)

    def _count(self, course: MatchCourse, check: Mapping[str, Any]) -> None:
        found = check.get("sides", ())
        self.matches += 1
        self.whole += course.is_whole
        self.not_begun += not any(side.ending == PLAYED for side in course.sides.values())
        self.cut_short += course.is_cut_short and not course.is_whole
        self.replayed += bool(check.get("replays"))
        if course.fault_kind != PAUSE:  # there, being late was our doing
            self.lateness += [side["lateness_ms"] for side in found]
        self.recorded += max((side["recorded"] for side in found), default=0)
        self.verified += max((side["verified"] for side in found), default=0)
        for side in course.sides.values():
            self.reasons[side.reason or str(side.ending)] += 1
            if side.ending == PLAYED:
                counters = side.report["outcome"]["counters"]
                self.sums.update({name: counters[name] for name in _COUNTED})
                self.max_depth = max(self.max_depth, counters["max_depth"])

    def _keep(self, course: MatchCourse, check: Mapping[str, Any], problems: Sequence[str]) -> None:
        """Put all that is known of a failed match in one folder."""
        out = self.plan.out
        folder = out / "failed" / f"{course.number:05d}_{course.match_id}"
        folder.mkdir(parents=True, exist_ok=True)
        python = [] if self.plan.env_python is None else ["--env-python", self.plan.env_python]
        words = ["tandem", "soak", "--repeat", str(folder / "match.json"), "--minutes", "10", *python]
        repeat = shlex.join(words)
        facts = MatchFacts(course.match_id, course.number, settings_of(self.plan), course.fault_done)
        for seat, side in sorted(course.sides.items()):
            facts.clients.append(side.seeds)
            facts.sides.append({"seat": seat, "client": side.client, "ending": side.ending, "report": side.report})
            if side.folder is not None and side.folder.exists():
                shutil.move(side.folder, folder / f"seat-{seat}")
            slot = side.client.rpartition(".")[0]
            _copy(out / "logs" / f"{side.client}.log", folder / f"{side.client}.log")
            _copy(out / "clients" / slot / "environment.log", folder / f"environment-{seat}.log")
        _copy(out / "logs" / "server.log", folder / "server.log")
        facts.problems, facts.check, facts.repeat = list(problems), dict(check), repeat
        (folder / "match.json").write_text(facts.to_json(), encoding="utf-8")
        said = set(self.problems_of(course.match_id))
        self.problems = [problem for problem in self.problems if problem.match_id != course.match_id]
        for text in problems:
            self._add(Problem(text, course.match_id, str(folder), repeat), silent=text in said)

    def _add(self, problem: Problem, *, silent: bool = False) -> None:
        self.problems.append(problem)
        if not silent:
            self._say(f"{problem.match_id or 'soak'}: {problem.text}")


def _copy(source: Path, target: Path) -> None:
    if source.exists():
        shutil.copy(source, target)


def last_line(path: Path) -> str:
    """Return the last line of a log, for a sentence about a process that ended."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else f"it said nothing; see {path}"
