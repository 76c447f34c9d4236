"""Environments that look at what is neither their state nor their inputs, each in its own way."""

from __future__ import annotations

import functools
import os
import random
import time
from datetime import datetime
from time import perf_counter as now
from typing import Any, ClassVar

import numpy as np
from foreign_rig import Walk


class Renamed(Walk):
    def wind(self) -> float:
        return now() % 1.0


class Dated(Walk):
    def wind(self) -> float:
        return datetime.now().microsecond / 1e6


class Formatted(Walk):
    def wind(self) -> float:
        return float(time.strftime("%S"))


class Entropy(Walk):
    def wind(self) -> float:
        return os.urandom(1)[0] / 256


class Unseeded(Walk):
    def wind(self) -> float:
        return float(np.random.default_rng().normal())


class Reseeded(Walk):
    def wind(self) -> float:
        return random.Random().random()


class Addressed(Walk):
    def wind(self) -> float:
        return id(self) % 97 / 97


class ClassCounter(Walk):
    steps_of_all: ClassVar[dict[str, int]] = {"count": 0}

    def wind(self) -> float:
        self.steps_of_all["count"] += 1
        return 0.01 * self.steps_of_all["count"]


@functools.cache
def squared(number: int) -> float:
    return float(number * number)


@functools.cache
def drawn_at(time: int) -> float:
    return random.random() + time


class Computing(Walk):
    """Remembers what follows from the arguments alone."""

    def wind(self) -> float:
        return squared(self.time)


class Remembering(Walk):
    """Remembers random draws."""

    def wind(self) -> float:
        return drawn_at(self.time)


class Crowded(Walk):
    """Has more values than can be tried."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = [{"value": index} for index in range(600)]


def make_blind() -> Any:
    """A walk whose length is kept where no checksum looks: in a generator of Python's."""
    walk = Walk()
    walk.secret = (length for length in range(100))  # type: ignore[attr-defined]
    return walk
