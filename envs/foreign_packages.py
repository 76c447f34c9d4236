"""Other people's packages: imported, never downloaded; what is missing is said with the command that installs it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import warnings
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional

from p2pclient.common.errors import ConfigurationError, EnvHostError, TandemError

_EXTRAS = {
    "Box2D": "gymnasium[box2d]",
    "mujoco": "gymnasium[mujoco]",
    "ale_py": "ale-py",
    "jax": "gymnasium[jax]",
    "pygame": "pygame-ce",
    "multi_agent_ale_py": "multi_agent_ale_py",
    "pyspiel": "open_spiel",
    "cv2": "opencv-python",
    "skimage": "scikit-image",
    "PIL": "pillow",
    "yaml": "pyyaml",
}
"""What is to be installed for a module, where that has another name."""
_ZOO_FAMILIES = ("atari", "butterfly", "classic", "sisl")
"""PettingZoo's extras: all that a family needs."""


def install_hint(name: str, module: str, *, what: Optional[str] = None) -> str:
    """Return the sentence that says which package an environment lacks, and the command that installs it.

    Args:
        name: of the environment, such as ``pettingzoo:butterfly/pistonball_v6``.
        module: what could not be imported; empty if that is not known.
        what: what is missing, if it is not simply that package.
    """
    family, _, own = name.partition(":")
    package = module.partition(".")[0]
    wanted = _EXTRAS.get(package, package)
    if family == "pettingzoo" and own.partition("/")[0] in _ZOO_FAMILIES:
        wanted = f"pettingzoo[{own.partition('/')[0]}]"
    missing = what or (f"the package {package}" if package else "a package")
    command = [sys.executable, "-m", "pip", "install", wanted or name.partition(":")[0]]
    shown = subprocess.list2cmdline(command) if os.name == "nt" else " ".join(_quoted(part) for part in command)
    return f"{name} needs {missing}, which the environment's Python does not have; install it there: {shown}"


def _quoted(part: str) -> str:
    import shlex

    return f'"{part}"' if "[" in part else shlex.quote(part)


@contextmanager
def telling(name: str, args: Dict[str, Any]) -> Iterator[None]:
    """Turn what is raised while an environment is made into a sentence.

    Args:
        name: as in :func:`install_hint`.
        args: given by the person or the server.

    Raises:
        ConfigurationError: it does not take these arguments.
        EnvHostError: a package is missing.
    """
    try:
        yield
    except TandemError:
        raise
    except TypeError as error:
        own = name.partition(":")[2] or name
        raise ConfigurationError(f"arguments of {own}", args, f"those that it takes ({error})") from error
    except Exception as error:
        missing = missing_module(error)
        if missing is None:
            raise
        raise EnvHostError(install_hint(name, missing)) from error


def missing_module(error: BaseException) -> Optional[str]:
    """Return the module that could not be found; empty if it is not known which, None if something else is wrong."""
    at: Optional[BaseException] = error
    for _ in range(20):
        if at is None:
            return "" if type(error).__name__ == "DependencyNotInstalled" else None
        if isinstance(at, ModuleNotFoundError):
            return at.name or ""
        at = at.__cause__ or at.__context__
    return None


def import_family(name: str, package: str, module: str) -> Any:
    """Import a module of a package of environments.

    Raises:
        ConfigurationError: the package has none of that name.
        EnvHostError: something that it needs is not installed.
    """
    with telling(name, {}), warnings.catch_warnings():
        # That the modules' functions are the older way to PettingZoo's environments is nothing for who plays them.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return importlib.import_module(f"{package}.{module}")
        except ModuleNotFoundError as error:
            if (error.name or "").startswith(f"{package}."):
                shown = f"one that the installed {package} has ({error})"
                raise ConfigurationError("environment", name, shown) from error
            raise


def register_atari(name: str) -> None:
    """Let Gymnasium know Atari's games; they are registered only when their package is imported.

    Raises:
        EnvHostError: it is not installed.
    """
    import gymnasium

    with telling(name, {}):
        gymnasium.register_envs(importlib.import_module("ale_py"))


def rom_folder(name: str) -> str:
    """Return the folder of Atari's games, which come with ``ale-py``: nothing is downloaded.

    Raises:
        EnvHostError: it is not installed.
    """
    found = importlib.util.find_spec("ale_py")
    if found is None or not found.submodule_search_locations:
        raise EnvHostError(install_hint(name, "ale_py", what="the games that come with the package ale_py"))
    return os.path.join(next(iter(found.submodule_search_locations)), "roms")
