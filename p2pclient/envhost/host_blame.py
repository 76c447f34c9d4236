"""Where in a person's own code an error came from: one line of it, instead of a stack trace."""

from __future__ import annotations

import os
import sysconfig
import traceback
from typing import Optional, Tuple

from p2pclient.common.errors import TandemError

_OURS = frozenset(("envs", "p2pclient"))
_STANDARD = tuple(os.path.normcase(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
_SITE = tuple(os.path.normcase(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
_PARTS = 3
"""Of a path that lies elsewhere, the last ones are told."""


def place_of(error: BaseException) -> str:
    """Return the end of a sentence, such as `` (my_game.py, line 57, in step)``: the innermost line to blame.

    That is one of code which is neither ours nor Python's, and rather of the person's than of an installed package.
    Empty if there is none, and behind a sentence of ours about an installed package: what is to be done ends it.
    """
    if isinstance(error, TandemError):
        # Ours, which says what is wrong; where, only what it was made of knows. What is missing is missing everywhere.
        cause = error.__cause__
        return "" if cause is None or isinstance(cause, ImportError) else _place(cause, own_only=True)
    return _place(error, own_only=False)


def _place(error: BaseException, *, own_only: bool) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({short_path(error.filename)}, line {error.lineno})"
    found: Optional[Tuple[str, int, str]] = None
    is_own = False
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        path = os.path.normcase(frame.f_code.co_filename)
        is_installed = path.startswith(_SITE)
        if package in _OURS or path.startswith("<") or (path.startswith(_STANDARD) and not is_installed):
            continue
        if not is_installed or not is_own:
            found, is_own = (frame.f_code.co_filename, line, frame.f_code.co_name), not is_installed
    if found is None or (own_only and not is_own):
        return ""
    function = "" if found[2].startswith("<") else f", in {found[2]}"
    return f" ({short_path(found[0])}, line {found[1]}{function})"


def short_path(path: str) -> str:
    """Return a path as seen from the folder where the program runs, if it lies there; else its last parts."""
    try:
        inside = os.path.relpath(path)
    except (ValueError, OSError):  # on another drive; or the folder is gone
        inside = os.pardir
    return inside if not inside.startswith(os.pardir) else os.sep.join(path.split(os.sep)[-_PARTS:])
