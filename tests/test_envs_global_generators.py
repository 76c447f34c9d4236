"""The process's own generators: whether something was drawn from them, and going back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from envs.global_generators import GlobalGenerators


@pytest.fixture
def generators() -> GlobalGenerators:
    found = GlobalGenerators()
    found.seed(7)
    return found


@pytest.mark.parametrize(
    ("names", "draw"),
    [
        (["random"], random.random),
        (["random"], lambda: random.gauss(0, 1)),
        (["numpy"], np.random.random),
        (["numpy"], np.random.normal),
        (["numpy"], lambda: np.random.shuffle([1, 2, 3])),
        (["random", "numpy"], lambda: (random.random(), np.random.random())),
    ],
)
def test_what_was_drawn_from_is_told_and_brought_back(
    generators: GlobalGenerators, names: list[str], draw: Any
) -> None:
    assert generators.drawn() == {}
    draw()
    kept = generators.drawn()
    assert list(kept) == names
    first = (random.random(), np.random.normal())
    generators.restore(kept)
    assert (random.random(), np.random.normal()) == first
    generators.restore({})
    assert generators.drawn() == {}


def test_second_number_of_a_pair_is_part_of_what_is_kept(generators: GlobalGenerators) -> None:
    np.random.normal()
    kept = generators.drawn()
    second = np.random.normal()
    generators.restore(kept)
    assert np.random.normal() == second
    np.random.random()
    generators.restore(kept)
    assert np.random.normal() == second


def test_memory_is_compared_only_where_it_holds_the_state(
    generators: GlobalGenerators, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert generators._memory is not None
    other = np.random.RandomState(np.random.MT19937(3))
    monkeypatch.setattr(np.random.mtrand, "_rand", other)
    assert not generators._is_numpy_fresh()
    monkeypatch.undo()
    assert generators._is_numpy_fresh()
    monkeypatch.setattr("envs.global_generators._NUMPY_WORDS", 624)
    generators.seed(7)
    assert generators._memory is None
    assert generators.drawn() == {}
    np.random.random()
    assert list(generators.drawn()) == ["numpy"]
    generators.restore({})
    assert generators.drawn() == {}


def test_another_object_can_take_over(generators: GlobalGenerators) -> None:
    random.random()
    kept, fresh = generators.drawn(), generators.fresh
    expected = (random.random(), np.random.random())
    other = GlobalGenerators()
    other.adopt(fresh)
    assert other.drawn() == {}
    other.restore(kept)
    assert list(other.drawn()) == ["random"]
    assert (random.random(), np.random.random()) == expected
