"""New code without a new process: which modules are the person's own, and how they are imported afresh.

Own is what lies in the folder in which the person started the program, apart from what is installed there: the
environment that is being written, and the hook of the study. Everything else stays loaded, which is what makes this
quick.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Optional, Tuple

from p2pclient.common.errors import EnvHostError

_INSTALLED = ("site-packages", "dist-packages")

_PARTS_OF_PYGAME = ("pygame", "pygame.display", "pygame.font", "pygame.mixer")

Stamp = Tuple[Tuple[str, int, int], ...]
"""Path, time of the last change in nanoseconds, and size of each file."""


def own_modules(folder: str, ours: str) -> Dict[str, Any]:
    """Return the loaded modules whose files lie in ``folder``, by name.

    Args:
        folder: in which the person started the program.
        ours: where this program's host-side code is, which may lie in there, too.
    """
    root, not_root = os.path.realpath(folder) + os.sep, os.path.realpath(ours) + os.sep
    found: Dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(path, str):
            continue
        path = os.path.realpath(path)
        inside = path.startswith(root) and not path.startswith(not_root)
        if inside and not any(part in _INSTALLED for part in path[len(root) :].split(os.sep)):
            found[name] = module
    return found


def stamp_of(modules: Dict[str, Any]) -> Stamp:
    """Return what tells whether the files of ``modules`` have changed."""
    found: List[Tuple[str, int, int]] = []
    for module in modules.values():
        path = os.path.realpath(module.__file__)
        try:
            status = os.stat(path)
            found.append((path, status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((path, 0, 0))
    return tuple(sorted(found))


class FreshModules:
    """Has the modules of the person imported afresh while it is entered; puts the old ones back after a failure."""

    def __init__(self, modules: Dict[str, Any]) -> None:
        self._modules = modules

    def __enter__(self) -> None:
        for name in self._modules:
            sys.modules.pop(name, None)
        # A file that was changed within the clock's grain would else be taken for its cached bytecode.
        self._wrote_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        _forget_bytecode(self._modules)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        sys.dont_write_bytecode = self._wrote_bytecode
        if kind is not None:
            sys.modules.update(self._modules)


def _forget_bytecode(modules: Dict[str, Any]) -> None:
    import importlib
    import importlib.util

    importlib.invalidate_caches()
    for module in modules.values():
        try:
            os.unlink(importlib.util.cache_from_source(module.__file__))
        except (OSError, NotImplementedError, ValueError):
            pass  # There is none, or it may not be removed: then its time stamp has to do.


def what_draws() -> List[str]:
    """Return which parts of pygame are set up. ``pygame.quit`` takes them down, for all environments of a process."""
    loaded = [(name, sys.modules.get(name)) for name in _PARTS_OF_PYGAME]
    return [name for name, module in loaded if module is not None and module.get_init()]


def go_on(handed: Any, simulation: Any) -> Optional[str]:
    """Let ``simulation``, of new code, go on from what the old one handed over, before its modules were forgotten.

    Returns:
        None if it does; else why not, and it needs a reset.
    """
    if handed is None:
        return "the state of this environment cannot be handed to new code"
    try:
        simulation.take_over(handed)
    except EnvHostError as error:
        return str(error)
    return None
