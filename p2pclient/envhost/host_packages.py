"""Makes sure that ``envs`` and ``p2pclient`` in the host are this program's, and tells of packages that they hide."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import List, Optional, Sequence

from p2pclient.common.errors import ConfigurationError

OWN_NAMES = ("envs", "p2pclient")
COMMON_NAMES = ("envs", "signaling")
"""Names of this program's packages that other people's folders have too."""


def check_packages(folder: str, search_path: Sequence[str]) -> None:
    """Refuse to run beside a second package of one of our names.

    Args:
        folder: where this program's host-side code is.
        search_path: ``sys.path``.

    Raises:
        ConfigurationError: a name resolves outside of ``folder``, or another folder on the path has it too, so that
            an environment's own ``import envs`` would get ours. Both paths are in the message.
    """
    for name in OWN_NAMES:
        found = _origin(name)
        if found is None or not _is_inside(found, folder):
            raise _refusal(name, os.path.join(folder, name), str(found))
    for name in COMMON_NAMES:
        for entry in search_path:
            other = _package_at(entry, name)
            if other is not None and not _is_inside(other, folder) and not _is_this_program(entry):
                raise _refusal(name, os.path.join(folder, name), other)


def _refusal(name: str, ours: str, other: str) -> ConfigurationError:
    allowed = f"only {ours}; rename the other one or take it off the path of {sys.executable}"
    return ConfigurationError(f"package {name!r}", other, allowed)


def _origin(name: str) -> Optional[str]:
    module = sys.modules.get(name)
    if module is not None:
        paths: List[str] = list(getattr(module, "__path__", []))
        return getattr(module, "__file__", None) or (paths[0] if paths else None)
    spec = importlib.util.find_spec(name)
    return spec.origin if spec is not None else None


def _is_inside(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


def _package_at(entry: str, name: str) -> Optional[str]:
    """Return the file or folder that ``import name`` would find in ``entry``, if any."""
    if os.path.isfile(os.path.join(entry, name + ".py")):
        return os.path.join(entry, name + ".py")
    folder = os.path.join(entry, name)
    try:
        has_code = any(file.endswith(".py") for file in os.listdir(folder))
    except OSError:
        return None
    return folder if has_code else None


def _is_this_program(entry: str) -> bool:
    """True for an installed or checked out copy of this program, which our folder hides on purpose."""
    return os.path.isfile(os.path.join(entry, "p2pclient", "envhost", "host_packages.py"))
