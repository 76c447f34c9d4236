"""Who is let in: the rules on entry, applied to what a client measured. Pure.

Every rule that is not met is told to the researcher; the participant reads the message of the first one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from p2pclient.common.screening_messages import CHECKS, Check, Facts, Pacing
from signaling.screening_rules import (
    DisplayRule,
    Entry,
    EntryRule,
    EnvironmentRule,
    MemoryRule,
    PacingRule,
    PingRule,
    PowerRule,
    RefreshRule,
    SystemRule,
    VersionRule,
)

_NEEDS: dict[str, Check] = {
    "display": "display",
    "refresh_rate": "display",
    "frame_pacing": "pacing",
    "ping": "ping",
    "environment": "environment",
}
"""What must be asked for, by rule. The rest is told in any case."""

_NOT_MEASURED = "This could not be found out about this computer, and the study needs it: {rule}."


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule, applied."""

    rule: str
    met: bool | None
    """None if what it looks at was not measured."""
    measured: str = ""
    required: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """In, or excluded by :attr:`rule` with :attr:`message`."""

    rule: str = ""
    """The first rule that keeps it out; empty if it is let in."""
    message: str = ""
    findings: tuple[Finding, ...] = ()
    """All rules, in the order of the file's documentation."""

    @property
    def is_admitted(self) -> bool:
        return not self.rule

    @property
    def reason(self) -> str:
        """What the researcher reads: every rule that is not met, and what was measured."""
        parts = [
            f"{each.rule}: {each.measured or 'not measured'} (required: {each.required})"
            for each in self.findings
            if each.met is not True
        ]
        return "; ".join(parts) or self.rule


def checks_for(entry: Entry) -> tuple[Check, ...]:
    """Return what a client must measure for these rules. A function of the researcher's own is given everything."""
    wanted = {_NEEDS[name] for name in _NEEDS if getattr(entry, name) is not None}
    return tuple(each for each in CHECKS if each in wanted or entry.custom is not None)


def judge(entry: Entry, facts: Facts) -> Verdict:
    """Apply all rules but the researcher's own function, which is not pure."""
    findings: list[Finding] = []
    first: tuple[str, str] | None = None
    for name, rule in _rules(entry):
        finding = _apply(name, rule, facts)
        findings.append(finding)
        keeps_out = finding.met is False or (finding.met is None and rule.unknown == "exclude")
        if keeps_out and first is None:
            first = name, _message(rule, finding, facts)
    rule_name, message = first or ("", "")
    return Verdict(rule_name, message, tuple(findings))


def _rules(entry: Entry) -> Iterator[tuple[str, EntryRule]]:
    for name in entry.__struct_fields__:
        rule = getattr(entry, name)
        if isinstance(rule, EntryRule):
            yield name, rule


def _message(rule: EntryRule, finding: Finding, facts: Facts) -> str:
    if finding.met is None:
        why = facts.unknown.get(_NEEDS.get(finding.rule, finding.rule), "")
        words = rule.message or _NOT_MEASURED.replace("{rule}", finding.rule.replace("_", " "))
        return f"{words} {why}".strip()[:1000]
    words = rule.words.replace("{required}", finding.required)
    return words.replace("{measured}", finding.measured)[:1000]


def _apply(name: str, rule: EntryRule, facts: Facts) -> Finding:
    if isinstance(rule, VersionRule):
        version = facts.program if name == "program" else facts.python
        found = _parse_version(version)
        wanted = _parse_version(rule.at_least)
        assert wanted is not None, "checked where the file was read"
        return Finding(name, None if found is None else found >= wanted, version, f"{rule.at_least} or newer")
    look = _LOOKS[type(rule)]
    return Finding(name, *look(rule, facts))


def _parse_version(text: str) -> tuple[int, ...] | None:
    """Return the numbers at the beginning of a version, without zeros at their end; None if there are none."""
    found = re.match(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}", text)
    numbers = [int(each) for each in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers) if found else None


