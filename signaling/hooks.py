"""Loads a function of a study's own, which the person who starts the server names."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pclient.common.errors import ConfigurationError


def load_function(name: str, *, setting: str = "--matching", folder: Path | None = None) -> Callable[..., Any]:
    """Return what ``module:function`` names; ``folder`` is searched first, then the current one.

    Raises:
        ConfigurationError: there is no such thing, or importing it failed; says why.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ConfigurationError(setting, name, "MODULE:FUNCTION")
    searched = [*([str(folder)] if folder is not None else []), os.getcwd()]
    sys.path[:0] = searched
    try:
        found = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # noqa: BLE001 - somebody else's code may fail in any way while it is imported
        reason = f"a function that can be imported ({type(error).__name__}: {error})"
        raise ConfigurationError(setting, name, reason) from None
    finally:
        for each in searched:
            sys.path.remove(each)
    if not callable(found):
        raise ConfigurationError(setting, name, "a function")
    function: Callable[..., Any] = found
    return function
