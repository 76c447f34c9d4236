"""Makes a virtual environment, and has its pip install into it while a person can see which package is where.

What pip prints is read for progress only. Which packages are there at last, and in which versions, is asked of the new
interpreter itself; and that one is installed is seen by the record that every installer writes last.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from p2pclient.common.errors import TandemError

COLLECTED, DOWNLOADED, BUILT, INSTALLED = "collected", "downloaded", "built", "installed"
"""How far a package is, in order; what comes from a wheel of this machine is never downloaded nor built."""
_ORDER = (COLLECTED, DOWNLOADED, BUILT, INSTALLED)

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_SUFFIXES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz")
_VERBS = {"Collecting": COLLECTED, "Processing": COLLECTED, "Downloading": DOWNLOADED, "Using cached": DOWNLOADED}
_NETWORK = (
    "Connection",
    "NewConnectionError",
    "Temporary failure",
    "timed out",
    "Network is unreachable",
    "ProxyError",
)
_LOOK_SECONDS = 0.2

PACKAGES = """
import json, sys
try:
    from importlib.metadata import distributions
    found = {each.metadata["Name"]: each.version for each in distributions() if each.metadata["Name"]}
except ImportError:
    import pkg_resources
    found = {each.project_name: each.version for each in pkg_resources.working_set}
print(json.dumps(found))
"""

OnPackage = Callable[[str, str], None]
"""Told that a package (its name in small letters with hyphens) has got so far."""


class InstallFailed(TandemError):
    """An installation could not be finished; the message says why, and where the log is."""


def plain_name(name: str) -> str:
    """Return a package's name as all spellings of it have it in common."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_progress(line: str) -> tuple[str, str] | None:
    """Return the package that a line of pip's output is about, and how far it is; None if it is about neither."""
    text = line.strip()
    if text.startswith("Building wheel for ") or text.startswith("Building wheels for"):
        found = _NAME.match(text[len("Building wheel for ") :]) if text.startswith("Building wheel for ") else None
        return (plain_name(found.group()), BUILT) if found else None
    for verb, stage in _VERBS.items():
        if text.startswith(verb + " "):
            name = _package_in(text[len(verb) + 1 :])
            return (name, stage) if name else None
    return None


def _package_in(words: str) -> str | None:
    """Return the package in what follows the verb: a requirement, or the path or address of a file."""
    what = words.split(" ")[0]
    if what.endswith(".metadata"):  # its description only
        return None
    file = re.split(r"[/\\]", what.partition("#")[0])[-1]
    if file.endswith(_SUFFIXES):
        stem = next(file[: -len(suffix)] for suffix in _SUFFIXES if file.endswith(suffix))
        name = stem.partition("-")[0] if file.endswith(".whl") else stem.rpartition("-")[0]
        return plain_name(name) if name else None
    found = _NAME.match(what)
    return plain_name(found.group()) if found and "://" not in what and not re.match(r"[/\\.]|\w:\\", what) else None


def make_environment_folder(base: str, folder: Path, log: IO[bytes]) -> None:
    """Make an empty virtual environment of the Python ``base`` in ``folder``.

    Raises:
        InstallFailed: it could not be made.
    """
    command = [base, "-I", "-m", "venv", str(folder)]
    made = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    log.write(made.stdout)
    if made.returncode:
        words = made.stdout.decode("utf-8", "replace")
        if "ensurepip" in words or "No module named venv" in words:
            advice = (
                "Debian and Ubuntu have that in python3-venv (or python3.9-venv, and so on); or name another Python"
            )
            raise InstallFailed(f"{base} cannot make virtual environments. {advice} with --python PATH.")
        raise InstallFailed(f"{base} could not make a virtual environment: {_last_line(words)}")


def run_pip(
    python: Path,
    requirements: Sequence[str],
    *,
    files: Sequence[Path],
    wheels: Path | None,
    log: IO[bytes],
    tell: OnPackage,
) -> None:
    """Install into the environment of ``python`` with its own pip.

    Args:
        files: further requirements, one in a line.
        wheels: a folder from which alone everything is taken; None leaves the index to pip's own settings.
        log: all that pip says, in full.
        tell: told in this thread how far which package is.

    Raises:
        InstallFailed: pip failed.
    """
    command = [str(python), "-I", "-u", "-m", "pip", "install", "--progress-bar", "off", "--no-color"]
    if wheels is not None:
        command += ["--no-index", "--find-links", str(wheels)]
    for file in files:
        command += ["-r", str(file)]
    command += ["--", *requirements]
    pip = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_settings(os.environ, offline=wheels is not None),
    )
    lines: list[str] = []
    reader = threading.Thread(target=_read, args=(pip.stdout, log, lines), name="pip", daemon=True)
    reader.start()
    try:
        _follow(python, pip, lines, tell)
    finally:
        if pip.poll() is None:
            _end(pip)
        pip.wait()
        reader.join()
        if pip.stdout is not None:
            pip.stdout.close()
    if pip.returncode:
        raise InstallFailed(_explain(lines, offline=wheels is not None))


