"""The list of deliberate faults still fits the code: see ``tests/mutation_check.py``."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from mutation_check import FAULTS, main, make_copy, misfits


def test_every_fault_still_has_its_place_and_its_tests() -> None:
    assert misfits(FAULTS) == []


def test_names_are_told_apart_and_every_fault_changes_something() -> None:
    assert [name for name, count in Counter(fault.name for fault in FAULTS).items() if count > 1] == []
    assert [fault.name for fault in FAULTS if fault.old == fault.new] == []


def test_there_are_faults_for_every_layer() -> None:
    layers = Counter(fault.file.partition("/")[0] for fault in FAULTS)
    assert len(FAULTS) >= 70
    assert min(layers[name] for name in ("rollback", "protocol", "telemetry", "match")) >= 8


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"old": "no such text"}, "stands 0 times"),
        ({"old": "\n"}, "times in"),
        ({"tests": ("no_such",)}, "no tests/test_no_such.py"),
    ],
)
def test_a_fault_that_fits_nowhere_or_twice_is_named(change: dict[str, object], sentence: str) -> None:
    (found,) = misfits([replace(FAULTS[0], **change)])  # type: ignore[arg-type]
    assert sentence in found
    assert FAULTS[0].name in found


def test_a_name_that_nothing_has_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no such fault"]) == 2
    assert "no such fault" in capsys.readouterr().err


def test_the_copy_has_the_code_and_nothing_compiled(tmp_path: Path) -> None:
    copy = make_copy(tmp_path / "copy")
    assert all((copy / "p2pclient" / fault.file).is_file() for fault in FAULTS)
    assert (copy / "pyproject.toml").is_file()
    assert not list(copy.rglob("__pycache__"))
