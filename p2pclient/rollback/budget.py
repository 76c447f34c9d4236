"""How many frames may be predicted, and how far apart snapshots are taken, from what the host's commands cost.

The worst tick loads a snapshot, simulates the whole window again with the frames up to the next snapshot before it, and
then the new frame: ``load + (window + spacing) x step + saves + other``. It has to fit the frame, or ticks come late,
so inputs come later, so rollbacks get deeper: a spiral. What does not fit narrows the window at once.

A window narrower than inputs are late has its price: play runs at ``window / lateness`` of its rate, whether anything
was predicted wrongly or not. Input delay takes that lateness away (see ``delay.py``). Where the delay is fixed, a frame
that comes late now and then is the smaller evil: :attr:`Budget.narrowest` says how far down it may go.

A snapshot in every frame costs a save in every frame. Spaced by s frames it costs 1 / s of that, and (s - 1) / 2 steps
more in each rollback: least at ``s = sqrt(2 x save / (p x step))``, with p the share of frames that roll back (the
argument of Young, "A first order approximation to the optimum checkpoint interval", CACM 17, 1974). What a person feels
comes first: a spacing that allows a wider window is preferred to one that is cheaper.

Costs are upper quartiles of the newest samples: a lone hiccup of the system changes nothing, a handful in a row do.
The window grows by one frame at a time, and only where the next one fits with more reserve than it takes to stay. If
that was a mistake, twice the time passes until it is tried again: what changes with the load of the machine does not
swing.
"""

from __future__ import annotations

from collections import deque

_SAMPLES = 16
_UPPER_QUARTILE = 12
"""Index among the sorted samples: four of sixteen are above it."""
_FIRST_DECISION = 8
"""Samples of a step before anything is decided: the first ones of a process are slow."""
_EVERY = 4
"""Batches from one decision to the next; in between it would mostly be the same."""
_SHARE = 0.9
"""Of the frame, for the worst batch. The rest is for the datagrams, the recorder and the system."""
_SHARE_TO_GROW = 0.75
_PATIENCE = 1.0
"""Seconds of reserve before the window grows by a frame."""
_MOST_PATIENCE = 32.0
_FORGIVE = 30.0
"""Seconds at the full window after which earlier narrowings are forgotten."""
_SMOOTHING = 1 / 64
"""Of the share of frames that roll back, per batch."""
_BETTER = 0.9
"""Another spacing is taken when it costs at most so much of the present one."""
_NO_COST = 1e-9


class Budget:
    """Window and spacing for one side of a match; give it what each batch cost.

    Args:
        frame: seconds of one frame.
        window: widest window, as configured; 0 is lockstep and stays so.
        spacing: frames between snapshots until costs are known: more than 1 where saving is known to be dear.
    """

    def __init__(self, *, frame: float, window: int, spacing: int = 1) -> None:
        self._frame = frame
        self._widest = window
        # The newest costs of each kind of command.
        self._steps: deque[float] = deque(maxlen=_SAMPLES)
        self._saves: deque[float] = deque(maxlen=_SAMPLES)
        self._loads: deque[float] = deque(maxlen=_SAMPLES)
        self._others: deque[float] = deque(maxlen=_SAMPLES)
        self._rolled_back = 0.5
        self._batches = 0
        self._roomy = 0.0
        self._patience = _PATIENCE
        self._has_grown = False
        self._fits: tuple[tuple[float, float, float], list[int]] = (0.0, 0.0, 0.0), []  # for these costs
        self.narrowest = 1
        """The window never gets narrower, whatever the costs. May be set at any time."""
        self.window = window
        """Unconfirmed frames that may be simulated from now on; at least 1, unless 0 was configured."""
        self.spacing = max(1, min(spacing, window))
        """Frames between snapshots from now on, 1 to the window."""

    def learn(
        self,
        *,
        steps: int,
        step_seconds: float,
        saves: int,
        save_seconds: float,
        load_seconds: float | None,
        other_seconds: float,
        rolled_back: bool,
    ) -> None:
        """Take in one batch, and decide anew.

        Args:
            steps: frames it simulated.
            step_seconds: what they cost together.
            saves: snapshots it took.
            save_seconds: what they cost together.
            load_seconds: what loading cost; None if it loaded nothing.
            other_seconds: everything else between sending the batch and its reply: pipe, view, dropping.
            rolled_back: did it correct a prediction.
        """
        if steps:
            self._steps.append(step_seconds / steps)
            self._rolled_back += (rolled_back - self._rolled_back) * _SMOOTHING
        if saves:
            self._saves.append(save_seconds / saves)
        if load_seconds is not None:
            self._loads.append(load_seconds)
        self._others.append(other_seconds)
        self._batches += 1
        if self._widest and self._batches % _EVERY == 0 and len(self._steps) >= _FIRST_DECISION:
            self._decide()

    def _decide(self) -> None:
        step, save = max(_usual(self._steps), _NO_COST), _usual(self._saves)
        # Before the first rollback nobody knows what loading costs: about what saving does.
        fixed = (_usual(self._loads) if self._loads else save) + _usual(self._others)
        if self._fits[0] != (fixed, step, save):  # mostly the quartiles are what they were
            self._fits = (fixed, step, save), self._windows_that_fit(self._frame * _SHARE - fixed, step, save)
        fits = self._fits[1]
        widest = max(min(self.narrowest, self._widest), *fits)
        if widest < self.window:
            self.window = widest
            self._roomy = 0.0
            if self._has_grown:
                self._has_grown = False
                self._patience = min(2 * self._patience, _MOST_PATIENCE)
        elif self.window < self.narrowest:
            self.window = widest
        else:
            self._grow(self._frame * _SHARE_TO_GROW - fixed, step, save)
        self._space(fits, step, save)

    def _windows_that_fit(self, seconds: float, step: float, save: float) -> list[int]:
        """Return the widest window whose worst rollback takes at most ``seconds``, by spacing from 1 on; 0 if none."""
        fits, widest = [], self._widest
        for spacing in range(1, widest + 1):
            # A snapshot every so many frames, and one more at the first frame that is not settled.
            fit = int((seconds - save) / (step + save / spacing)) - spacing
            fits.append(0 if fit < spacing else fit if fit < widest else widest)
        return fits

    def _grow(self, seconds: float, step: float, save: float) -> None:
        self._roomy += self._frame * _EVERY
        if self.window == self._widest:
            if self._roomy >= _FORGIVE:
                self._patience = _PATIENCE
        elif max(self._windows_that_fit(seconds, step, save)) <= self.window:
            self._roomy = 0.0
        elif self._roomy >= self._patience:
            self._roomy = 0.0
            self._has_grown = True
            self.window += 1

    def _space(self, fits: list[int], step: float, save: float) -> None:
        """Choose the cheapest spacing among those that leave the window as it is."""
        costs = {
            spacing: save / spacing + self._rolled_back * step * (spacing - 1) / 2
            for spacing, fit in enumerate(fits[: self.window], 1)
            if fit >= self.window
        }
        if not costs:  # nothing fits, not even one frame: as few steps as can be
            self.spacing = 1
            return
        best = min(costs, key=costs.__getitem__)
        if self.spacing not in costs or costs[best] < costs[self.spacing] * _BETTER:
            self.spacing = best


def _usual(costs: deque[float]) -> float:
    """Upper quartile; 0 without a sample."""
    ordered = sorted(costs)
    return ordered[_UPPER_QUARTILE * len(ordered) // _SAMPLES] if ordered else 0.0
