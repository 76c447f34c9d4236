"""Another Python for the environment: which one is meant, and whether a host can run under it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from p2pclient.common.errors import ConfigurationError
from p2pclient.envhost.installed import find_installed
from p2pclient.envhost.surroundings import make_environment

OLDEST = (3, 8)
"""Host-side code keeps to its syntax."""

_SETTING = "Python of the environment"
_SECONDS = 60.0
"""For its first start from a cold disk; then it takes a fraction of a second."""

_MARK = "tandem-interpreter:"
_QUESTION = f"""
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import json, platform, struct, sysconfig
try:
    import numpy
    found, why = numpy.__version__, ""
except ImportError as error:
    found, why = None, "" if str(error).startswith("No module named") else str(error)
except Exception as error:
    found, why = None, str(error)
print({_MARK!r} + json.dumps({{
    "version": list(sys.version_info[:3]), "kind": platform.python_implementation(), "bits": struct.calcsize("P") * 8,
    "machine": platform.machine(), "platform": sysconfig.get_platform(), "numpy": found, "why": why}}))
"""
"""Also runs under Python 2, so that it can be told how old it is. Its folder is off the path, as it is for a host."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python as it described itself."""

    path: str
    version: tuple[int, int, int]
    kind: str
    """``CPython`` or another implementation."""
    bits: int
    machine: str
    numpy: str | None
    why_no_numpy: str
    """Why NumPy cannot be imported; empty if it is not there."""

    @property
    def version_text(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version))


def find_interpreter(named: str) -> str:
    """Return the path of the interpreter that a person named.

    Args:
        named: a name of ``tandem install``, a command such as ``python3.9``, or a path.

    Raises:
        ConfigurationError: there is none, or it cannot be run; the message says what is there instead.
    """
    is_path = os.sep in named or bool(os.altsep and os.altsep in named)
    if not is_path:
        found = find_installed(named) or shutil.which(named)
        if found is not None:
            return os.path.abspath(found)
    path = Path(named).expanduser()
    if path.is_dir():
        raise ConfigurationError(_SETTING, named, f"a program, not a folder{_inside(path)}")
    if not path.exists():
        allowed = "the path of one, a command, or a name that `tandem install --list` shows"
        raise ConfigurationError(_SETTING, named, f"{allowed}; there is no such thing here")
    if not os.access(path, os.X_OK):
        raise ConfigurationError(_SETTING, named, "a program that may be executed; this file may not be")
    return os.path.abspath(path)  # links are not followed: a virtual environment's Python is one


def _inside(folder: Path) -> str:
    for name in ("bin/python", "Scripts/python.exe", "python.exe"):
        if (folder / name).exists():
            return f"; perhaps {folder / name}"
    return ""


def ask_interpreter(path: str) -> Interpreter:
    """Start the interpreter as a host would be and return what it says of itself. Takes a fraction of a second.

    Raises:
        ConfigurationError: it does not start, or is no Python.
    """
    try:
        answer = subprocess.run(
            [path, "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=make_environment(os.environ, pin_cpu=True),
            timeout=_SECONDS,
            check=False,
        )
    except OSError as error:
        reason = f"{error.strerror or error}; it may be for another kind of machine"
        raise ConfigurationError(_SETTING, path, f"a Python that starts here ({reason})") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(_SETTING, path, f"a Python; this gave no answer within {_SECONDS:g} s") from error
    text = answer.stdout.decode("utf-8", "replace")
    try:
        said = json.loads(text.partition(_MARK)[2].partition("\n")[0])
        return Interpreter(
            path=path,
            version=tuple(said["version"]),
            kind=said["kind"],
            bits=said["bits"],
            machine=_architecture(said["machine"], said["platform"]),
            numpy=said["numpy"],
            why_no_numpy=said["why"],
        )
    except (ValueError, KeyError, TypeError) as error:
        words = text.strip().splitlines() if "import sys" not in text else []  # it repeats our question: no Python
        said_last = f": it said {words[-1][:200]!r}" if words else ""
        raise ConfigurationError(_SETTING, path, f"a Python; this is none, or a broken one{said_last}") from error


def check_interpreter(found: Interpreter, *, needs_numpy: bool = True) -> None:
    """Make sure that a host can run under it.

    Raises:
        ConfigurationError: it is too old, of another kind, for other processors, or has no NumPy.
    """
    what = f"{found.kind} {found.version_text}"
    if found.version < OLDEST:
        raise _refusal(found, f"Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {what}")
    if found.kind != "CPython":
        raise _refusal(found, f"CPython; this is {what}")
    if found.bits != 64:
        raise _refusal(found, f"a 64-bit Python; this is {what} with {found.bits} bits")
    ours = _architecture(platform.machine(), sysconfig.get_platform())
    if found.machine != ours:
        raise _refusal(found, f"a Python for {ours}, as this program's; this is {what} for {found.machine}")
    if needs_numpy and found.numpy is None:
        trouble = f"the NumPy of {what} fails: {found.why_no_numpy}" if found.why_no_numpy else f"{what} has none"
        raise _refusal(found, f"a Python with NumPy; {trouble}; install it with {found.path} -m pip install numpy")


def use_interpreter(named: str) -> Interpreter:
    """Return the interpreter that a person named for the environment's host, once it is known to be fit.

    Raises:
        ConfigurationError: it is not; one sentence that says why.
    """
    found = ask_interpreter(find_interpreter(named))
    check_interpreter(found)
    return found


def _refusal(found: Interpreter, allowed: str) -> ConfigurationError:
    return ConfigurationError(_SETTING, found.path, allowed)


def _architecture(machine: str, build: str) -> str:
    """Return what an interpreter was built for, by one name on all systems.

    On Windows the machine's own name says nothing: programs for other processors run there in an emulator.
    """
    name = build.rpartition("-")[2] if sys.platform == "win32" else machine
    return {"amd64": "x86_64", "aarch64": "arm64"}.get(name.lower(), name.lower())
