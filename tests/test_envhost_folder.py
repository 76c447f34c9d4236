"""The folder of host-side code: complete, minimal, and fit for an older Python."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from p2pclient.common.errors import ConfigurationError
from p2pclient.envhost.folder import START_SCRIPT, build_host_folder, read_host_files
from p2pclient.envhost.host_packages import check_packages
from p2pclient.envhost.surroundings import make_environment

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("LOCALAPPDATA", str(folder))
    return folder


def test_folder_holds_host_side_code_only() -> None:
    folder = build_host_folder()
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    assert {START_SCRIPT, "p2pclient/envhost/host.py", "p2pclient/envhost/values.py", "envs/simulation.py"} <= names
    assert {name.split("/")[1] for name in names if name.startswith("p2pclient/")} == {
        "__init__.py",
        "common",
        "envhost",
    }
    assert not {"p2pclient/envhost/client.py", "p2pclient/common/presentation.py"} & names
    assert not any(name.startswith("signaling") for name in names)


def test_host_side_code_is_python_3_8() -> None:
    for name, content in read_host_files(ROOT).items():
        if name.endswith(".py"):
            ast.parse(content, name, feature_version=(3, 8))


def test_folder_is_complete_in_itself() -> None:
    folder = build_host_folder()
    script = "import p2pclient.envhost.host, envs.simulation; print(p2pclient.__path__[0], envs.__path__[0])"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {script}"]
    out = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=True).stdout
    assert out.split() == [str(folder / "p2pclient"), str(folder / "envs")]


def test_folder_is_made_once_and_repaired() -> None:
    folder = build_host_folder()
    assert build_host_folder() == folder
    (folder / "envs" / "simulation.py").unlink()
    (folder / START_SCRIPT).write_text("damaged")
    assert build_host_folder() == folder
    for name, content in read_host_files(ROOT).items():
        assert (folder / name).read_bytes() == content
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_folders_of_other_versions_go_after_a_month(cache: Path) -> None:
    old, recent = cache / "tandem" / "envhost" / "old", cache / "tandem" / "envhost" / "recent"
    if sys.platform.startswith("linux"):
        old.mkdir(parents=True)
        recent.mkdir()
        (old / "file.py").touch()
        os.utime(old, (1e9, 1e9))
        folder = build_host_folder()
        assert {path.name for path in folder.parent.iterdir()} == {folder.name, "recent"}


def test_clients_that_start_together_share_one_folder() -> None:
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(build_host_folder())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(made)) == 1
    assert [path.name for path in made[0].parent.iterdir()] == [made[0].name]


def test_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    folder = build_host_folder()
    assert (folder / START_SCRIPT).is_file()
    assert cache.is_file()


def test_program_without_environments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="install again"):
        read_host_files(tmp_path)


def test_second_package_of_our_name_is_refused_with_both_paths(tmp_path: Path) -> None:
    check_packages(str(ROOT), sys.path)
    for name in ("envs", "signaling"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").touch()
        with pytest.raises(ConfigurationError) as caught:
            check_packages(str(ROOT), [*sys.path, str(tmp_path)])
        assert str(tmp_path / name) in str(caught.value)
        assert str(ROOT / name) in str(caught.value)
        (tmp_path / name / "mine.py").unlink()


def test_another_copy_of_this_program_is_no_second_package() -> None:
    check_packages(str(ROOT), [*sys.path, str(build_host_folder())])


def test_packages_that_resolve_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="package 'envs'"):
        check_packages(str(tmp_path), [])


def test_environment_variables_of_the_host() -> None:
    base = {"PYTHONPATH": "/elsewhere", "HOME": "/home/me", "OMP_NUM_THREADS": "8"}
    variables = make_environment(base, pin_cpu=False)
    assert "PYTHONPATH" not in variables
    assert variables["HOME"] == "/home/me"
    assert (variables["PYTHONHASHSEED"], variables["OMP_NUM_THREADS"]) == ("0", "1")
    assert "NPY_DISABLE_CPU_FEATURES" not in variables
