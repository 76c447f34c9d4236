"""What holds for all tests: an example of Hypothesis may take its time, for how long depends on the machine.

The files that take longest come first, so that no core is left with one of them at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("no-deadline", settings(deadline=None))
settings.load_profile("no-deadline")

LONG = ("test_play_", "test_soak_whole", "test_check_foreign", "test_windows_", "test_envs_listed", "test_install")
"""How the names of files begin whose tests run whole programs, or long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by how long a file takes; within a file, and between those of a kind, the order stays."""
    items.sort(key=lambda item: not item.path.name.startswith(LONG))


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command that runs in this process leads its logs elsewhere; the next test may read them where they belong."""
    ours, root = logging.getLogger("tandem"), logging.getLogger()
    before = ours.handlers[:], ours.level, ours.propagate, root.handlers[:]
    yield
    ours.handlers, level, ours.propagate, root.handlers = before
    ours.setLevel(level)
