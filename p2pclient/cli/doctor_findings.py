"""What a check found: one line each, with what to do about it; and how all of them are told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum


class Level(Enum):
    """How bad it is."""

    GOOD = "good"
    NOTE = "note"
    """Worth knowing; nothing need be done."""
    WARNING = "warning"
    """It may work, or not for long."""
    PROBLEM = "problem"
    """It will not work."""


_MARKS = {Level.GOOD: "ok  ", Level.NOTE: "note", Level.WARNING: "WARN", Level.PROBLEM: "FAIL"}
_CODES = {Level.GOOD: 0, Level.NOTE: 0, Level.WARNING: 1, Level.PROBLEM: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    topic: str
    level: Level
    text: str
    fix: str = ""
    """What to do; never empty for warnings and problems."""

    def __post_init__(self) -> None:
        assert self.fix or self.level in (Level.GOOD, Level.NOTE), self.text


def good(topic: str, text: str) -> Finding:
    return Finding(topic, Level.GOOD, text)


def note(topic: str, text: str) -> Finding:
    return Finding(topic, Level.NOTE, text)


def warning(topic: str, text: str, fix: str) -> Finding:
    return Finding(topic, Level.WARNING, text, fix)


def problem(topic: str, text: str, fix: str) -> Finding:
    return Finding(topic, Level.PROBLEM, text, fix)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0 if all is good, 1 with warnings, 2 with problems."""
    return max((_CODES[each.level] for each in findings), default=0)


def line(finding: Finding) -> str:
    """Return a finding as it is printed."""
    fix = f"\n{'':18}-> {finding.fix}" if finding.fix else ""
    return f"{_MARKS[finding.level]}  {finding.topic + ':':<11} {finding.text}{fix}"


def report_json(findings: Sequence[Finding]) -> str:
    """Return all findings as one JSON object."""
    told = [{**asdict(each), "level": each.level.value} for each in findings]
    return json.dumps({"findings": told, "exit_code": exit_code(findings)}, indent=1)


def summary(findings: Sequence[Finding]) -> str:
    """Return the last line."""
    problems = sum(each.level is Level.PROBLEM for each in findings)
    warnings = sum(each.level is Level.WARNING for each in findings)
    if not problems and not warnings:
        return "All is well."
    return f"{problems} problem{'s' * (problems != 1)}, {warnings} warning{'s' * (warnings != 1)}."


def firewall_fix(platform: str, ports: str) -> str:
    """Return how a person lets this program through the firewall of a system."""
    if platform == "win32":
        return (
            "Windows Security > Firewall > Allow an app: tick Python for private networks, and see that this network "
            "is a private one. An administrator can type: netsh advfirewall firewall add rule name=Tandem dir=in "
            f'action=allow program="{sys.executable}" enable=yes'
        )
    if platform == "darwin":
        return "System Settings > Network > Firewall > Options: allow incoming connections for Python"
    return f"let {ports} in from this network, for example: sudo ufw allow from 192.168.0.0/16"
