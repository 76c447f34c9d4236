"""Pythons that ``tandem install`` made for environments: where they are, which are finished, how one is removed.

Each is a virtual environment in a folder of its own, built in place, because scripts in it hold its path. A stamp is
written last; without one the folder is what an interrupted installation left, is never used, and is removed by the next
installation. A lock, which ends with the process that holds it, tells it from one that is being made.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from p2pclient.common.errors import ConfigurationError

STAMP = "tandem-install.json"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
"""Names that Windows keeps for itself."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One finished installation."""

    name: str
    folder: Path
    python: str
    """Version."""
    packages: Mapping[str, str]
    """Version by name, as installed."""
    requirements: tuple[str, ...]
    """What was asked for."""


def installed_folder() -> Path:
    """Return the folder that holds them all; it need not exist."""
    return Path(platformdirs.user_data_dir("tandem", appauthor=False)) / "envs"


def check_name(name: str) -> str:
    """Return ``name``. Raises ConfigurationError if it is not one word that is a folder's name on every system."""
    if not _NAME.fullmatch(name) or _DEVICES.fullmatch(name):
        raise ConfigurationError("name", name, "one word: a letter, then letters, digits, - and _, up to 40")
    return name


def python_in(folder: Path) -> Path:
    """Return the path of a virtual environment's interpreter."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def log_of(name: str) -> Path:
    """Return the path of what was said while it was installed; beside its folder, so that it outlives a failure."""
    return installed_folder() / f"{name}.log"


def find_installed(name: str) -> str | None:
    """Return the path of the interpreter of that name; None if there is no such name.

    Raises:
        ConfigurationError: it was not finished, or is broken.
    """
    if not _NAME.fullmatch(name) or not (installed_folder() / name).is_dir():
        return None
    folder = installed_folder() / name
    again = f"remove it with `tandem install --remove {name}`, and install it again"
    if read_installed(name) is None:
        raise ConfigurationError("installed Python", name, f"one whose installation was finished; {again}")
    if not python_in(folder).exists():
        raise ConfigurationError("installed Python", name, f"one whose base Python is still there; {again}")
    return str(python_in(folder))


def read_installed(name: str) -> Installed | None:
    """Return what the stamp says; None if there is none: it is not there, or not finished."""
    folder = installed_folder() / name
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return Installed(name, folder, stamp["python"], dict(stamp["packages"]), tuple(stamp["requirements"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def list_installed() -> tuple[list[Installed], list[str]]:
    """Return those that are finished, and the names of those that are not, both in alphabetical order."""
    try:
        names = sorted(path.name for path in installed_folder().iterdir() if path.is_dir())
    except OSError:
        return [], []
    found = {name: read_installed(name) for name in names}
    return [each for each in found.values() if each is not None], [name for name in names if found[name] is None]


def write_stamp(name: str, stamp: Mapping[str, Any]) -> None:
    """Declare the installation finished."""
    path = installed_folder() / name / STAMP
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, path)


def remove_installed(name: str) -> None:
    """Remove one, finished or not, with its log.

    Raises:
        ConfigurationError: there is none, it is being made, or it cannot be removed.
    """
    check_name(name)
    if not (installed_folder() / name).exists():
        known = ", ".join([each.name for each in list_installed()[0]]) or "none is installed"
        raise ConfigurationError("name", name, known)
    with locked(name):
        _remove_folder(name)
        log_of(name).unlink(missing_ok=True)


def remove_unfinished() -> list[str]:
    """Remove what interrupted installations have left, but what is being made right now; returns their names."""
    removed = []
    for name in list_installed()[1]:
        if not _NAME.fullmatch(name):
            continue  # not ours
        with contextlib.suppress(ConfigurationError), locked(name):
            if read_installed(name) is None:
                _remove_folder(name)
                removed.append(name)
    return removed


def _remove_folder(name: str) -> None:
    folder = installed_folder() / name
    (folder / STAMP).unlink(missing_ok=True)  # first: what is half removed is not used
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        allowed = f"one that no program uses ({error.filename}: {error.strerror}); end the games that run under it"
        raise ConfigurationError("installed Python to remove", name, allowed) from error


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of a name while it is made or removed; it ends with this process, however that ends.

    Raises:
        ConfigurationError: another process has it.
    """
    installed_folder().mkdir(parents=True, exist_ok=True)
    with (installed_folder() / f".{name}.lock").open("a+b") as file:
        if not _try_lock(file.fileno()):
            raise ConfigurationError("name", name, "one that no other `tandem install` is working on right now")
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # what flock raises, and what Windows does
        return False
    return True
