"""Refuses to run when another package of the same name would be used in part."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import p2pclient
from p2pclient.common.errors import ConfigurationError

_NAMES = ("envs", "signaling")


def check_packages() -> None:
    """Make sure that ``envs`` and ``signaling`` are the ones that belong to this program.

    Raises:
        ConfigurationError: another folder or module of that name comes first; names both paths.
    """
    base = Path(p2pclient.__file__).resolve().parent.parent
    for name in _NAMES:
        spec = importlib.util.find_spec(name)
        found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        expected = base / name / "__init__.py"
        if found != expected:
            allowed = f"{expected}; rename or move the other one, or start the program from another folder"
            raise ConfigurationError(f"package {name}", str(found), allowed)