def _end(pip: subprocess.Popen[bytes]) -> None:
    """End pip, and what it started, compilers above all: that would go on, and hold our end of the output open."""
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):  # it ended a moment ago
        below = psutil.Process(pip.pid).children(recursive=True)
    pip.kill()
    for process in below:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _settings(base: Mapping[str, str], *, offline: bool) -> dict[str, str]:
    """Return the variables of pip: the person's own, but for those that lead out of the environment.

    With a wheel folder, none of theirs hold: nothing may come from anywhere else.
    """
    banned = ("PIP_",) if offline else ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_REPORT")
    kept = {name: value for name, value in base.items() if not name.upper().startswith(banned)}
    kept.update(PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    if offline:
        kept["PIP_CONFIG_FILE"] = os.devnull
    return kept


def _read(output: IO[bytes] | None, log: IO[bytes], lines: list[str]) -> None:
    assert output is not None
    for raw in output:
        log.write(raw)
        lines.append(raw.decode("utf-8", "replace").rstrip())


def _follow(python: Path, pip: subprocess.Popen[bytes], lines: Sequence[str], tell: OnPackage) -> None:
    """Tell of each package how far it is until pip has ended."""
    stages: dict[str, int] = {}

    def note(name: str, stage: str) -> None:
        if _ORDER.index(stage) > stages.get(name, -1):
            stages[name] = _ORDER.index(stage)
            tell(name, stage)

    before = {record.parent for record in _records(python)}
    done = 0
    while True:
        has_ended = pip.poll() is not None
        for line in lines[done:]:
            done += 1
            found = read_progress(line)
            if found is not None:
                note(*found)
        for record in _records(python):
            if record.parent not in before:
                note(plain_name(record.parent.name.partition("-")[0]), INSTALLED)
        if has_ended:
            return
        time.sleep(_LOOK_SECONDS)


def _records(python: Path) -> list[Path]:
    """Return what stands for each installed package: written last (PEP 376)."""
    root = python.parent.parent
    return [
        *root.glob("lib/python*/site-packages/*.dist-info/RECORD"),
        *root.glob("Lib/site-packages/*.dist-info/RECORD"),
    ]


def _explain(lines: Sequence[str], *, offline: bool) -> str:
    """Return what to do about a failure of pip, from what it said."""
    text = "\n".join(lines)
    errors = [line.partition("ERROR: ")[2] for line in lines if line.startswith("ERROR: ")]
    if "No space left on device" in text or "not enough space on the disk" in text:
        return "The disk is full."
    missing = [line for line in errors if line.startswith("No matching distribution")]
    if missing and offline:
        return f"{missing[-1]}: the folder of wheels must have it, for this system and this Python."
    if any(word in line for line in lines for word in _NETWORK):
        return "pip cannot reach the package index. Check the network, or give a folder of wheels with --wheels FOLDER."
    return f"pip failed: {(errors or [_last_line(text)])[-1]}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def list_packages(python: Path) -> dict[str, str]:
    """Return the versions of what is installed under ``python``, by name, but for what every environment has.

    Raises:
        InstallFailed: it does not answer.
    """
    answer = subprocess.run([str(python), "-I", "-c", PACKAGES], stdin=subprocess.DEVNULL, capture_output=True)
    try:
        found: dict[str, str] = json.loads(answer.stdout)
    except ValueError as error:
        raise InstallFailed(f"{python} does not say what is installed: {answer.stderr.decode()[-300:]}") from error
    ordered = sorted(found.items(), key=lambda item: item[0].lower())
    return {name: version for name, version in ordered if name.lower() not in ("pip", "setuptools", "wheel")}


def has_own_python() -> bool:
    """Can this program's own interpreter make virtual environments; not if it was packed into one file."""
    return not getattr(sys, "frozen", False) and bool(sys.executable)
