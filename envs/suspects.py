"""What an environment looks at, while it steps, that is neither its state nor its inputs: who else could be to blame?

A step that reads a clock, draws from a generator that nobody seeded, or counts in a variable of its module cannot be
repeated. Whether it matters only a comparison of two runs can tell; this names the lines that could be the cause.

Calls are seen by the interpreter's profiler, so that it does not matter under which name a function was imported. What
C code reads by itself is not seen.
"""

from __future__ import annotations

import functools
import gc
import os
import random
import sys
import sysconfig
import types
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from envs.canonical import canonical_bytes
from envs.plain import first_difference
from envs.walk import state_tree

CLOCK, CHANCE, ADDRESS = "clock", "chance", "address"
"""Kinds of reads: the time; a generator without a seed; where an object lies in memory."""
_MOST_NAMED = 8

_C_READS: Dict[Tuple[str, str], str] = {
    **{("time", name): CLOCK for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")},
    **{("time", f"{name}_ns"): CLOCK for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")},
    **{("time", name): CLOCK for name in ("localtime", "gmtime", "ctime", "strftime")},
    ("pygame.time", "get_ticks"): CLOCK,
    ("posix", "urandom"): CHANCE,
    ("nt", "urandom"): CHANCE,
    ("posix", "getrandom"): CHANCE,
    ("posix", "getpid"): CHANCE,
    ("nt", "getpid"): CHANCE,
    ("builtins", "id"): ADDRESS,
}
"""By module and name of functions in C."""
_DATE_CLASSES = ("datetime", "date")
_DATE_NAMES = ("now", "utcnow", "today")
_CLOCK_METHODS = ("tick", "tick_busy_loop", "get_time", "get_rawtime", "get_fps")
_LIBRARIES = frozenset(("numpy", "pygame", "gymnasium", "pettingzoo"))
"""Packages that are not to blame by themselves; who called them is."""
_OURS = frozenset(("envs", "p2pclient"))
_STANDARD = tuple(os.path.normcase(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
_SITE = tuple(os.path.normcase(sysconfig.get_path(name)) for name in ("purelib", "platlib"))


class Read(NamedTuple):
    """One line of an environment's code that looks at something outside."""

    kind: str
    call: str
    """What is called, as a person would write it."""
    file: str
    line: int
    function: str
    times: int

    def as_data(self) -> Dict[str, Any]:
        return dict(self._asdict())


def reads_of(run: Callable[[], None]) -> List[Read]:
    """Call ``run`` and return what it looked at, most often first."""
    found: Dict[Tuple[str, str, str, int, str], int] = {}

    def notice(frame: Any, event: str, argument: Any) -> None:
        seen = _read_in_c(argument) if event == "c_call" else _unseeded(frame) if event == "call" else None
        if seen is None:
            return
        place = _line_to_blame(frame, through_libraries=seen[0] != ADDRESS)
        if place is not None:
            found[(*seen, *place)] = found.get((*seen, *place), 0) + 1

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # what a finalizer of somebody else's object does would be blamed on the line that it interrupts
    sys.setprofile(notice)
    try:
        run()
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    reads = [Read(*key, times) for key, times in found.items()]
    return sorted(reads, key=lambda read: (-read.times, read.file, read.line))[:_MOST_NAMED]


def _read_in_c(function: Any) -> Optional[Tuple[str, str]]:
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    if isinstance(owner, type):
        is_date = owner.__module__ == "datetime" or any(base.__module__ == "datetime" for base in owner.__mro__)
        return (CLOCK, f"{owner.__name__}.{name}") if is_date and name in _DATE_NAMES else None
    if name in _CLOCK_METHODS and type(owner).__name__ == "Clock":
        return CLOCK, f"Clock.{name}"
    module = getattr(function, "__module__", None)
    kind = _C_READS.get((module, name)) if isinstance(module, str) else None
    if kind is None:
        return None
    return kind, name if module == "builtins" else f"{'os' if module in ('posix', 'nt') else module}.{name}"


def _unseeded(frame: Any) -> Optional[Tuple[str, str]]:
    """Tell of ``random.Random()`` and ``random.seed()`` without a seed: that one is taken in C."""
    code = frame.f_code
    if code.co_name == "seed" and code.co_filename == random.__file__ and frame.f_locals.get("a") is None:
        return CHANCE, "random.seed"
    return None


def _line_to_blame(frame: Any, *, through_libraries: bool) -> Optional[Tuple[str, int, str]]:
    """Return the file, line and function of the environment's code that led here; None if none did."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in _OURS:
            return None  # the environment was called from here
        path = os.path.normcase(frame.f_code.co_filename)
        is_standard = path.startswith(("<frozen", *_STANDARD)) and not path.startswith(_SITE)
        if not is_standard and (package not in _LIBRARIES or _is_game(frame)):
            return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        if not through_libraries:
            return None
        frame = frame.f_back
    return None


def _is_game(frame: Any) -> bool:
    """Tell whether code of Gymnasium or PettingZoo is that of one of their environments."""
    name = str(frame.f_globals.get("__name__", ""))
    tools = ("gymnasium.envs.registration", "pettingzoo.utils")
    return name.startswith(("gymnasium.envs.", "pettingzoo.")) and not name.startswith(tools)


class Surroundings:
    """The variables of the modules and classes that an environment is made of, as they are now."""

    def __init__(self, classes: List[type]) -> None:
        self._holders: Dict[str, Any] = {}
        for kind in classes:
            for base in kind.__mro__:
                module = sys.modules.get(base.__module__)
                if module is not None and base.__module__.partition(".")[0] not in ("builtins", "abc", "typing"):
                    self._holders[base.__module__] = module
                    self._holders[f"{base.__module__}.{base.__qualname__}"] = base
        self._before = self._look()

    def changed(self) -> List[str]:
        """Return the names of variables that have changed since, as ``module.variable``."""
        now, found = self._look(), []
        for holder, before in self._before.items():
            for name, value in before.items():
                if name in now[holder] and canonical_bytes(now[holder][name]) != canonical_bytes(value):
                    place = first_difference(value, now[holder][name], f"{holder}.{name}")
                    found.append(place[0] if place is not None else f"{holder}.{name}")
        return sorted(found)[:_MOST_NAMED]

    def caches(self) -> Dict[str, Any]:
        """Return what remembers the results of functions there, as ``module.function``."""
        return {
            f"{holder}.{name}": value
            for holder, owner in self._holders.items()
            for name, value in list(vars(owner).items())
            if isinstance(value, _CACHES)
        }

    def _look(self) -> Dict[str, Dict[str, Any]]:
        found: Dict[str, Dict[str, Any]] = {}
        for holder, owner in self._holders.items():
            values = {name: value for name, value in list(vars(owner).items()) if _is_variable(name, value)}
            found[holder] = {name: _form(value) for name, value in values.items()}
        return found


_FIXED = (
    *(types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type, property, staticmethod, classmethod),
    *(types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType),
)


_CACHES = (type(functools.lru_cache(lambda: None)),)
"""What remembers the results of a function: ``functools.lru_cache`` and ``cache``."""


def _is_variable(name: str, value: Any) -> bool:
    is_private = name.startswith("__") and name.endswith("__")
    return not is_private and not name.startswith("_abc_") and not isinstance(value, _FIXED)


def _form(value: Any) -> Any:
    if isinstance(value, (list, dict, set)) and len(value) > 10_000:
        return len(value)  # a table; to look through it at every step would take longer than all the rest
    return state_tree(value).data


def remade_classes(layers: List[Any]) -> List[str]:
    """Return the classes of those layers of an environment that pickle would make anew instead of copying."""
    classes = [type(layer) for layer in layers]
    return [kind.__name__ for kind in classes if any(base.__name__ == "EzPickle" for base in kind.__mro__)]
