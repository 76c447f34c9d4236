"""Who may go on playing: the rules applied to what clients report while a match runs. Pure.

1. A warning always comes first, and the exclusion ``patience_s`` later at the earliest. What is well again takes the
   warning back; the next time, everything begins anew, but for the time that may be used up in all of a match.
2. Samples count while the match is played, after ``grace_s``; not while it is paused, and not between episodes. They
   are at least ``SAMPLE_S`` apart: who reports more often weighs no more.
3. Reports that do not come are nobody's fault here, the lease of the connection is for that: between two reports at
   most ``LONGEST_GAP_S`` count.
4. A slow round trip or lost datagrams between players are as much the one's as the other's. Who of them is excluded:
   the one whose own way to the server is clearly worse; if there is none, all who were warned of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from p2pclient.common.room_messages import Health
from signaling.screening_rules import (
    FrameRateRule,
    PlayHookRule,
    Playing,
    PlayRule,
    TimedRule,
    WindowedRule,
)

SAMPLE_S = 0.5
LONGEST_GAP_S = 3.0
CLEARLY_WORSE = 1.5
CLEARLY_WORSE_MS = 20.0

_FINE, _WARN, _EXCLUDE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Warned:
    """Show ``text`` to a participant."""

    participant: str
    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Calmed:
    """What it was warned of is well again."""

    participant: str
    rule: str


@dataclass(frozen=True, slots=True)
class Excluded:
    """A participant takes no further part. ``measured`` is for the researcher."""

    participant: str
    rule: str
    message: str
    measured: str


Outcome = Warned | Calmed | Excluded


class ViolationWindow:
    """How many of the last ``size`` samples were bad."""

    def __init__(self, size: int) -> None:
        self._samples: deque[bool] = deque(maxlen=size)
        self.violations = 0

    def clear(self) -> None:
        """Forget all samples."""
        self._samples.clear()
        self.violations = 0

    def add(self, is_bad: bool) -> None:
        """Take the next sample; the oldest one falls out."""
        if len(self._samples) == self._samples.maxlen:
            self.violations -= self._samples[0]
        self._samples.append(is_bad)
        self.violations += is_bad


@dataclass(slots=True)
class Spell:
    """How long something has lasted, and how long in all."""

    lasts_s: float = 0.0
    total_s: float = 0.0

    def add(self, is_bad: bool, seconds: float) -> None:
        """Take in the time since the last sample."""
        self.lasts_s = self.lasts_s + seconds if is_bad else 0.0
        self.total_s += seconds if is_bad else 0.0


@dataclass(slots=True)
class _Standing:
    """How a participant stands with one rule."""

    name: str
    rule: PlayRule
    window: ViolationWindow
    spell: Spell = field(default_factory=Spell)
    level: int = _FINE
    measured: str = ""
    is_used_up: bool = False
    """There is no more time for it in this match: an earlier warning is enough."""
    first_warned_at: float | None = None
    warned_at: float | None = None
    """Since when the warning stands; None while there is none."""
    well_since: float | None = None
    text: str = ""
    """What is wrong, as a researcher's function puts it."""

    def follow(self, level: int, *, now: float) -> str:
        """Take in how it stands now; returns ``warn``, ``calm``, ``exclude`` or nothing."""
        self.level = level
        if level == _FINE:
            if self.warned_at is None:
                return ""
            self.well_since = now if self.well_since is None else self.well_since
            if now - self.well_since < self.rule.calm_s:
                return ""
            self.warned_at = self.well_since = None
            return "calm"
        self.well_since = None
        since = self.first_warned_at if self.is_used_up else self.warned_at
        is_due = level == _EXCLUDE and since is not None and now - since >= self.rule.patience_s
        if is_due and self.rule.action == "exclude":
            return "exclude"
        if self.warned_at is not None:
            return ""
        self.warned_at = now
        self.first_warned_at = now if self.first_warned_at is None else self.first_warned_at
        return "warn"


@dataclass(slots=True)
class _Player:
    """One participant in one match."""

    standings: dict[str, _Standing]
    playing_since: float | None = None
    sampled_at: float | None = None
    stalls: int = 0
    server_rtt_ms: float | None = None
    asked_at: float | None = None
    excluded: bool = False


