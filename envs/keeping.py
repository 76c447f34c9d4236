"""Ways to keep the state of an environment that knows nothing of being rolled back, and to go back to it.

Each way is tried on the environment before it is relied on (:mod:`envs.grading`): none is exact for all of them.

==============  =====================================================================================================
``own``         its own ``get_state`` and ``set_state``, if what they exchange is plain data
``engine``      ALE and MuJoCo by their own means, all around them as ``copy`` does (:mod:`envs.keeping_engines`)
``pickle``      pickling as the environment's classes define it
``copy``        a copy of every object that it reaches, whatever its classes say of pickling
``fork``        a copy of the whole process, which the system makes (:mod:`p2pclient.envhost.host_fork_worker`)
``resimulate``  nothing is kept: the episode is simulated again from its beginning
``none``        it cannot go back: play waits for every input instead of assuming it
==============  =====================================================================================================

What is kept is good for this process alone and never leaves it: a ``set_state`` of other people may trust what it is
given, and what comes from another machine must not be trusted.
"""

from __future__ import annotations

import abc
import copyreg
import inspect
import io
import pickle
import sys
import types
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

from envs.canonical import UnsupportedValueError, canonical_bytes
from envs.plain import copy_plain
from envs.walk_forms import type_name
from envs.walk_physics import ADDRESSES
from p2pclient.common.errors import EnvHostError, LocalMisuseError


class Subject(abc.ABC):
    """What is kept and brought back: an environment with all its wrappers, in :attr:`env`."""

    env: Any

    @abc.abstractmethod
    def begin(self, seed: int) -> None:
        """Reset it, all random generators from ``seed``."""

    @abc.abstractmethod
    def advance(self, actions: List[Any]) -> Any:
        """Step it."""


