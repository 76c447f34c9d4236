"""The process's own random generators, ``random`` and NumPy's old one, which environments draw from as they like."""

from __future__ import annotations

import ctypes
import random
from typing import Any, Dict

import numpy as np

_NUMPY_WORDS = 625
"""Words of the Mersenne twister's state in NumPy's memory: 624 of the state and the position in it."""


class GlobalGenerators:
    """Seeds, keeps and restores them for one environment.

    Nothing is ever drawn from them by us, so that most environments leave them as they were seeded. Whether that is so
    is asked in every frame. NumPy takes 50 us to tell its state, so the memory that holds it is compared instead, where
    it lies as expected.
    """

    def __init__(self) -> None:
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Seed both."""
        random.seed(seed)
        np.random.seed(seed)
        self._start_here()

    @property
    def fresh(self) -> Dict[str, Any]:
        """The states of both right after :meth:`seed`."""
        return dict(self._fresh)

    def adopt(self, fresh: Dict[str, Any]) -> None:
        """Be as after the :meth:`seed` that led to :attr:`fresh`, in this or another object."""
        random.setstate(fresh["random"])
        np.random.set_state(fresh["numpy"])
        self._start_here()

    def _start_here(self) -> None:
        self._fresh = {"random": random.getstate(), "numpy": np.random.get_state()}
        self._bits = _bit_generator()
        self._memory = _memory_of(self._bits, self._fresh["numpy"])
        self._fresh_memory = b"" if self._memory is None else bytes(self._memory)

    def drawn(self) -> Dict[str, Any]:
        """Return the states of those from which something has been drawn since :meth:`seed`, by name."""
        found: Dict[str, Any] = {}
        state = random.getstate()
        if state != self._fresh["random"]:
            found["random"] = state
        if not self._is_numpy_fresh():
            legacy = np.random.get_state()
            if not _is_equal(legacy, self._fresh["numpy"]):
                found["numpy"] = legacy
        return found

    def restore(self, drawn: Dict[str, Any]) -> None:
        """Go back to what :meth:`drawn` returned since the last :meth:`seed` with the same seed."""
        random.setstate(drawn.get("random", self._fresh["random"]))
        if "numpy" in drawn or not self._is_numpy_fresh():
            np.random.set_state(drawn.get("numpy", self._fresh["numpy"]))

    def _is_numpy_fresh(self) -> bool:
        # A second normal number comes from the first one's draw and leaves the memory alone, but there was that first.
        memory = self._memory
        return memory is not None and bytes(memory) == self._fresh_memory and _bit_generator() is self._bits


def _bit_generator() -> Any:
    return getattr(np.random.mtrand._rand, "_bit_generator", None)


def _memory_of(bits: Any, state: Any) -> Any:
    """Return the memory of a bit generator with this state, or None if it is not as expected."""
    address = getattr(getattr(bits, "ctypes", None), "state_address", None)
    if type(bits).__name__ != "MT19937" or not isinstance(address, int):
        return None
    words = (ctypes.c_uint32 * _NUMPY_WORDS).from_address(address)
    return memoryview(words).cast("B") if list(words) == [*state[1].tolist(), state[2]] else None


def _is_equal(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y for x, y in zip(a, b))