class Oversight:
    """Applies the rules to all matches of a room. See the module's docstring.

    Args:
        rate_hz: nominal frames per second of the matches.
    """

    def __init__(self, rules: Playing, *, rate_hz: float) -> None:
        self._rules = rules
        self._rate_hz = rate_hz
        self._matches: dict[str, dict[str, _Player]] = {}

    def take(
        self, match: str, participant: str, health: Health, *, server_rtt_ms: float | None, now: float
    ) -> list[Outcome]:
        """Take in a report. Outcomes may concern others in the match, too."""
        player = self._player(match, participant)
        player.server_rtt_ms = server_rtt_ms
        seconds = self._count(player, health, now)
        if seconds is None or player.excluded:
            return []
        outcomes: list[Outcome] = []
        has_waited, player.stalls = health.stalls > player.stalls, health.stalls
        for standing in player.standings.values():
            level = self._level(standing, player, health, seconds, has_waited=has_waited)
            if level is not None:
                outcomes += self._follow(match, participant, standing, level, now)
        return outcomes

    def wants_hook(self, match: str, participant: str, *, now: float) -> bool:
        """Is the researcher's function to be asked about somebody now; to be called after :meth:`take`."""
        rule, player = self._rules.custom, self._matches.get(match, {}).get(participant)
        if rule is None or player is None or player.excluded or player.sampled_at != now:
            return False
        if player.asked_at is not None and now - player.asked_at < rule.every_s:
            return False
        player.asked_at = now
        return True

    def hook_answered(self, match: str, participant: str, text: str | None, *, now: float) -> list[Outcome]:
        """Take in what the function said. Does nothing for who is no longer in the match."""
        rule, player = self._rules.custom, self._matches.get(match, {}).get(participant)
        if rule is None or player is None or player.excluded:
            return []
        standing = player.standings["custom"]
        since = standing.warned_at
        standing.text = standing.measured = text or ""
        level = _FINE if text is None else _WARN
        if text is not None and since is not None and now - since >= rule.exclude_after_s:
            level = _EXCLUDE
        return self._follow(match, participant, standing, level, now)

    def warning_of(self, match: str, participant: str) -> str:
        """Return the warning that stands for somebody, the newest of several; empty for none."""
        player = self._matches.get(match, {}).get(participant)
        standing = [each for each in player.standings.values() if each.warned_at is not None] if player else []
        return _warning(max(standing, key=lambda each: each.warned_at or 0.0)) if standing else ""

    def keep_only(self, matches: Container[str]) -> list[str]:
        """Forget all matches but these; returns who stands warned in those that are forgotten."""
        over = [each for each in self._matches if each not in matches]
        warned = [who for match in over for who in self._matches[match] if self.warning_of(match, who)]
        for match in over:
            del self._matches[match]
        return warned

    # -- one report ---------------------------------------------------------------------------------------------------

    def _player(self, match: str, participant: str) -> _Player:
        players = self._matches.setdefault(match, {})
        if participant not in players:
            players[participant] = _Player(
                {
                    name: _Standing(name, rule, ViolationWindow(getattr(rule, "window", 1)))
                    for name in self._rules.__struct_fields__
                    if isinstance(rule := getattr(self._rules, name), PlayRule)
                }
            )
        return players[participant]

    def _count(self, player: _Player, health: Health, now: float) -> float | None:
        """Return for how many seconds a report counts; None if it does not."""
        if health.phase not in ("playing", "stalled") and not health.is_waited_for:
            player.sampled_at = None
            return None
        if player.playing_since is None:
            player.playing_since = now
        if player.sampled_at is not None and now - player.sampled_at < SAMPLE_S:
            return None
        last, player.sampled_at = player.sampled_at, now
        if now - player.playing_since < self._rules.grace_s:
            return None
        return 0.0 if last is None else min(now - last, LONGEST_GAP_S)

    def _level(
        self, standing: _Standing, player: _Player, health: Health, seconds: float, *, has_waited: bool
    ) -> int | None:
        """Return how it stands with a rule now; None if the report says nothing of that."""
        rule = standing.rule
        if isinstance(rule, WindowedRule):
            figure, limit, unit = _figure(standing.name, rule, health, player.server_rtt_ms)
            if figure is None:
                return None
            standing.window.add(figure > limit)
            count = standing.window.violations
            standing.measured = (
                f"{count} of the last {rule.window} above {limit:g}{unit}, the newest {figure:.4g}{unit}"
            )
            return _EXCLUDE if count >= rule.violations else _WARN if count >= rule.warn_at else _FINE
        if isinstance(rule, TimedRule):
            return self._timed_level(standing, rule, health, seconds, has_waited)
        assert isinstance(rule, PlayHookRule), "its answer comes by hook_answered"
        return None

    def _timed_level(
        self, standing: _Standing, rule: TimedRule, health: Health, seconds: float, has_waited: bool
    ) -> int | None:
        if isinstance(rule, FrameRateRule):
            if health.phase != "playing" or has_waited:
                return None  # it waited for somebody else: its own rate is not known
            is_bad = health.rate_hz < rule.at_least * self._rate_hz
            what = f"{health.rate_hz:.0f} of {self._rate_hz:g} frames per second"
        else:
            # In a pause for its absence no inputs are read that could tell.
            is_bad, what = not health.focused or health.is_waited_for, "away"
        spell = standing.spell
        spell.add(is_bad, seconds)
        standing.measured = f"{what} for {spell.lasts_s:.0f} s, {spell.total_s:.0f} s in all"
        if not is_bad:
            return _FINE
        standing.is_used_up = rule.total_s is not None and spell.total_s >= rule.total_s
        if spell.lasts_s >= rule.exclude_after_s or standing.is_used_up:
            return _EXCLUDE
        return _WARN if spell.lasts_s >= rule.warn_after_s else _FINE

    # -- what follows -------------------------------------------------------------------------------------------------

    def _follow(self, match: str, participant: str, standing: _Standing, level: int, now: float) -> list[Outcome]:
        step = standing.follow(level, now=now)
        if step == "warn":
            return [Warned(participant, standing.name, _warning(standing))]
        if step == "calm":
            return [Calmed(participant, standing.name)]
        if step != "exclude":
            return []
        outcomes: list[Outcome] = []
        to_blame = self._to_blame(match, participant, standing)
        for player in self._matches[match].values():
            if standing.rule.is_shared:  # what was measured with somebody who is out now says nothing of the others
                player.standings[standing.name].window.clear()
        for each in to_blame:
            player = self._matches[match][each]
            player.excluded = True
            own = player.standings[standing.name]
            outcomes.append(Excluded(each, own.name, own.rule.message or own.text or own.rule.words, own.measured))
        return outcomes

    def _to_blame(self, match: str, participant: str, standing: _Standing) -> list[str]:
        """Return who is excluded for what ``participant`` was about to be excluded for."""
        if not standing.rule.is_shared:
            return [participant]
        players = self._matches[match]
        warned = [
            each
            for each, player in players.items()
            if not player.excluded and player.standings[standing.name].level >= _WARN
        ]
        rtts: list[tuple[float, str]] = sorted((players[each].server_rtt_ms or 0.0, each) for each in warned)
        if len(rtts) > 1:
            (second, _), (most, worst) = rtts[-2:]
            if most >= CLEARLY_WORSE * second and most - second >= CLEARLY_WORSE_MS:
                return [worst]
        return warned


def _warning(standing: _Standing) -> str:
    return standing.rule.warning or standing.text or standing.rule.warning_words


def _figure(name: str, rule: Any, health: Health, server_rtt_ms: float | None) -> tuple[float | None, float, str]:
    """Return what a rule with a window looks at, its limit, and the unit of both."""
    if name == "ping" and rule.of == "server":
        return server_rtt_ms, rule.at_most_ms, " ms"
    if name == "ping":
        rtts = [peer.rtt_ms for peer in health.peers if peer.rtt_ms is not None]
        return (median(rtts) if rtts else None), rule.at_most_ms, " ms"
    losses = [100 * peer.loss for peer in health.peers if peer.loss is not None]
    return (median(losses) if losses else None), 100 * rule.at_most, " %"
