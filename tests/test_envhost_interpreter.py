"""Which Python a person means for the environment, and what is said of one under which no host can run."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from envs.keeping import _is_shared_type
from envs.walk_forms import type_name
from p2pclient.cli.main import make_parser
from p2pclient.common.errors import ConfigurationError
from p2pclient.envhost.blocking import BlockingEnvHost
from p2pclient.envhost.interpreter import (
    Interpreter,
    ask_interpreter,
    check_interpreter,
    find_interpreter,
    use_interpreter,
)
from p2pclient.envhost.process import HostSpec
from p2pclient.settings.process_flags import process_options, process_words

posix = pytest.mark.skipif(sys.platform == "win32", reason="a script is no program on Windows")


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_this_python_is_found_by_its_path_and_describes_itself() -> None:
    found = use_interpreter(sys.executable)
    assert found.path == sys.executable
    assert found.version_text == platform.python_version()
    assert (found.kind, found.bits) == ("CPython", 64)
    assert found.numpy is not None


def test_a_command_is_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(sys.executable)
    monkeypatch.setenv("PATH", str(here.parent))
    assert find_interpreter(here.name) == str(here)


def test_links_are_not_followed_because_a_virtual_environments_python_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (python,) = [path for path in (folder / "bin/python", folder / "Scripts/python.exe") if path.exists()]
    assert find_interpreter(str(python)) == str(python)
    with pytest.raises(
        ConfigurationError, match=r"a Python with NumPy; CPython [\d.]+ has none; install it with .*made"
    ):
        use_interpreter(str(python))
    with pytest.raises(ConfigurationError, match=r"not a folder; perhaps .*python"):
        find_interpreter(str(folder))


def test_the_question_is_answered_without_modules_of_the_folder_in_which_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("__version__ = 'somebody else'\n")
    (tmp_path / "json.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = ask_interpreter(sys.executable)
    assert found.numpy is not None
    assert found.numpy != "somebody else"


@pytest.mark.parametrize(("named", "part"), [("no/such/python", "no such thing"), ("nosuchcommand", "no such thing")])
def test_what_is_not_there_is_told(named: str, part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        find_interpreter(named)


@posix
def test_what_is_no_program_or_no_python_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("words")
    with pytest.raises(ConfigurationError, match="may not be"):
        find_interpreter(str(tmp_path / "text"))
    with pytest.raises(ConfigurationError, match="this is none, or a broken one: it said 'library is missing'"):
        ask_interpreter(script(tmp_path / "broken", "echo library is missing >&2; exit 1"))
    with pytest.raises(ConfigurationError, match=r"this is none, or a broken one$"):
        ask_interpreter(script(tmp_path / "echo", 'echo "$@"'))
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(200))
    foreign.chmod(0o755)
    with pytest.raises(ConfigurationError, match="another kind of machine"):
        ask_interpreter(str(foreign))


@posix
def test_an_answer_of_another_shape_is_no_answer(tmp_path: Path) -> None:
    for answer in ("[]", '{"version": 3}', "{", '{"version": [3, 9, 1]}'):
        with pytest.raises(ConfigurationError, match="none, or a broken one"):
            ask_interpreter(script(tmp_path / "odd", f"echo 'tandem-interpreter:{answer}'"))


@posix
def test_what_an_old_python_says_is_understood(tmp_path: Path) -> None:
    said = {"version": [2, 7, 18], "kind": "CPython", "bits": 64, "platform": "linux-x86_64", "numpy": None, "why": ""}
    said["machine"] = platform.machine()
    python = script(tmp_path / "python2", f"echo 'tandem-interpreter:{json.dumps(said)}'")
    with pytest.raises(ConfigurationError, match=r"Python 3\.8 or newer; this is CPython 2\.7\.18"):
        use_interpreter(python)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"version": (3, 7, 16)}, r"Python 3\.8 or newer; this is CPython 3\.7\.16"),
        ({"kind": "PyPy"}, r"CPython; this is PyPy"),
        ({"bits": 32}, r"64-bit Python; this is .* with 32 bits"),
        ({"machine": "sparc"}, r"a Python for \w+, as this program's; this is .* for sparc"),
        ({"numpy": None}, r"a Python with NumPy; .* has none"),
        ({"numpy": None, "why_no_numpy": "no AVX"}, r"the NumPy of .* fails: no AVX"),
    ],
)
def test_a_python_under_which_no_host_can_run_is_refused_with_the_reason(change: dict[str, object], part: str) -> None:
    good = ask_interpreter(sys.executable)
    check_interpreter(good)
    bad: Interpreter = replace(good, **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=part):
        check_interpreter(bad)


@pytest.mark.parametrize("command", [["join", "URL"], ["play"], ["watch", "URL"], ["check", "E"], ["demo"]])
def test_every_command_that_starts_a_host_takes_the_flags_and_hands_them_on(command: list[str]) -> None:
    flags = [f"--env-python={sys.executable}", "--env-memory=900", "--env-load-timeout=3.5", "--env-reset-timeout=9.0"]
    arguments = make_parser(command[0]).parse_args([*command, *flags])
    assert process_options(arguments) == {
        "python": sys.executable,
        "memory_mb": 900,
        "init_timeout": 3.5,
        "reset_timeout": 9.0,
    }
    assert process_words(arguments) == tuple(flags)
    bare = make_parser(command[0]).parse_args(command)
    assert (process_options(bare), process_words(bare)) == ({}, ())


@pytest.mark.parametrize("flag", ["--env-memory=63", "--env-load-timeout=0", "--env-reset-timeout=-1"])
def test_values_out_of_range_are_refused_by_the_name_of_their_flag(flag: str) -> None:
    arguments = make_parser("play").parse_args(["play", flag])
    with pytest.raises(ConfigurationError, match=flag.partition("=")[0]):
        process_options(arguments)


def test_what_has_no_process_of_its_own_is_not_held_to_anything() -> None:
    for flag in (f"--env-python={sys.executable}", "--env-memory=900"):
        arguments = make_parser("play").parse_args(["play", "--env-inline", flag])
        with pytest.raises(ConfigurationError, match="no process of its own"):
            process_options(arguments)


def test_two_hosts_of_unlike_interpreters_work_side_by_side(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(folder)], check=True)
    (other,) = [path for path in (folder / "bin/python", folder / "Scripts/python.exe") if path.exists()]
    import numpy

    (site,) = [*folder.glob("lib/python*/site-packages"), *folder.glob("Lib/site-packages")]
    (site / "numpy.pth").write_text(str(Path(numpy.__file__).parent.parent))
    spec = HostSpec("test:counter_v0")
    with BlockingEnvHost(spec) as ours, BlockingEnvHost(replace(spec, python=str(other))) as theirs:
        assert ours.pid != theirs.pid
        for host in (ours, theirs):
            host.run([["reset", 3]])
        steps = [["step", 0, [b"\x01", b"\x02"]], ["compute_hash"]]
        assert ours.run(steps).results == theirs.run(steps).results
        assert ours.ready["machine"] == theirs.ready["machine"]


def test_types_that_name_no_module_are_walked_and_copied_as_in_numpy_2_2() -> None:
    """Functions that Cython 3.1 made, of which NumPy 2.2's generators have some, have a descriptor there."""
    kind = type("cython_function_or_method", (), {})
    kind.__module__ = property(lambda self: "numpy.random")  # type: ignore[assignment]
    assert not isinstance(kind.__module__, str)
    assert type_name(kind) == "cython_function_or_method"
    assert not _is_shared_type(kind)
