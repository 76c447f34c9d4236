"""dev.py: what it decides, and what it says when it cannot go on. No environment is made here but an empty one."""

from __future__ import annotations

import errno
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """dev.py as a module, about a checkout of its own in ``tmp_path``."""
    spec = importlib.util.spec_from_file_location("tandem_dev", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("TANDEM_VENV", raising=False)
    (tmp_path / "requirements.lock").write_text("attrs==26.1.0\n")
    monkeypatch.setattr(module, "WINDOWS", False)
    monkeypatch.setattr(module, "ROOT", str(tmp_path))
    monkeypatch.setattr(module, "LOCK", str(tmp_path / "requirements.lock"))
    return module


@pytest.fixture
def folder(dev: ModuleType, tmp_path: Path) -> Path:
    """A finished environment, as far as dev.py looks."""
    folder = tmp_path / ".venv"
    python = Path(dev.environment_python(str(folder)))
    python.parent.mkdir(parents=True)
    python.touch()
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.7\n")
    (folder / dev.STAMP).write_text("\n".join(dev.describe_environment(str(folder))) + "\n")
    return folder


@pytest.fixture
def ran(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that dev.py became, instead of becoming them."""
    commands: list[list[str]] = []

    def exec_instead(path: str, command: list[str]) -> None:
        commands.append(command)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", exec_instead)
    return commands


def call(dev: ModuleType, *arguments: str) -> Any:
    try:
        return dev.main(list(arguments))
    except SystemExit as stop:
        return stop.code


def run_dev(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "dev.py"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_finished_environment_is_ready(dev: ModuleType, folder: Path) -> None:
    assert dev.is_ready(str(folder))


@pytest.mark.parametrize("change", ["lock", "version", "stamp", "interpreter", "place"])
def test_environment_is_made_again_when_something_changed(dev: ModuleType, folder: Path, change: str) -> None:
    if change == "lock":
        (folder.parent / "requirements.lock").write_text("attrs==26.1.1\n")
    elif change == "version":
        (folder / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.1\n")
    elif change == "stamp":
        (folder / dev.STAMP).unlink()
    elif change == "interpreter":
        Path(dev.environment_python(str(folder))).unlink()
    else:
        folder = folder.rename(folder.parent / "elsewhere")
    assert not dev.is_ready(str(folder))


def test_line_endings_of_the_lock_do_not_matter(dev: ModuleType, folder: Path) -> None:
    (folder.parent / "requirements.lock").write_bytes(b"attrs==26.1.0\r\n")
    assert dev.is_ready(str(folder))


def test_interrupted_install_leaves_no_stamp(dev: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_folder: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dev, "install_lock", interrupted)
    (folder.parent / "requirements.lock").write_text("attrs==26.1.1\n")
    with pytest.raises(KeyboardInterrupt):
        dev.set_up()
    assert dev.read_stamp(str(folder)) == []
    assert not dev.is_ready(str(folder))


def test_second_dev_waits_for_the_first(dev: ModuleType, folder: Path) -> None:
    path = folder / dev.SETUP_LOCK
    with open(path, "a+b") as first, open(path, "a+b") as second:
        assert dev.try_lock(first.fileno())
        assert not dev.try_lock(second.fileno())
        first.close()
        assert dev.try_lock(second.fileno())


def test_commands_go_to_tandem_with_the_python_of_the_environment(
    dev: ModuleType, folder: Path, ran: list[list[str]]
) -> None:
    assert call(dev, "join", "http://host:8000", "--bot", "greedy") == 0
    python = dev.environment_python(str(folder))
    assert ran == [[python, "-P", "-m", "p2pclient.cli", "join", "http://host:8000", "--bot", "greedy"]]


def test_benchmark_runs_with_its_arguments(dev: ModuleType, folder: Path, ran: list[list[str]]) -> None:
    (folder.parent / "benchmarks").mkdir()
    script = folder.parent / "benchmarks" / "batch.py"
    script.write_text('"""Batches."""\n')
    assert call(dev, "bench", "batch", "--json") == 0
    assert ran == [[dev.environment_python(str(folder)), "-P", str(script), "--json"]]


def test_unknown_benchmark_lists_those_that_there_are(
    dev: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "benchmarks").mkdir()
    (folder.parent / "benchmarks" / "batch.py").write_text('"""One batch against many.\n\nMore."""\n')
    (folder.parent / "benchmarks" / "_table.py").write_text("")
    assert call(dev, "bench", "nothing") == 2
    shown = capsys.readouterr().out
    assert "batch" in shown
    assert "One batch against many." in shown
    assert "_table" not in shown


def test_all_tests_run_in_two_parts_and_chosen_tests_in_one(dev: ModuleType) -> None:
    together, alone = dev.plan_tests([])
    assert together[1][-2:] == ("-m", "not alone")
    assert alone[1] == ("-m", "pytest", "-m", "alone")
    assert dev.plan_tests(["tests/test_dev.py", "-k", "lock"]) == [
        ("pytest", ("-m", "pytest", "tests/test_dev.py", "-k", "lock"))
    ]


@pytest.mark.parametrize(
    ("codes", "expected", "last"),
    [([0, 0], 0, "all passed"), ([1, 0], 1, "1 of 2 failed"), ([130], 130, "interrupted")],
)
def test_summary_ends_with_the_verdict(
    dev: ModuleType, capsys: pytest.CaptureFixture[str], codes: list[int], expected: int, last: str
) -> None:
    assert dev.summarize([("step", code, 1.0) for code in codes], 2) == expected
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_old_python_is_told_what_is_needed(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "list_candidates", lambda: [["old"], ["broken"]])
    monkeypatch.setattr(dev, "probe_python", lambda command: ((3, 8), True, "/x") if command == ["old"] else None)
    with pytest.raises(dev.SetUpError, match=r"needs Python 3\.11 or newer, 64-bit. Found here: 3\.8 \(/x\)") as caught:
        dev.find_python()
    assert "sudo apt install" in str(caught.value)
    assert "winget install" in str(caught.value)


def test_32_bit_python_is_passed_over_and_a_tested_one_goes_before_a_newer(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"small": ((3, 12), False, "a"), "future": ((3, 99), True, "b"), "good": ((3, 11), True, "c")}
    monkeypatch.setattr(dev, "probe_python", lambda command: found[command[0]])
    monkeypatch.setattr(dev, "list_candidates", lambda: [["small"], ["future"], ["good"]])
    assert dev.find_python() == ["good"]
    monkeypatch.setattr(dev, "list_candidates", lambda: [["small"], ["future"]])
    assert dev.find_python() == ["future"]


def test_this_python_is_probed_as_usable(dev: ModuleType) -> None:
    version, usable, _path = dev.probe_python([sys.executable])
    assert version == sys.version_info[:2]
    assert usable
    assert dev.probe_python([str(ROOT / "no-such-python")]) is None


def test_folder_with_other_files_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    answer = run_dev("setup", TANDEM_VENV=str(tmp_path))
    assert answer.returncode == 2
    assert "in use for something else" in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_missing_network_is_told_with_the_way_around_it(tmp_path: Path) -> None:
    answer = run_dev(
        "demo",
        TANDEM_VENV=str(tmp_path / "environment"),
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_FIND_LINKS="",
        PIP_RETRIES="0",
    )
    assert answer.returncode == 2, answer.stderr
    assert "cannot reach the package index" in answer.stderr
    assert "PIP_FIND_LINKS" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "is full"),
        ("ERROR: [Errno 13] Permission denied: '/x'", "may write to"),
        ("WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'", "cannot reach"),
        ("ERROR: No matching distribution found for av==18.1.0", "does not have all that is needed"),
        ("error: metadata-generation-failed", "pip could not install"),
    ],
)
def test_trouble_of_pip_is_translated(dev: ModuleType, output: str, expected: str) -> None:
    text = dev.explain_pip_failure(output, "/x/.venv")
    assert expected in text
    assert dev.PIP_LOG in text


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, "is full"), (errno.EROFS, "may write to"), (errno.EIO, "Remove that folder")],
)
def test_trouble_of_the_disk_is_translated(dev: ModuleType, number: int, expected: str) -> None:
    assert expected in dev.explain_os_error(OSError(number, "words"), "/x/.venv")


def test_missing_venv_module_names_the_package_to_install(dev: ModuleType) -> None:
    text = dev.explain_venv_failure("ensurepip is not available", [sys.executable], "/x")
    assert "sudo apt install python{}.{}-venv".format(*sys.version_info) in text


def test_help_needs_no_environment(tmp_path: Path) -> None:
    answer = run_dev("--help", TANDEM_VENV=str(tmp_path / "none"))
    assert answer.returncode == 0
    assert "dev.py test" in answer.stdout
    assert not (tmp_path / "none").exists()


def test_lock_names_no_index_and_one_exact_version_for_every_system() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.partition(" ;") for line in lines if not line.lstrip().startswith("#")]
    assert len(pins) > 40
    assert all("==" in pin and "://" not in pin and "/" not in pin for pin, _, _ in pins)
    by_python = [pin for pin, _, marker in pins if "python" in marker.replace("platform_python_implementation", "")]
    # Box2D, which some tests play with and nothing else needs, has no wheels for Python 3.14.
    assert [pin.partition("==")[0] for pin in by_python] == ["box2d"]
    needed = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[0]
    assert "box2d" not in needed
