"""What a deliberate fault is; the lists are in ``mutation_faults_engine`` and ``mutation_faults_match``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One change of one place."""

    name: str
    file: str
    """Under ``p2pclient``."""
    old: str
    """Stands in the file exactly once."""
    new: str
    tests: tuple[str, ...]
    """Files under ``tests``, without ``test_`` and ``.py``: at least one of their tests fails."""


def faults_in(file: str, tests: str, *changes: tuple[str, str, str]) -> list[Fault]:
    """Return the faults of one file; each change is its name, the old text and the new one."""
    area = file.removesuffix(".py").replace("/", ".")
    return [Fault(f"{area}: {name}", file, old, new, tuple(tests.split())) for name, old, new in changes]