_Look = tuple[bool | None, str, str]


def _system(rule: SystemRule, facts: Facts) -> _Look:
    required = " or ".join(rule.allowed)
    return (facts.system in rule.allowed) if facts.system else None, facts.system, required


def _display(rule: DisplayRule, facts: Facts) -> _Look:
    sides = (("width", rule.min_width), ("height", rule.min_height))
    required = " and ".join(f"a {side} of {pixels}" for side, pixels in sides if pixels > 1)
    if facts.display is None:
        return None, "", required
    width, height = facts.display.width, facts.display.height
    is_upright = height > width
    wide, high = (height, width) if is_upright else (width, height)
    return wide >= rule.min_width and high >= rule.min_height, f"{width} x {height}", required


def _refresh(rule: RefreshRule, facts: Facts) -> _Look:
    upper = f" to {rule.at_most_hz:g}" if rule.at_most_hz < 1e6 else " or more"
    required = f"{rule.at_least_hz:g}{upper}"
    rate = facts.display.refresh_hz if facts.display is not None else None
    # Systems round 59.94 to 60 or to 59; a limit of 60 means both.
    is_met = None if not rate else rule.at_least_hz - 1 <= rate <= rule.at_most_hz + 1
    return is_met, f"{rate or 0:g}", required


def _pacing(rule: PacingRule, facts: Facts) -> _Look:
    limits = [f"{100 * rule.max_missed:g} % late"]
    limits += [f"{rule.max_p99_ms:g} ms between pictures"] if rule.max_p99_ms is not None else []
    pacing: Pacing | None = facts.pacing
    if pacing is None or not pacing.pictures:
        return None, "", ", ".join(limits)
    is_even = rule.max_p99_ms is None or pacing.p99_ms <= rule.max_p99_ms
    measured = f"{100 * pacing.missed:.0f} % late, up to {pacing.p99_ms:.0f} ms between pictures"
    return pacing.missed <= rule.max_missed and is_even, measured, ", ".join(limits)


def _ping(rule: PingRule, facts: Facts) -> _Look:
    required = f"{rule.at_most_ms:g} ms"
    if facts.ping is None or not facts.ping.samples:
        return None, "", required
    return facts.ping.median_ms <= rule.at_most_ms, f"{facts.ping.median_ms:.0f} ms", required


def _environment(rule: EnvironmentRule, facts: Facts) -> _Look:
    required = "one of the study's versions" if rule.digests else "that it can be loaded"
    found = facts.environment
    if found is None:
        return None, "", required
    if found.problem or not found.digest:
        return False, found.problem or "it could not be loaded", required
    return not rule.digests or found.digest in rule.digests, f"digest {found.digest}", required


def _memory(rule: MemoryRule, facts: Facts) -> _Look:
    required = f"{rule.free_mb} MB free, {rule.total_mb} MB in all"
    if facts.memory_free_mb is None or facts.memory_mb is None:
        return None, "", required
    is_met = facts.memory_free_mb >= rule.free_mb and facts.memory_mb >= rule.total_mb
    return is_met, f"{facts.memory_free_mb} MB free, {facts.memory_mb} MB in all", required


def _power(rule: PowerRule, facts: Facts) -> _Look:
    required = "mains" if rule.battery_at_least >= 1 else f"mains, or {100 * rule.battery_at_least:g} %"
    if facts.plugged_in is None:
        return None, "", required
    if facts.plugged_in:
        return True, "mains", required
    level = facts.battery or 0.0
    return rule.battery_at_least < 1 and level >= rule.battery_at_least, f"{100 * level:.0f} % left", required


_LOOKS: dict[type[EntryRule], Callable[[Any, Facts], _Look]] = {
    SystemRule: _system,
    DisplayRule: _display,
    RefreshRule: _refresh,
    PacingRule: _pacing,
    PingRule: _ping,
    EnvironmentRule: _environment,
    MemoryRule: _memory,
    PowerRule: _power,
}
