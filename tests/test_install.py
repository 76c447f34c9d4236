"""``tandem install``: what is told meanwhile, which installations count, and that nothing half made is ever used."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from old_numpy import tandem_install

from p2pclient.cli.install_pip import BUILT, COLLECTED, DOWNLOADED, list_packages, read_progress, run_pip
from p2pclient.cli.main import main
from p2pclient.common.errors import ConfigurationError
from p2pclient.envhost.installed import (
    STAMP,
    check_name,
    find_installed,
    installed_folder,
    list_installed,
    locked,
    log_of,
    python_in,
    read_installed,
    remove_installed,
    remove_unfinished,
    write_stamp,
)
from p2pclient.envhost.interpreter import find_interpreter

ROOT = Path(__file__).resolve().parent.parent
posix = pytest.mark.skipif(sys.platform == "win32", reason="the folder of the user's data is set by XDG_DATA_HOME")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's data, empty."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert tmp_path in installed_folder().parents
    return tmp_path / "data"


def made(name: str, *, finished: bool = True) -> Path:
    """Make what looks like an installation: its interpreter is this one."""
    python = python_in(installed_folder() / name)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    if finished:
        stamp = {"python": "3.9.1", "packages": {"numpy": "1.26.4", "six": "1.0"}, "requirements": ["six"]}
        write_stamp(name, stamp)
    return python


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Collecting numpy<2", ("numpy", COLLECTED)),
        ("Collecting gymnasium[box2d]>=1 (from x==2->-r a.txt (line 3))", ("gymnasium", COLLECTED)),
        ("Collecting Farama_Notifications>=0.0.1 (from gymnasium)", ("farama-notifications", COLLECTED)),
        ("Processing /w/numpy-1.26.4-cp311-cp311-linux_x86_64.whl", ("numpy", COLLECTED)),
        (r"Processing c:\w\typing_extensions-4.16.0-py3-none-any.whl", ("typing-extensions", COLLECTED)),
        ("Processing ./my-env-0.1.tar.gz", ("my-env", COLLECTED)),
        ("  Downloading numpy-1.26.4-cp311-cp311-linux_x86_64.whl (18.3 MB)", ("numpy", DOWNLOADED)),
        ("  Using cached https://x.org/p/gym_x-1.0-py3-none-any.whl#sha256=1-2 (1 kB)", ("gym-x", DOWNLOADED)),
        ("  Downloading numpy-2.4.0-cp311-cp311-linux_x86_64.whl.metadata (62 kB)", None),
        ("  Building wheel for my.env (pyproject.toml): started", ("my-env", BUILT)),
        ("Building wheels for collected packages: my-env", None),
        ("Collecting git+https://x.org/y.git", None),
        ("Processing /home/me/my-env", None),
        ("Installing collected packages: numpy", None),
        ("Collecting", None),
        ("ERROR: No matching distribution found for x", None),
        ("", None),
    ],
)
def test_progress_of_a_package_is_read_from_what_pip_says(line: str, expected: tuple[str, str] | None) -> None:
    assert read_progress(line) == expected


def test_packages_are_listed_by_the_interpreter_itself() -> None:
    found = list_packages(Path(sys.executable))
    assert found["numpy"]
    assert "pip" not in found


@pytest.mark.parametrize(
    "name", ["", "two words", "../up", "a/b", "-x", "1st", "é", "con", "COM1", "a" * 41, ".hidden", "x\n"]
)
def test_a_name_is_one_word_that_is_a_folder_everywhere(name: str) -> None:
    with pytest.raises(ConfigurationError, match="one word"):
        check_name(name)
    assert find_installed(name) is None


@posix
def test_a_finished_installation_is_found_by_its_name(data: Path) -> None:
    python = made("old")
    assert find_interpreter("old") == str(python)
    (found,), unfinished = list_installed()
    assert (found.name, found.python, found.packages["numpy"], unfinished) == ("old", "3.9.1", "1.26.4", [])


@posix
def test_what_was_not_finished_is_never_used_and_goes_with_the_next_installation(data: Path) -> None:
    made("half", finished=False)
    made("whole")
    with pytest.raises(ConfigurationError, match="`tandem install --remove half`"):
        find_interpreter("half")
    assert list_installed()[1] == ["half"]
    assert remove_unfinished() == ["half"]
    assert not (installed_folder() / "half").exists()
    assert read_installed("whole") is not None


@posix
def test_what_pip_has_started_ends_with_it(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    noted = tmp_path / "compiler"
    python.write_text(f"#!/bin/sh\necho Collecting six\nsleep 600 &\necho $! > {noted}\nwait\n")
    python.chmod(0o755)

    def interrupt(name: str, stage: str) -> None:
        while not noted.exists() or not noted.read_text().strip():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with (tmp_path / "log").open("wb") as log, pytest.raises(KeyboardInterrupt):
        # Its output is held open by what it started: this returns because that has ended.
        run_pip(python, ["six"], files=[], wheels=None, log=log, tell=interrupt)
    assert b"Collecting six" in (tmp_path / "log").read_bytes()


@posix
@pytest.mark.parametrize("stamp", ["", "{", "[]", "{}", '{"python": "3", "packages": 1, "requirements": []}'])
def test_a_damaged_stamp_is_none(data: Path, stamp: str) -> None:
    made("old")
    (installed_folder() / "old" / STAMP).write_text(stamp)
    assert read_installed("old") is None


@posix
def test_one_whose_base_python_is_gone_is_told(data: Path) -> None:
    python = made("old")
    python.unlink()
    python.symlink_to(data / "gone")
    with pytest.raises(ConfigurationError, match="whose base Python is still there"):
        find_interpreter("old")


@posix
def test_what_another_process_makes_right_now_is_left_alone(data: Path) -> None:
    made("half", finished=False)
    code = (
        "import sys; from p2pclient.envhost.installed import *\nwith locked('half'): print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env={**os.environ, "PYTHONPATH": str(ROOT)}) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"held"
        assert remove_unfinished() == []
        with pytest.raises(ConfigurationError, match="no other `tandem install`"):
            remove_installed("half")
        other.kill()
    assert remove_unfinished() == ["half"]


@posix
def test_removing_takes_the_folder_and_the_log(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made("old")
    log_of("old").write_text("words")
    assert main(["install", "--list"]) == 0
    assert "1.26.4" in capsys.readouterr().out
    assert main(["install", "--remove", "old"]) == 0
    assert list_installed() == ([], [])
    assert not log_of("old").exists()
    assert main(["install", "--remove", "old"]) == 1
    assert "none is installed" in capsys.readouterr().err


@posix
@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["old"], "requirements"),
        (["old", "--requirements", "no-such-file"], "--requirements"),
        (["old", "six", "--wheels", "no-such-folder"], "--wheels"),
        (["old", ""], "requirement"),
        (["old", "six", "--python", "no-such-python"], "no-such-python"),
        (["two words", "six"], "one word"),
        (["taken", "six"], "--remove taken"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_made(
    data: Path, words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made("taken")
    assert main(["install", *words]) == 1
    assert part in capsys.readouterr().err
    assert [each.name for each in list_installed()[0]] == ["taken"]
    assert list_installed()[1] == []


@posix
def test_a_failed_installation_says_why_and_leaves_nothing_but_its_log(data: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    done = tandem_install("old", "no-such-package", "--wheels", str(wheels), data=data)
    assert done.returncode == 1
    assert "old was not installed" in done.stderr
    assert "no-such-package: the folder of wheels must have it" in done.stderr
    assert "Traceback" not in done.stderr
    assert list_installed() == ([], [])
    assert "no-such-package" in log_of("old").read_text()


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_installation_leaves_nothing_that_is_used(number: int, data: Path) -> None:
    with contextlib.closing(_Deaf()) as index:
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(data)}
        for name in [name for name in variables if name.startswith("PIP_")]:
            del variables[name]
        variables.update(PIP_CONFIG_FILE=os.devnull, PIP_INDEX_URL=index.url, PIP_RETRIES="0")
        command = [sys.executable, "-P", "-m", "p2pclient.cli", "install", "old", "six"]
        process = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, start_new_session=True)
        index.wait_for_a_call()  # pip runs, and waits for an answer
        assert find_names() == {"old"}
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        assert process.returncode not in (0, 1)
        assert b"Traceback" not in errors
        if number == signal.SIGKILL:
            assert read_installed("old") is None
            os.killpg(process.pid, signal.SIGKILL)  # its pip; a closed terminal would end it
            assert remove_unfinished() == ["old"]
        assert find_names() == set()
        with pytest.raises(ProcessLookupError):
            wait_for_the_end_of_group(process.pid)


def find_names() -> set[str]:
    return {path.name for path in installed_folder().iterdir() if path.is_dir()}


def wait_for_the_end_of_group(pid: int) -> None:
    """Raises ProcessLookupError when nothing of it is left."""
    for _ in range(200):
        os.killpg(pid, 0)
        time.sleep(0.05)


class _Deaf:
    """A package index that takes calls and never answers."""

    def __init__(self) -> None:
        import socket

        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(180)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._called: list[socket.socket] = []

    def wait_for_a_call(self) -> None:
        self._called.append(self._socket.accept()[0])

    def close(self) -> None:
        for each in [*self._called, self._socket]:
            each.close()


@posix
def test_the_stamp_says_what_was_asked_for_and_what_came(data: Path) -> None:
    made("old")
    stamp = json.loads((installed_folder() / "old" / STAMP).read_text())
    assert stamp["requirements"] == ["six"]
    assert read_installed("old") is not None
    with locked("old"):
        pass