class Keeper(abc.ABC):
    """One way of keeping the state of ``subject``."""

    name: str
    brings_back: bool = True
    """What is kept is the state itself, so that it also brings back what earlier episodes have left behind."""

    undoes_drawing: bool = True
    """Going back to what was kept takes back what drawing has changed."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def begun(self, seed: int) -> None:  # noqa: B027  most ways need not know
        """The subject was reset."""

    def advanced(self, actions: List[Any]) -> None:  # noqa: B027
        """The subject was stepped."""

    @abc.abstractmethod
    def keep(self) -> Any:
        """Return the current state for :meth:`restore`."""

    @abc.abstractmethod
    def restore(self, kept: Any) -> None:
        """Go to a state from :meth:`keep`, which stays good."""


class OwnKeeper(Keeper):
    """See the module. The plain values that wrappers around the environment keep (step counters) are kept beside it.

    Raises:
        EnvHostError: the environment offers no such methods, or its state is not plain data.
    """

    name = "own"

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        inner = layers_of(subject.env)[-1]
        get, put = getattr(inner, "get_state", None), getattr(inner, "set_state", None)
        if not (callable(get) and callable(put)):
            raise EnvHostError("the environment has no get_state and set_state")
        if _required(get) != 0 or _required(put) != 1:
            raise EnvHostError("its get_state and set_state are not of the kind that gives and takes one whole state")
        try:
            canonical_bytes(get())
        except UnsupportedValueError as error:
            raise EnvHostError(f"its get_state gives what is not plain data: {error}") from error

    def keep(self) -> Any:
        layers = layers_of(self._subject.env)
        around = [{key: value for key, value in vars(layer).items() if _is_plain(value)} for layer in layers[:-1]]
        # PettingZoo's list of the agents that are still there is the environment's, but seldom part of its state.
        agents = getattr(layers[-1], "agents", None)
        kept = {"own": layers[-1].get_state(), "around": around}
        if isinstance(agents, list) and _is_plain(agents):
            kept["agents"] = agents
        return copy_plain(kept)

    def restore(self, kept: Any) -> None:
        layers = layers_of(self._subject.env)
        state = copy_plain(kept)
        layers[-1].set_state(state["own"])
        if "agents" in state:
            layers[-1].agents = state["agents"]
        for layer, values in zip(layers, state["around"]):
            vars(layer).update(values)


class PickleKeeper(Keeper):
    """See the module. What draws on the screen is shared by all copies instead of being pickled."""

    name = "pickle"

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self._shared = _Shared()

    @property
    def shares(self) -> bool:
        """What was kept so far refers to objects that are not in it."""
        return bool(self._shared.objects)

    def begun(self, seed: int) -> None:
        self._shared = _Shared()  # of an episode that is over, nothing comes back

    def keep(self) -> Any:
        buffer = io.BytesIO()
        self._pickler(buffer).dump(self._subject.env)
        return buffer.getvalue()

    def restore(self, kept: Any) -> None:
        # Only bytes that this very object made a moment ago are ever read.
        self._subject.env = UnpicklerOfShared(io.BytesIO(kept), self._shared).load()

    def _pickler(self, buffer: Any) -> pickle.Pickler:
        return _Pickler(buffer, self._shared)


class CopyKeeper(PickleKeeper):
    """See the module: ``EzPickle``, which makes a new environment instead of copying this one, is not asked."""

    name = "copy"

    def _pickler(self, buffer: Any) -> pickle.Pickler:
        return copying_pickler(buffer, self._shared)


class ResimulatingKeeper(Keeper):
    """See the module. Costs as many steps as the episode has had so far."""

    name = "resimulate"
    brings_back = False

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self._seed = 0
        self._actions: List[List[Any]] = []

    def begun(self, seed: int) -> None:
        self._seed = seed
        self._actions = []

    def advanced(self, actions: List[Any]) -> None:
        self._actions.append(copy_plain(actions))

    def keep(self) -> Any:
        return self._seed, list(self._actions)

    def restore(self, kept: Any) -> None:
        seed, actions = kept
        self._subject.begin(seed)
        for each in actions:
            self._subject.advance(copy_plain(each))
        self._seed, self._actions = seed, list(actions)


class NoKeeper(Keeper):
    """See the module."""

    name = "none"
    brings_back = False
    undoes_drawing = False

    def keep(self) -> Any:
        return None

    def restore(self, kept: Any) -> None:
        raise LocalMisuseError("this environment cannot go back to an earlier state")


class ForkKeeper(Keeper):
    """See the module. In a process that is itself what was kept, there is nothing to be kept or brought back."""

    name = "fork"
    # Nor need it: each episode begins in a fresh copy, and pictures are drawn in another.
    brings_back = False
    undoes_drawing = False

    def keep(self) -> Any:
        return None

    def restore(self, kept: Any) -> None:
        """Going back is going on in another process."""


KEEPERS: Tuple[Type[Keeper], ...] = (OwnKeeper, PickleKeeper, CopyKeeper, ForkKeeper, ResimulatingKeeper)
"""In the order in which they are preferred; :class:`NoKeeper` is left when none of them is exact."""


_INNER = ("env", "aec_env", "par_env")
"""Attributes under which wrappers of Gymnasium and PettingZoo hold what they wrap."""
_MOST_LAYERS = 100


def layers_of(env: Any) -> List[Any]:
    """Return an environment and what it wraps, from the outside in."""
    layers = [env]
    while len(layers) < _MOST_LAYERS:
        inner = next((vars(layers[-1])[name] for name in _INNER if name in vars(layers[-1])), None)
        if inner is None or not hasattr(inner, "__dict__"):
            break
        layers.append(inner)
    return layers


def _required(function: Callable[..., Any]) -> int:
    """Return how many arguments a method cannot do without; -1 if that cannot be told."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return -1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for each in parameters if each.kind in positional and each.default is inspect.Parameter.empty)


def _is_plain(value: Any) -> bool:
    if value is None or type(value) in (bool, int, float, str):
        return True
    return type(value) in (list, tuple) and all(_is_plain(item) for item in value)


# -- pickling what was not made for it ------------------------------------------------------------------------------


