"""Keeping the state of environments around an emulator or a simulator that can do it itself: ALE and MuJoCo.

The engine stays where it is. Its state is kept by its own means, generators included; all objects of Python around it,
wrappers with their counters too, are copied. No engine is imported here: that an object of it is at hand means that it
has been. Tried after ``own`` and before ``pickle`` (see :mod:`envs.keeping`).
"""

from __future__ import annotations

import io
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from envs.keeping import CopyKeeper, Subject, UnpicklerOfShared, copying_pickler, layers_of
from envs.walk_forms import type_name
from p2pclient.common.errors import EnvHostError


class Engine(NamedTuple):
    """How one kind of engine keeps its state."""

    read: Callable[[Any], Any]
    """Returns the state of an engine; it stays good."""
    write: Callable[[Any, Any], None]
    """Brings an engine back to a state."""
    sticks: Callable[[Any], bool] = lambda engine: False
    """Tells whether it repeats actions by chance. Emulators do not tell which action it is that they hold on."""


def _read_ale(ale: Any) -> bytes:
    return bytes(ale.cloneState(include_rng=True).serialize())


def _write_ale(ale: Any, state: bytes) -> None:
    ale.restoreState(sys.modules["ale_py"].ALEState(state))


def _read_multi_agent_ale(ale: Any) -> bytes:
    state = ale.cloneSystemState()  # with the generator, which the other state is without
    try:
        encoded: bytes = np.array(ale.encodeState(state)).tobytes()
    finally:
        ale.deleteState(state)
    return encoded


def _write_multi_agent_ale(ale: Any, state: bytes) -> None:
    decoded = ale.decodeState(np.frombuffer(state, np.uint8).copy())
    try:
        ale.restoreSystemState(decoded)
    finally:
        ale.deleteState(decoded)


def _read_mujoco(data: Any) -> Any:
    # mj_getState has what the next step is computed from. Environments also look at what the last one has left behind
    # (positions of bodies lag behind the joints' by a step, contact forces), which no mj_forward brings back.
    mujoco = sys.modules["mujoco"]
    kept = mujoco.MjData(data.model)
    mujoco.mj_copyData(kept, data.model, data)
    return kept


def _write_mujoco(data: Any, kept: Any) -> None:
    sys.modules["mujoco"].mj_copyData(data, data.model, kept)


_SAME = Engine(lambda value: None, lambda value, state: None)
"""Of what an environment does not change while it runs."""

_STICKY = "repeat_action_probability"

ENGINES: Dict[str, Engine] = {
    "ale_py._ale_py.ALEInterface": Engine(_read_ale, _write_ale, lambda ale: bool(ale.getFloat(_STICKY) > 0)),
    "multi_agent_ale_py.ale_python_interface.ALEInterface": Engine(
        _read_multi_agent_ale, _write_multi_agent_ale, lambda ale: bool(ale.getFloat(_STICKY.encode()) > 0)
    ),
    "mujoco._structs.MjData": Engine(_read_mujoco, _write_mujoco),
    "mujoco._structs.MjModel": _SAME,
}
"""By the names of types. That a model does change would show: it is in the checksum."""


class NoEngineError(EnvHostError):
    """The environment has no engine that is known here, so that there is nothing to try."""


class Kept(bytes):
    """The objects around the engines, pickled. :attr:`engines` are the engines with their states."""

    engines: List[Tuple[Any, Any]]


class EngineKeeper(CopyKeeper):
    """See the module.

    Raises:
        NoEngineError: see there.
        EnvHostError: a part of the engine's state cannot be had.
    """

    name = "engine"

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        held = [value for layer in layers_of(subject.env) for value in vars(layer).values() if engine_of(value)]
        if not held:
            raise NoEngineError("there is no ALE and no MuJoCo in it")
        if any(_engine(each).sticks(each) for each in held):
            raise EnvHostError(f"ALE does not tell which action it repeats by chance; set {_STICKY} to 0")

    def keep(self) -> Any:
        buffer = io.BytesIO()
        met: Dict[int, Any] = {}

        def is_shared(value: Any) -> bool:
            found = engine_of(value) is not None
            if found:
                met[id(value)] = value
            return found

        copying_pickler(buffer, self._shared, is_shared).dump(self._subject.env)
        kept = Kept(buffer.getvalue())
        kept.engines = [(each, _engine(each).read(each)) for each in met.values()]
        return kept

    def restore(self, kept: Any) -> None:
        self._subject.env = UnpicklerOfShared(io.BytesIO(kept), self._shared).load()
        for each, state in kept.engines:
            _engine(each).write(each, state)


def engine_of(value: Any) -> Optional[Engine]:
    """Return how ``value`` keeps its state if it is an engine, else None."""
    kind = type(value)
    if kind not in _KNOWN:
        _KNOWN[kind] = next((ENGINES[name] for name in map(type_name, kind.__mro__) if name in ENGINES), None)
    return _KNOWN[kind]


def _engine(value: Any) -> Engine:
    found = engine_of(value)
    assert found is not None
    return found


_KNOWN: Dict[type, Optional[Engine]] = {}