class _Shared:
    """Objects that all copies of an environment have in common: what draws, what logs, what only refers."""

    def __init__(self) -> None:
        self.objects: List[Any] = []
        self._index: Dict[int, int] = {}

    def index(self, value: Any) -> int:
        """Return the number under which ``value`` is found again; it lives on as long as this."""
        key = id(value)
        if key not in self._index:
            self._index[key] = len(self.objects)
            self.objects.append(value)
        return self._index[key]


_DRAWING = ("pygame", "pyglet", "cv2", "matplotlib", "PIL", "logging", "threading", "_thread", "weakref", "OpenGL")
_VALUES = frozenset(("Rect", "FRect", "Vector2", "Vector3", "Color", "Mask"))
"""Types of such packages whose objects are state all the same."""


def _is_shared_type(kind: type) -> bool:
    if type_name(kind) in ADDRESSES:
        raise EnvHostError(f"{kind.__qualname__} is an address in C, which cannot be copied")
    if issubclass(kind, (types.ModuleType, io.IOBase)):
        return True
    # A few types of C extensions have none, and of some releases of Cython's it is no text (NumPy's generators).
    module = str(getattr(kind, "__module__", "builtins"))
    is_drawing = module.partition(".")[0] in _DRAWING and module != "pygame.sprite"
    return is_drawing and kind.__name__ not in _VALUES


def _is_found_by_name(function: Any) -> bool:
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


class _Pickler(pickle.Pickler):
    """Pickles with the newest protocol; shared objects by their numbers."""

    def __init__(self, buffer: Any, shared: _Shared, is_shared: Optional[Callable[[Any], bool]] = None) -> None:
        super().__init__(buffer, 5)
        self._shared = shared
        self._is_shared = is_shared
        self._kinds: Dict[type, bool] = _SHARED_KINDS

    def reducer_override(self, value: Any) -> Any:
        """Called for every object that is none of the simplest builtin ones."""
        kind = type(value)
        if self._is_shared is not None and self._is_shared(value):
            return _Numbered, (self._shared.index(value),)
        is_shared = self._kinds.get(kind)
        if is_shared is None:
            is_shared = self._kinds[kind] = _is_shared_type(kind)
        if is_shared:
            return _Numbered, (self._shared.index(value),)
        if kind is types.FunctionType and not _is_found_by_name(value):
            return _Numbered, (self._shared.index(value),)
        return self._reduce(value, kind)

    def _reduce(self, value: Any, kind: type) -> Any:
        return NotImplemented


class _Copier(_Pickler):
    """Takes objects apart by their attributes where ``EzPickle`` would keep only how they were made."""

    def _reduce(self, value: Any, kind: type) -> Any:
        own = getattr(kind, "__getstate__", None)
        if getattr(own, "__qualname__", "") != "EzPickle.__getstate__":
            return NotImplemented
        return copyreg.__newobj__, (kind,), dict(vars(value)), None, None, _put_attributes  # type: ignore[attr-defined]


def copying_pickler(buffer: Any, shared: Any, is_shared: Optional[Callable[[Any], bool]] = None) -> pickle.Pickler:
    """Return a pickler for :class:`CopyKeeper`. What ``is_shared`` is true of is shared, too."""
    return _Copier(buffer, shared, is_shared)


def _put_attributes(value: Any, attributes: Dict[str, Any]) -> None:
    vars(value).update(attributes)


_SHARED_KINDS: Dict[type, bool] = {}


class _Numbered:
    """Stands for a shared object in the bytes; the unpickler puts the object itself in its place."""


class UnpicklerOfShared(pickle.Unpickler):
    """Reads what the picklers here have written."""

    def __init__(self, buffer: Any, shared: _Shared) -> None:
        super().__init__(buffer)
        self._shared = shared

    def find_class(self, module: str, name: str) -> Any:
        if name == "_Numbered" and module == __name__:
            return self._shared.objects.__getitem__
        return super().find_class(module, name)
